"""What every evaluation shares: the images it sees, the contract it fulfils, and the one way it is run."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import pyarrow as pa
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.functional import one_hot

from fairat.attacks.pgd import attacking
from fairat.errors import UserError

_PROBED_IMAGES = 64


@dataclass(frozen=True)
class EvaluationSet:
    """Test images, on the device where the model is.

    Attributes:
        images: values in 0..255.
        labels: in 0..K-1.
        class_names: K of them.
        corrupted: directory of the same images under corruptions; only `corruptions` reads it.
    """

    images: UInt8[Tensor, "count channel height width"]
    labels: Int64[Tensor, " count"]
    class_names: tuple[str, ...]
    corrupted: Path | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def part(self, count: int | None) -> tuple["EvaluationSet", Int64[Tensor, " part"]]:
        """The first images of every class, `count` in all, in the set's order, and where in the set they stand.

        Classes are represented as evenly as they can be: test sets may be sorted by class, so the first images of the
        whole set may be of one class only. All images where there are fewer than `count`, or `count` is None.
        """
        labels = self.labels.cpu()
        rank_in_class = one_hot(labels, len(self.class_names)).cumsum(dim=0).gather(1, labels[:, None]).squeeze(1)
        index = rank_in_class.argsort(stable=True)[:count].sort().values
        here = index.to(self.labels.device)
        return replace(self, images=self.images[here], labels=self.labels[here]), index


@dataclass(frozen=True)
class Watcher:
    """Who is told how an evaluation goes; by default nobody.

    Attributes:
        advance: takes a number of images that are done, and a note of a few words.
        remark: takes a sentence that the user should read when all is over.
    """

    advance: Callable[[float, str], None] = lambda by, note: None
    remark: Callable[[str], None] = lambda text: None


class Evaluation(Protocol):
    """What each module of this room offers."""

    def workload(self, test: EvaluationSet, settings: Any) -> int:
        """How many images of progress one weight set makes."""
        ...

    def evaluate(
        self,
        model: nn.Module,
        test: EvaluationSet,
        settings: Any,
        *,
        weights: str,
        epsilon: float,
        seed: int,
        watcher: Watcher,
    ) -> pa.Table:
        """The rows of evidence of one weight set; the model is frozen and in eval mode."""
        ...


def module_of(evaluation: str) -> Evaluation:
    """The module of an evaluation, by its name in params.yaml. By name: a stage then depends only on the one it runs."""
    return cast(Evaluation, import_module(f"fairat.evaluation.{evaluation}"))


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
) -> pa.Table:
    """Evaluates one model, wherever it comes from (spec 7); gives its rows of evidence.

    Args:
        evaluation: pgd, autoattack, square or corruptions.
        model: images `batch channel height width` in [0, 1] to logits `batch class`; normalises by itself. It comes back
            in the mode it was given in.
        test: on the model's device.
        settings: of this evaluation, from `fairat.study`.
        weights: the name of the weight set in the rows.
        epsilon: radius of the L-infinity ball, in units of [0, 1] images, the same for all images.
        seed: of the attack's random streams.
        watcher: is told of progress.

    Raises:
        UserError: the model does not fit the images or classes, its logits are not finite, or memory does not suffice.
    """
    try:
        with attacking(model, "eval"):
            _check_model(model, test)
            return module_of(evaluation).evaluate(
                model, test, settings, weights=weights, epsilon=epsilon, seed=seed, watcher=watcher or Watcher()
            )
    except torch.OutOfMemoryError:
        raise UserError(
            f"The device's memory does not hold {settings.batch_size} images at once. "
            f"Lower evaluation.{evaluation}.batch_size of the suite."
        ) from None


def in_unit_range(images: UInt8[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Stored pixels 0..255 as float32 in [0, 1]."""
    return images.to(torch.float32) / 255


@torch.no_grad()
def predict(
    model: nn.Module,
    images: UInt8[Tensor, "count channel height width"],
    batch_size: int,
    advance: Callable[[float], None] = lambda by: None,
) -> Int64[Tensor, " count"]:
    """The predicted class of every image; `advance` is told how many are done, batch by batch."""
    found = []
    for batch in images.split(batch_size):
        found.append(model(in_unit_range(batch)).argmax(dim=1))
        advance(len(batch))
    return torch.cat(found)


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
