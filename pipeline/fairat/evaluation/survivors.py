"""What AutoAttack and Square have in common: block by block, attacks on the images that none before has broken."""

import math
from collections.abc import Callable, Sequence

import pyarrow as pa
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from fairat import seeds
from fairat.attacks import autoattack
from fairat.evaluation.protocol import Conditions, EvaluationSet, Recall, computed, in_unit_range, predict
from fairat.results.evidence import attack_rows
from fairat.settings.evaluations import BlockwiseEvaluation

Ensemble = Callable[..., Sequence[autoattack.Member]]
"""Attacks, in their order, that lack but the keyword `seed`."""


def workload(test: EvaluationSet, settings: BlockwiseEvaluation) -> int:
    """Every attacked image once."""
    return min(len(test), settings.images or len(test))


def survivors_rows(
    ensemble: Ensemble,
    model: nn.Module,
    test: EvaluationSet,
    settings: BlockwiseEvaluation,
    conditions: Conditions,
    *,
    name: str,
) -> pa.Table:
    """The rows of the first images of every class; only those that are classified correctly are attacked.

    The adversarial prediction of an image is that of the first attack that breaks it, else the clean one.
    """
    (part, index), seed, watcher = test.part(settings.images), conditions.seed, conditions.watcher
    first = in_unit_range(part.images[: settings.block_size])
    told = {"name": name, "epsilon": conditions.epsilon, "seed": seed, "advance": watcher.advance}
    told |= {"recall": conditions.recall}
    with autoattack.warnings_reported(watcher.remark):
        autoattack.check_network(model, first, part.labels[: settings.block_size], settings.batch_size)
        blocks = range(math.ceil(len(part) / settings.block_size))
        found = torch.cat(
            [block_predictions(ensemble, model, part, block, settings, **told) for block in blocks], dim=1
        )
        autoattack.check_square(ensemble(seed=seed), found, part.labels)
    return attack_rows(conditions.weights, name, index, part.labels.cpu(), found[0].cpu(), found[-1].cpu())


def block_predictions(
    ensemble: Ensemble,
    model: nn.Module,
    part: EvaluationSet,
    number: int,
    settings: BlockwiseEvaluation,
    *,
    name: str,
    epsilon: float,
    seed: int,
    advance: Callable[[float, str], None] = lambda by, note: None,
    recall: Recall = computed,
) -> Int64[Tensor, "stages batch"]:
    """The predictions of one block: clean, then after each attack.

    Blocks may be computed in any order and anywhere: none knows of the others.

    Args:
        ensemble: gets the block's own seed.
        model: frozen and in eval mode.
        part: all images that are attacked.
        number: of the block, from 0.
        settings: the block's size, and the memory.
        name: of the evaluation; with `seed` and `number` it decides the block's random stream.
        epsilon: radius, in units of [0, 1] images.
        seed: of the evaluation.
        advance: told of progress; the calls, and what is recalled, add up to the number of images in the block.
        recall: of what each attack of the block has left.
    """
    here = slice(number * settings.block_size, (number + 1) * settings.block_size)
    images, labels = part.images[here], part.labels[here]
    return autoattack.attack_block(
        ensemble(seed=seeds.derived(seed, f"evaluation.{name}", number)),
        model,
        in_unit_range(images),
        labels,
        predict(model, images, settings.batch_size),
        epsilon=epsilon,
        batch_size=settings.batch_size,
        advance=advance,
        recall=lambda attack, share, compute: recall(f"block{number}.{attack}", share, compute),
    )
