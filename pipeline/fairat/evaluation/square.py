"""The Square attack alone, on the first images of every class (Andriushchenko et al. 2020)."""

from functools import partial

import pyarrow as pa
from torch import nn

from fairat.attacks import autoattack
from fairat.evaluation.protocol import Conditions, EvaluationSet
from fairat.evaluation.survivors import survivors_rows, workload
from fairat.settings.evaluations import SquareEvaluation

__all__ = ["evaluate", "workload"]


def evaluate(model: nn.Module, test: EvaluationSet, settings: SquareEvaluation, conditions: Conditions) -> pa.Table:
    """One row per image; see `evaluate_model` and `survivors_rows`."""
    ensemble = partial(autoattack.square, epsilon=conditions.epsilon, queries=settings.queries)
    return survivors_rows(ensemble, model, test, settings, conditions, name="square")
