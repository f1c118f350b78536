"""Images in folders, one per class: `train/CLASS/*` and `test/CLASS/*`, in a directory or an archive."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from fairat.data.archives import members
from fairat.data.canonical import Split
from fairat.data.images import Pixels, decode
from fairat.errors import UserError
from fairat.settings.data import ImageFolder

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
"""What marks an image; as in torchvision's ImageFolder."""

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
    """Where an image stands, in the order in which images are kept: train before test, then by class, folder and name."""

    is_test: bool
    class_name: str
    folder: str
    name: str


class _Reader:
    """Reads a directory or archive from front to back and notes what it holds.

    Attributes:
        places: of the images, in the archive's order.
        classes: (folder around the data set, `train` or test folder, class) -> number of images.
        top: what stands at the root.
    """

    def __init__(self, path: Path, test_folder: str | None) -> None:
        self.path, self.test_folder = path, test_folder
        self.places: list[_Place] = []
        self.classes: Counter[tuple[str, str, str]] = Counter()
        self.top: dict[str, None] = {}

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Names and contents of the images, in the archive's order."""
        tests = (self.test_folder,) if self.test_folder else ("test", "val")
        for path, content in members(self.path):
            parts = path.parts
            if not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
                continue
            self.top[parts[0]] = None
            depth = next((depth for depth, part in enumerate(parts[:2]) if part in ("train", *tests)), None)
            if depth is None or len(parts) < depth + (2 if content is None else 3):
                continue
            split, name = parts[depth : depth + 2]
            is_image = content is not None and path.suffix.lower() in SUFFIXES
            self.classes[str(PurePosixPath(*parts[:depth])), split, name] += is_image
            if content is not None and is_image:
                self.places.append(_Place(split != "train", name, str(path.parent), path.name))
                yield f"{self.path}: {path}", content

    def check(self) -> None:
        """Raises UserError unless this is one data set with the same classes, none empty, in train and test."""
        if problem := self._problem():
            raise UserError(f"{self.path} {problem}")

    def _problem(self) -> str | None:
        roots = {root for root, _, _ in self.classes}
        train, test = (
            {name for _, split, name in self.classes if (split == "train") == kept} for kept in (True, False)
        )
        if len({split for _, split, _ in self.classes} - {"train"}) > 1:
            return "holds both test/ and val/. Set `test_folder: test` or `test_folder: val` in the source."
        if len(roots) > 1:
            found = ", ".join(sorted("its root" if root == "." else root for root in roots))
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
        if empty := [
            (split != "train", f"{split}/{name}") for (_, split, name), count in self.classes.items() if not count
        ]:
            return (
                f"holds no images in {min(empty)[1]} (looked for {' '.join(SUFFIXES)}). "
                "Add images or remove the class from both folders."
            )
        if len(train) == 1:
            return f"holds one class only: {min(train)}. At least two are needed."
        place, times = Counter(self.places).most_common(1)[0]
        return f"holds {place.folder}/{place.name} twice. Pack it again." if times > 1 else None


def read_image_folder(source: ImageFolder) -> tuple[Split, Split]:
    """Reads training and test images from a directory or archive, without writing any file.

    Classes are sorted by name, images inside a class by folder and name.

    Raises:
        UserError: no such archive, or not one; folders missing or without images; an image that the source does not admit,
            or of another size than the others.
    """
    reader = _Reader(source.path, source.test_folder)
    pixels = _of_one_size(decode(reader.images(), source))
    reader.check()
    order = sorted(range(len(pixels)), key=reader.places.__getitem__)
    height, width, channels = pixels[0].shape
    images = np.empty((len(pixels), channels, height, width), np.uint8)
    for number, index in enumerate(order):  # each is let go once it is in place: no two copies in memory
        images[number] = pixels.pop(index).transpose(2, 0, 1)
    everything = torch.from_numpy(images)
    class_names = tuple(sorted({place.class_name for place in reader.places}))
    label = {name: number for number, name in enumerate(class_names)}
    labels = torch.tensor([label[reader.places[index].class_name] for index in order])
    count = sum(not place.is_test for place in reader.places)
    return (
        Split(everything[:count], labels[:count], class_names),
        Split(everything[count:], labels[count:], class_names),
    )


def read_imagenette(path: Path, size: int) -> tuple[Split, Split]:
    """Reads Imagenette; its few gray images become color images."""
    train, test = read_image_folder(ImageFolder(path=path, size=size, convert=True))
    names = tuple(IMAGENETTE_CLASSES.get(name, name) for name in train.class_names)
    return Split(train.images, train.labels, names), Split(test.images, test.labels, names)


def _of_one_size(images: Iterator[tuple[str, Pixels]]) -> dict[int, Pixels]:
    pixels: dict[int, Pixels] = {}
    first_name = ""
    for name, image in images:
        if not pixels:
            first_name = name
        elif image.shape != pixels[0].shape:
            (height, width), (first_height, first_width) = image.shape[:2], pixels[0].shape[:2]
            raise UserError(
                f"{name} has {width}x{height} pixels, but {first_name} has {first_width}x{first_height}: images must be of "
                f"one size. Set `size: {min(first_height, first_width)}` in the source to resize and crop them, or another "
                "size."
            )
        pixels[len(pixels)] = image
    return pixels


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"
