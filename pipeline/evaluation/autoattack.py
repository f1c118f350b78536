"""AutoAttack, standard version, on the first images of every class (Croce and Hein 2020; spec 7)."""

import pyarrow as pa
from torch import nn

from pipeline import seeds
from pipeline.attacks import autoattack
from pipeline.config import AutoAttackEvaluation
from pipeline.evaluation.protocol import EvaluationSet, Watcher, in_unit_range, predict
from pipeline.evidence import attack_rows


def workload(test: EvaluationSet, settings: AutoAttackEvaluation) -> int:
    """Every attacked image once."""
    return min(len(test), settings.images or len(test))


def evaluate(
    model: nn.Module,
    test: EvaluationSet,
    settings: AutoAttackEvaluation,
    *,
    weights: str,
    epsilon: float,
    seed: int,
    watcher: Watcher,
) -> pa.Table:
    """One block of rows; see `protocol.evaluate_model`.

    Only images that are classified correctly are attacked. The adversarial prediction of an image is that of the first
    attack that breaks it, else the clean one.
    """
    test, index = test.part(settings.images)
    ensemble = autoattack.standard(
        epsilon=epsilon,
        seed=seeds.derived(seed, "evaluation.autoattack"),
        num_classes=len(test.class_names),
        iterations=settings.iterations,
        target_classes=settings.target_classes,
        queries=settings.queries,
    )
    if autoattack.APGD_T not in [member.name for member in ensemble]:
        watcher.remark(
            f"AutoAttack ran without APGD-T: its loss compares four classes, and there are {len(test.class_names)}."
        )
    clean = predict(model, test.images, settings.batch_size)
    adversarial = autoattack.attack_survivors(
        ensemble,
        model,
        in_unit_range(test.images),
        test.labels,
        clean,
        epsilon=epsilon,
        batch_size=settings.batch_size,
        advance=watcher.advance,
        remark=watcher.remark,
    )
    return attack_rows(weights, "autoattack", index, test.labels.cpu(), clean.cpu(), adversarial.cpu())
