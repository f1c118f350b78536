"""The Square attack alone, on the first images of every class (Andriushchenko et al. 2020)."""

from functools import partial

import pyarrow as pa
from torch import nn

from fairat.attacks import autoattack
from fairat.evaluation.protocol import EvaluationSet, Watcher
from fairat.evaluation.survivors import survivors_rows, workload
from fairat.settings.evaluations import SquareEvaluation

__all__ = ["evaluate", "workload"]


def evaluate(
    model: nn.Module,
    test: EvaluationSet,
    settings: SquareEvaluation,
    *,
    weights: str,
    epsilon: float,
    seed: int,
    watcher: Watcher,
) -> pa.Table:
    """One row per image; see `evaluate_model` and `survivors_rows`."""
    ensemble = partial(autoattack.square, epsilon=epsilon, queries=settings.queries)
    return survivors_rows(
        ensemble, model, test, settings, name="square", weights=weights, epsilon=epsilon, seed=seed, watcher=watcher
    )
