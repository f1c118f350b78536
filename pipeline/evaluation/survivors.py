"""What AutoAttack and Square have in common: attacks, one after the other, on the images that none has broken so far."""

from collections.abc import Sequence

import pyarrow as pa
from torch import nn

from pipeline.attacks import autoattack
from pipeline.config import AutoAttackEvaluation, SquareEvaluation
from pipeline.evaluation.protocol import EvaluationSet, Watcher, in_unit_range, predict
from pipeline.evidence import attack_rows


def workload(test: EvaluationSet, settings: AutoAttackEvaluation | SquareEvaluation) -> int:
    """Every attacked image once."""
    return min(len(test), settings.images or len(test))


def survivors_rows(
    ensemble: Sequence[autoattack.Member],
    model: nn.Module,
    test: EvaluationSet,
    settings: AutoAttackEvaluation | SquareEvaluation,
    *,
    name: str,
    weights: str,
    epsilon: float,
    watcher: Watcher,
) -> pa.Table:
    """One block of rows, of the first images of every class; only those that are classified correctly are attacked.

    The adversarial prediction of an image is that of the first attack that breaks it, else the clean one.
    """
    part, index = test.part(settings.images)
    clean = predict(model, part.images, settings.batch_size)
    adversarial = autoattack.attack_survivors(
        ensemble,
        model,
        in_unit_range(part.images),
        part.labels,
        clean,
        epsilon=epsilon,
        batch_size=settings.batch_size,
        advance=watcher.advance,
        remark=watcher.remark,
    )
    return attack_rows(weights, name, index, part.labels.cpu(), clean.cpu(), adversarial.cpu())
