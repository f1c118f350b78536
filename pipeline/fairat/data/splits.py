"""Which images are for training, validation and testing: a rule on file order, no randomness."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil

import torch
from jaxtyping import Int64
from torch import Tensor

from fairat.data.canonical import Split
from fairat.errors import UserError


def rank_in_class(labels: Int64[Tensor, " count"]) -> Int64[Tensor, " count"]:
    """How many images of the same class stand before each image."""
    counts = torch.bincount(labels)
    place_by_class = labels.argsort(stable=True).argsort()
    return place_by_class - (counts.cumsum(0) - counts)[labels]


def share_of_classes(counts: Int64[Tensor, " classes"], fraction: float) -> Int64[Tensor, " classes"]:
    """floor(fraction * n) of every class of n images."""
    # Fractions are decimal numbers: 0.29 * 100 is meant to be 29, not 28.999999999999996.
    return (counts.double() * fraction + 1e-9).floor().long()


def split_validation(split: Split, fraction: float) -> tuple[Split, Split]:
    """Training and validation: the first floor(fraction * n) images of each class validate; both keep file order.

    Args:
        split: all images that are not for testing.
        fraction: of each class, between 0 and 1; 0.02 in FAIR-TAT's code.

    Raises:
        UserError: a class would have no image to validate with, or none to train with.
    """
    counts = torch.bincount(split.labels, minlength=len(split.class_names))
    shares = share_of_classes(counts, fraction)
    if (shares == 0).any():
        images, smallest = min(zip(counts.tolist(), split.class_names, strict=True), key=lambda pair: pair[0])
        remedy = "Add images to the class: it needs at least one to train with and one to validate with."
        if images > 1:
            remedy = f"Set `validation_fraction` to {ceil(1000 / images) / 1000:g} or more, or add images to the class."
        raise UserError(
            f"Class {smallest!r} has {images} training images: a validation fraction of {fraction:g} gives "
            f"it none to validate with. {remedy}"
        )
    if (shares == counts).any():
        emptied = split.class_names[int((shares == counts).nonzero()[0])]
        raise UserError(
            f"A validation fraction of {fraction:g} leaves class {emptied!r} no image to train with. Set "
            "`validation_fraction` to a share such as 0.02."
        )
    validates = rank_in_class(split.labels) < shares[split.labels]
    return split[~validates], split[validates]


def first_of_each_class(split: Split, count: int | None) -> Split:
    """The first `count` images of every class in file order; all where None, or of a class that has no more."""
    return split if count is None else split[rank_in_class(split.labels) < count]


def without(split: Split, classes: Sequence[int]) -> Split:
    """The images of the other classes, which are numbered anew in their order (BAT, Table 4).

    Raises:
        UserError: there is no such class, or fewer than two would be left.
    """
    if not classes:
        return split
    count = len(split.class_names)
    kept = [number for number in range(count) if number not in classes]
    if max(classes) >= count or len(kept) < 2:
        raise UserError(
            f"`without_classes` is {', '.join(map(str, classes))}, but the {count} classes are numbered 0 to {count - 1}, "
            "and two of them must be left. Correct it in params.yaml."
        )
    numbers = torch.full((count,), -1)
    numbers[kept] = torch.arange(len(kept))
    others = replace(
        split, labels=numbers[split.labels], class_names=tuple(split.class_names[number] for number in kept)
    )
    return others[others.labels >= 0]


def require_every_class(splits: Mapping[str, Split]) -> None:
    """Looks whether every class has images in every split; without them a class has no accuracy.

    Args:
        splits: by name, such as `test`.

    Raises:
        UserError: there is one class only, or one has no images in a split; names both.
    """
    for name, split in splits.items():
        if len(split.class_names) < 2:
            found = f"one class only, {split.class_names[0]!r}" if split.class_names else "no class"
            raise UserError(f"The {name} images have {found}; at least two are needed. Add images of other classes.")
        if lacking := [class_name for class_name, count in split.counts.items() if not count]:
            shown = ", ".join(map(repr, lacking[:5])) + (", ..." if len(lacking) > 5 else "")
            raise UserError(
                f"There are no {name} images of {shown}; every class needs some to train, to validate and to test with. Add "
                "images, or leave the class out with `without_classes`."
            )
