"""AutoAttack, standard version, on the first images of every class (Croce and Hein 2020)."""

from functools import partial

import pyarrow as pa
from torch import nn

from fairat.attacks import autoattack
from fairat.evaluation.protocol import Conditions, EvaluationSet
from fairat.evaluation.survivors import survivors_rows, workload
from fairat.settings.evaluations import AutoAttackEvaluation

__all__ = ["evaluate", "workload"]


def evaluate(model: nn.Module, test: EvaluationSet, settings: AutoAttackEvaluation, conditions: Conditions) -> pa.Table:
    """One row per image; see `evaluate_model` and `survivors_rows`."""
    classes = len(test.class_names)
    ensemble = partial(
        autoattack.standard,
        epsilon=conditions.epsilon,
        num_classes=classes,
        iterations=settings.iterations,
        target_classes=settings.target_classes,
        queries=settings.queries,
    )
    if autoattack.APGD_T not in [member.name for member in ensemble(seed=conditions.seed)]:
        conditions.watcher.remark(
            f"AutoAttack ran without APGD-T: its loss compares four classes, and there are {classes}."
        )
    return survivors_rows(ensemble, model, test, settings, conditions, name="autoattack")
