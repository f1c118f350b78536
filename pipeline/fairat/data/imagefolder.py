"""Images in folders, one per class: `train/CLASS/*` and `test/CLASS/*`, in a directory or an archive."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from fairat.data.archives import members
from fairat.data.canonical import Split
from fairat.data.images import EncodedImage, ImageForm, decode
from fairat.errors import UserError
from fairat.progress import progress

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
"""What marks an image; as in torchvision's ImageFolder."""

TEST_FOLDERS = ("test", "val")

IMAGENETTE_CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""Imagenette's folders and what is in them."""


class _Place(NamedTuple):
    """Where a member stands, in the order in which images are kept: train before test, then by class, folder and name."""

    split: int
    class_name: str
    folder: str
    name: str


@dataclass
class _Layout:
    """What has been seen of an archive: its members' places."""

    archive: Path
    test_folder: str | None
    top: dict[str, None] = field(default_factory=dict)
    wrappers: set[tuple[str, ...]] = field(default_factory=set)
    test_folders: set[str] = field(default_factory=set)
    classes: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    images: list[_Place] = field(default_factory=list)

    def place(self, path: PurePosixPath, is_directory: bool) -> _Place | None:
        """The place of a member that belongs to a class; None for others."""
        parts = path.parts
        if not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
            return None
        self.top[parts[0]] = None
        folders = ("train", *((self.test_folder,) if self.test_folder else TEST_FOLDERS))
        depth = next((depth for depth in (0, 1) if parts[depth : depth + 1] and parts[depth] in folders), None)
        if depth is None or len(parts) < depth + (2 if is_directory else 3):
            return None
        if parts[depth] != "train":
            self.test_folders.add(parts[depth])
        self.wrappers.add(parts[:depth])
        place = _Place(int(parts[depth] != "train"), parts[depth + 1], str(path.parent), path.name)
        self.classes[place.split].add(place.class_name)
        return place

    def check(self) -> None:
        """Raises UserError unless this is one data set with the same classes, none empty, in train and test."""
        if problem := self._problem():
            raise UserError(f"{self.archive} {problem}")

    def _problem(self) -> str | None:
        train, test = self.classes
        if len(self.test_folders) > 1:
            return "holds both test/ and val/. Set `test_folder: test` or `test_folder: val` in the source."
        if len(self.wrappers) > 1:
            found = ", ".join(sorted("/".join(wrapper) or "its root" for wrapper in self.wrappers))
            return f"holds more than one data set: in {found}. Give each its own archive or directory."
        for classes, folder in ((train, "train/"), (test, f"{self.test_folder or 'test'}/")):
            if not classes:
                return (
                    f"holds no {folder}CLASS/ folders; at its top it holds: {', '.join(list(self.top)[:8]) or 'nothing'}. "
                    "Arrange the images as train/CLASS/*.jpg and test/CLASS/*.jpg."
                )
        if train != test:
            return (
                f"has other classes in train/ than in test/: only in train: {_listed(train - test)}; "
                f"only in test: {_listed(test - train)}. Every class needs images in both."
            )
        filled = {(place.split, place.class_name) for place in self.images}
        for split, folder in enumerate(("train", *self.test_folders)):
            if empty := self.classes[split] - {name for number, name in filled if number == split}:
                return (
                    f"holds no images in {folder}/{min(empty)} (looked for {' '.join(SUFFIXES)}). "
                    "Add images or remove the class from both folders."
                )
        return None if len(train) > 1 else f"holds one class only: {min(train)}. At least two are needed."


def read_image_folder(path: Path, form: ImageForm, test_folder: str | None = None) -> tuple[Split, Split]:
    """Reads training and test images from a directory or archive, without writing any file.

    Classes are sorted by name, images inside a class by folder and name.

    Raises:
        UserError: no such archive, or not one; folders missing or without images; an image that `form` does not admit.
    """
    layout = _Layout(path, test_folder)
    batches = list(decode(_images(layout), form))
    layout.check()
    ranks = _ranks(layout)
    pixels = np.empty((len(ranks), *batches[0].shape[1:]), np.uint8)
    batches.reverse()
    start = 0
    while batches:  # each batch is let go once it is in place: no two copies of the data set in memory
        batch = batches.pop()
        pixels[ranks[start : start + len(batch)]] = batch
        start += len(batch)
    return _splits(layout, pixels)


def read_imagenette(path: Path, size: int) -> tuple[Split, Split]:
    """Reads Imagenette; its few grey images become colour images."""
    train, test = read_image_folder(path, ImageForm(size, channels=3, convert=True))
    names = tuple(IMAGENETTE_CLASSES.get(name, name) for name in train.class_names)
    return Split(train.images, train.labels, names), Split(test.images, test.labels, names)


def _images(layout: _Layout) -> Iterator[EncodedImage]:
    """The image files, in the archive's order; notes the place of each in `layout`."""
    with progress(f"reading {layout.archive.name}", 100, unit="%") as advance:
        shown = 0.0
        for path, content, done in members(layout.archive):
            place = layout.place(path, is_directory=content is None)
            if content is not None and place is not None and path.suffix.lower() in SUFFIXES:
                layout.images.append(place)
                yield EncodedImage(f"{layout.archive}: {path}", content)
            if done - shown > 0.01:
                advance(100 * (done - shown), "")
                shown = done


def _ranks(layout: _Layout) -> np.ndarray:
    """Where each image, in the archive's order, goes in the order in which images are kept."""
    order = sorted(range(len(layout.images)), key=layout.images.__getitem__)
    layout.images.sort()
    for place, following in zip(layout.images, layout.images[1:], strict=False):
        if place == following:
            raise UserError(f"{layout.archive} holds {place.folder}/{place.name} twice. Pack it again.")
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks


def _splits(layout: _Layout, pixels: np.ndarray) -> tuple[Split, Split]:
    class_names = tuple(sorted(layout.classes[0]))
    number = {name: index for index, name in enumerate(class_names)}
    labels = torch.tensor([number[place.class_name] for place in layout.images])
    images = torch.from_numpy(pixels)
    count = sum(place.split == 0 for place in layout.images)
    return (
        Split(images[:count], labels[:count], class_names),
        Split(images[count:], labels[count:], class_names),
    )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"
