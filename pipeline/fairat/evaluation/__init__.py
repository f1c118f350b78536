"""Evaluations, one module each: from a model and test images to rows of evidence."""

from typing import Any, Protocol

import pyarrow as pa
import torch
from torch import nn

from fairat.attacks.pgd import attacking
from fairat.errors import UserError
from fairat.evaluation import autoattack, corruptions, pgd, square, steps
from fairat.evaluation.protocol import Conditions, EvaluationSet, Recall, Watcher, computed, in_unit_range

_PROBED_IMAGES = 64


class Evaluation(Protocol):
    """What each module of this room offers."""

    __name__: str

    def workload(self, test: EvaluationSet, settings: Any) -> int:
        """How many images of progress one weight set makes."""
        ...

    def evaluate(self, model: nn.Module, test: EvaluationSet, settings: Any, conditions: Conditions) -> pa.Table:
        """The rows of evidence of one weight set; the model is frozen and in eval mode."""
        ...


EVALUATIONS: dict[str, Evaluation] = {
    "pgd": pgd,
    "autoattack": autoattack,
    "square": square,
    "corruptions": corruptions,
    "steps": steps,
}
"""Name in params.yaml -> module."""


def evaluate_model(
    evaluation: str,
    model: nn.Module,
    test: EvaluationSet,
    settings: Any,
    *,
    weights: str = "last",
    epsilon: float,
    seed: int = 0,
    watcher: Watcher | None = None,
    recall: Recall = computed,
) -> pa.Table:
    """Evaluates one model, wherever it comes from; gives its rows of evidence.

    Args:
        evaluation: an entry of `EVALUATIONS`.
        model: images `batch channel height width` in [0, 1] to logits `batch class`; normalizes by itself. It comes back
            in the mode it was given in.
        test: on the model's device.
        settings: of this evaluation, from `fairat.study`.
        weights: the name of the weight set in the rows.
        epsilon: radius of the L-infinity ball, in units of [0, 1] images, the same for all images.
        seed: of the attack's random streams.
        watcher: is told of progress.
        recall: looks up the units of work that are done already, see `fairat.evaluation.ledger`.

    Raises:
        UserError: the model does not fit the images or classes, its logits are not finite, or memory does not suffice.
    """
    try:
        with attacking(model, "eval"):
            _check_model(model, test)
            conditions = Conditions(weights, epsilon, seed, watcher or Watcher(), recall)
            return EVALUATIONS[evaluation].evaluate(model, test, settings, conditions)
    except torch.OutOfMemoryError:
        raise UserError(
            f"The device's memory does not hold {settings.batch_size} images at once. "
            f"Lower evaluation.{evaluation}.batch_size of the suite."
        ) from None


@torch.no_grad()
def _check_model(model: nn.Module, test: EvaluationSet) -> None:
    """UserError if the model cannot be evaluated on these images; a few of them tell."""
    images = test.images[:_PROBED_IMAGES]
    try:
        logits = model(in_unit_range(images))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        shape = " x ".join(map(str, images.shape[1:]))
        raise UserError(
            f"The model cannot classify images of {shape} pixels (channel x height x width): "
            f"{str(error).splitlines()[0]}. Evaluate it on images like those it was trained with."
        ) from error
    classes = len(test.class_names)
    if logits.shape != (len(images), classes):
        raise UserError(
            f"The model gives an output of shape {tuple(logits.shape)} for {len(images)} images, but the data has "
            f"{classes} classes, so it should be {(len(images), classes)}. Evaluate it on the data it was trained for."
        )
    if bad := int((~logits.isfinite()).any(dim=1).sum()):
        raise UserError(
            f"The model's logits are not finite for {bad} of the first {len(images)} test images: its weights are "
            "damaged, or its training diverged. Train it again with a lower learning rate."
        )
