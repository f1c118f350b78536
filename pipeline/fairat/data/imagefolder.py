"""Images in folders, one per class: `train/CLASS/*` and `test/CLASS/*`, in a directory or an archive."""

import io
import multiprocessing
import os
import struct
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from fairat.data.archives import members
from fairat.data.canonical import Split
from fairat.errors import UserError
from fairat.settings.data import ImageFolder

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff")
"""What marks an image; as in torchvision's ImageFolder."""

BATCH = 32
"""How many images a worker gets at once."""

_MODES = {1: "L", 3: "RGB"}
_WORDS = {"1": "black and white", "L": "gray", "P": "palette", "RGB": "color", "CMYK": "CMYK"}

_IMAGENETTE_CLASSES = {
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

Pixels = UInt8[np.ndarray, "height width channel"]

_Class = tuple[str, str, str]
"""The folder around the data set, `train` or the test folder, and the class."""

_Place = tuple[bool, str, str, str]
"""What images are sorted by: whether it is for testing, class, folder and name."""


def read_image_folder(source: ImageFolder) -> tuple[Split, Split]:
    """Reads training and test images from a directory or archive, without writing any file.

    Classes are sorted by name, images inside a class by folder and name.

    Raises:
        UserError: no such archive, or not one; folders missing or without images; an image that the source does not admit,
            or of another size than the others.
    """
    classes, top, places = Counter[_Class](), dict[str, None](), dict[str, _Place]()
    pixels, twice = dict[str, Pixels](), ""
    for name, image in _decoded(_found(source, classes, top, places), source):
        first = next(iter(pixels), name)
        (height, width), (first_height, first_width) = image.shape[:2], pixels.get(first, image).shape[:2]
        if (height, width) != (first_height, first_width):
            raise UserError(
                f"{source.path}: {name} has {width}x{height} pixels, but {source.path}: {first} has "
                f"{first_width}x{first_height}: images must be of one size. Set `size: {min(first_height, first_width)}` in "
                "the source to resize and crop them, or another size."
            )
        twice = name if name in pixels else twice
        pixels[name] = image
    if problem := _problem(source.test_folder or "test", classes, list(top), twice):
        raise UserError(f"{source.path} {problem}")
    order = sorted(pixels, key=places.__getitem__)
    height, width, channels = pixels[order[0]].shape
    images = np.empty((len(order), channels, height, width), np.uint8)
    for number, name in enumerate(order):  # each is let go once it is in place: no two copies in memory
        images[number] = pixels.pop(name).transpose(2, 0, 1)
    class_names, labels = np.unique([places[name][1] for name in order], return_inverse=True)
    everything = Split(torch.from_numpy(images), torch.from_numpy(labels), tuple(class_names.tolist()))
    count = sum(not places[name][0] for name in order)
    return everything[:count], everything[count:]


def read_imagenette(path: Path, size: int) -> tuple[Split, Split]:
    """Reads Imagenette; its few gray images become color images."""
    train, test = read_image_folder(ImageFolder(path=path, size=size, convert=True))
    names = tuple(_IMAGENETTE_CLASSES.get(name, name) for name in train.class_names)
    return replace(train, class_names=names), replace(test, class_names=names)


def _found(
    source: ImageFolder, classes: Counter[_Class], top: dict[str, None], places: dict[str, _Place]
) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of the images, in the archive's order.

    Counts the images of each class on the way, and notes what stands at the root and where each image belongs.
    """
    tests = (source.test_folder,) if source.test_folder else ("test", "val")
    for path, content in members(source.path):
        parts = path.parts
        if not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts):
            continue
        top[parts[0]] = None
        depth = next((depth for depth, part in enumerate(parts[:2]) if part in ("train", *tests)), None)
        if depth is None or len(parts) < depth + (2 if content is None else 3):
            continue
        is_image = content is not None and path.suffix.lower() in SUFFIXES
        split, name = parts[depth : depth + 2]
        classes[str(PurePosixPath(*parts[:depth])), split, name] += is_image
        if content is not None and is_image:
            places[str(path)] = split != "train", name, str(path.parent), path.name
            yield str(path), content


def _problem(test_folder: str, classes: Counter[_Class], top: list[str], twice: str) -> str | None:
    """What is wrong unless this is one data set with the same classes, none empty, in train and test."""
    roots = {root for root, _, _ in classes}
    train, test = ({name for _, split, name in classes if (split == "train") == kept} for kept in (True, False))
    if len({split for _, split, _ in classes} - {"train"}) > 1:
        return "holds both test/ and val/. Set `test_folder: test` or `test_folder: val` in the source."
    if len(roots) > 1:
        found = ", ".join(sorted("its root" if root == "." else root for root in roots))
        return f"holds more than one data set: in {found}. Give each its own archive or directory."
    if not train or not test:
        return (
            f"holds no {test_folder if train else 'train'}/CLASS/ folders; at its top it holds: "
            f"{', '.join(top[:8]) or 'nothing'}. Arrange the images as train/CLASS/*.jpg and test/CLASS/*.jpg."
        )
    if train != test:
        return (
            f"has other classes in train/ than in test/: only in train: {_listed(train - test)}; "
            f"only in test: {_listed(test - train)}. Every class needs images in both."
        )
    if empty := [(split != "train", f"{split}/{name}") for (_, split, name), count in classes.items() if not count]:
        return (
            f"holds no images in {min(empty)[1]} (looked for {' '.join(SUFFIXES)}). "
            "Add images or remove the class from both folders."
        )
    if len(train) == 1:
        return f"holds one class only: {min(train)}. At least two are needed."
    return f"holds {twice} twice. Pack it again." if twice else None


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


def _decoded(images: Iterable[tuple[str, bytes]], form: ImageFolder) -> Iterator[tuple[str, Pixels]]:
    """Names and pixels of encoded images (JPEG, PNG, ...), decoded on all cores, in their order; few are under way at once.

    Raises:
        UserError: an image cannot be read, or is of another kind than `form` admits.
    """
    images, waiting = iter(images), deque[Future[list[tuple[str, Pixels]]]]()
    # With small images most of the time is Python's, which threads cannot share. Forked workers start at once, and
    # never touch what torch holds; where forking is not safe, threads do.
    if sys.platform == "linux":
        workers = len(os.sched_getaffinity(0))
        pool: Executor = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
    else:
        workers = os.cpu_count() or 1
        pool = ThreadPoolExecutor(workers)
    with pool:
        while batch := list(islice(images, BATCH)):
            waiting.append(pool.submit(_decoded_batch, batch, form))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        for future in waiting:
            yield from future.result()


def _decoded_batch(batch: list[tuple[str, bytes]], form: ImageFolder) -> list[tuple[str, Pixels]]:
    return [(name, _pixels(f"{form.path}: {name}", content, form)) for name, content in batch]


def _pixels(name: str, content: bytes, form: ImageFolder) -> Pixels:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except UnidentifiedImageError:
        raise UserError(f"{name} is in no known image format. Replace or remove it.") from None
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        # What Pillow raises for damaged images of one format or another.
        raise UserError(f"{name} cannot be read as an image ({error}). Replace or remove it.") from None
    wanted = _MODES[form.channels]
    if image.mode != wanted:
        given = f"{name} is a {_WORDS.get(image.mode, image.mode)} image of {image.width}x{image.height} pixels"
        if image.mode.startswith(("I", "F")):
            raise UserError(f"{given} with more than 8 bits per channel. Save it with 8 bits per channel.")
        if not form.convert:
            raise UserError(
                f"{given} (mode {image.mode}), but {_WORDS[wanted]} images ({wanted}) are expected. "
                "Set `convert: true` in the source to convert such images, or `channels` to 1 or 3 if all are alike."
            )
        image = image.convert(wanted)
    if form.size is not None:
        # The central square of whole pixels: an image that has the size already is cropped, never resampled by half a
        # pixel. Pillow's bilinear filter covers every pixel when it shrinks.
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.resize((form.size, form.size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image).reshape(image.height, image.width, form.channels)
