"""The Square attack alone, on the first images of every class (Andriushchenko et al. 2020; spec 7)."""

import pyarrow as pa
from torch import nn

from pipeline import seeds
from pipeline.attacks import autoattack
from pipeline.config import SquareEvaluation
from pipeline.evaluation.protocol import EvaluationSet, Watcher, in_unit_range, predict
from pipeline.evidence import attack_rows


def workload(test: EvaluationSet, settings: SquareEvaluation) -> int:
    """Every attacked image once."""
    return min(len(test), settings.images or len(test))


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
    """One block of rows; see `protocol.evaluate_model`.

    Only images that are classified correctly are attacked. Where the attack fails, the adversarial prediction is the
    clean one.
    """
    test, index = test.part(settings.images)
    clean = predict(model, test.images, settings.batch_size)
    adversarial = autoattack.attack_survivors(
        [autoattack.square(epsilon=epsilon, seed=seeds.derived(seed, "evaluation.square"), queries=settings.queries)],
        model,
        in_unit_range(test.images),
        test.labels,
        clean,
        epsilon=epsilon,
        batch_size=settings.batch_size,
        advance=watcher.advance,
        remark=watcher.remark,
    )
    return attack_rows(weights, "square", index, test.labels.cpu(), clean.cpu(), adversarial.cpu())
