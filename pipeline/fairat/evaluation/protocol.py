"""What every evaluation shares: the images it sees, who is told of its progress, and clean predictions."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn.functional import one_hot


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


Result = Callable[[], Any]
"""Computes one unit of work: CPU tensors, in dicts and lists."""

Recall = Callable[[str, float, Result], Any]
"""Takes the name of a unit, the images of progress that it stands for, and what computes it; gives the result."""


def computed(unit: str, images: float, compute: Result) -> Any:
    """Remembers nothing: every unit is computed."""
    return compute()


@dataclass(frozen=True)
class Conditions:
    """Of one evaluation of one weight set, besides its settings; see `evaluate_model`."""

    weights: str
    epsilon: float
    seed: int
    watcher: Watcher
    recall: Recall = computed


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
