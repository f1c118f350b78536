"""The Square attack alone, on the first images of every class (Andriushchenko et al. 2020; spec 7)."""

import pyarrow as pa
from torch import nn

from pipeline import seeds
from pipeline.attacks import autoattack
from pipeline.config import SquareEvaluation
from pipeline.evaluation.protocol import EvaluationSet, Watcher
from pipeline.evaluation.survivors import survivors_rows, workload

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
    """One block of rows; see `protocol.evaluate_model` and `survivors_rows`."""
    attack = autoattack.square(epsilon=epsilon, seed=seeds.derived(seed, "evaluation.square"), queries=settings.queries)
    return survivors_rows(
        [attack], model, test, settings, name="square", weights=weights, epsilon=epsilon, watcher=watcher
    )
