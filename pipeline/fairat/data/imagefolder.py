"""Images in folders, one per class: `train/CLASS/*` and `test/CLASS/*`, in a directory or an archive."""

import io
import multiprocessing
import os
import struct
import sys
import unicodedata
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from fairat.data.archives import members
from fairat.data.canonical import Split
from fairat.errors import UserError
from fairat.progress import say
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


class _Decoded(NamedTuple):
    """An image, and whether there were further ones in its file."""

    name: str
    pixels: Pixels
    has_several_frames: bool


@dataclass
class _Contents:
    """What a directory or an archive holds, noted while it is read.

    Attributes:
        classes: number of images of each.
        top: what stands at the root, in its order.
        places: of each image, by its path.
        unused: files that are hidden, lie elsewhere, or are no images by their suffix.
    """

    classes: Counter[_Class] = field(default_factory=Counter)
    top: dict[str, None] = field(default_factory=dict)
    places: dict[str, _Place] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def read_image_folder(source: ImageFolder) -> tuple[Split, Split]:
    """Reads training and test images from a directory or archive, without writing any file.

    Classes are sorted by name, images inside a class by folder and name. Images are upright as their EXIF data say, and
    of a file with several frames the first is used. What is not used is said.

    Raises:
        UserError: no such archive, or not one; folders missing or without images; an image that the source does not admit,
            or of another size than the others.
    """
    contents, several = _Contents(), list[str]()
    pixels, twice = dict[str, Pixels](), ""
    for name, image, has_several_frames in _decoded(_found(source, contents), source):
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
        several += [name] * has_several_frames
    if problem := _problem(source.test_folder or "test", contents.classes, list(contents.top), twice):
        raise UserError(f"{source.path} {problem}")
    _say_what_is_left_out(source.path, contents.unused, several)
    places = contents.places
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


def _found(source: ImageFolder, contents: _Contents) -> Iterator[tuple[str, bytes]]:
    """Paths and contents of the images, in the archive's order; notes on the way what else there is."""
    tests = (source.test_folder,) if source.test_folder else ("test", "val")
    for path, content in members(source.path):
        parts = path.parts
        is_hidden = not parts or parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts)
        if not is_hidden:
            contents.top[parts[0]] = None
        depth = next((depth for depth, part in enumerate(parts[:2]) if part in ("train", *tests)), None)
        if is_hidden or depth is None or len(parts) < depth + (2 if content is None else 3):
            contents.unused += [] if content is None else [str(path)]
            continue
        is_image = content is not None and path.suffix.lower() in SUFFIXES
        split, name = parts[depth : depth + 2]
        contents.classes[str(PurePosixPath(*parts[:depth])), split, name] += is_image
        if content is not None and is_image:
            contents.places[str(path)] = split != "train", name, str(path.parent), path.name
            yield str(path), content
        elif content is not None:
            contents.unused.append(str(path))


def _say_what_is_left_out(path: Path, unused: list[str], several: list[str]) -> None:
    if unused:
        files = "1 file is" if len(unused) == 1 else f"{len(unused):,} files are"
        say(
            f"{path}: {files} not used ({_listed(unused)}): hidden, outside of train/CLASS/ and test/CLASS/, or no image "
            "by its suffix."
        )
    if several:
        files = "1 image has" if len(several) == 1 else f"{len(several):,} images have"
        say(f"{path}: {files} several frames ({_listed(several)}); only the first frame is used.")


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
    if alike := _alike(train | test):
        return (
            f"has classes whose names look the same: {', '.join(map(ascii, alike))}. Rename the folders of one of them, to a "
            "name of its own or, if both are one class, to the other's."
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


def _alike(names: set[str]) -> list[str]:
    """The first names that a reader of a table could not tell apart: other code points for one letter, spaces around it."""
    by_look: dict[str, list[str]] = {}
    for name in sorted(names):
        by_look.setdefault(" ".join(unicodedata.normalize("NFKC", name).split()), []).append(name)
    return next((found for found in by_look.values() if len(found) > 1), [])


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "") if names else "none"


def _decoded(images: Iterable[tuple[str, bytes]], form: ImageFolder) -> Iterator[_Decoded]:
    """Names and pixels of encoded images (JPEG, PNG, ...), decoded on all cores, in their order; few are under way at once.

    Raises:
        UserError: an image cannot be read, or is of another kind than `form` admits.
    """
    images, waiting = iter(images), deque[Future[list[_Decoded]]]()
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


def _decoded_batch(batch: list[tuple[str, bytes]], form: ImageFolder) -> list[_Decoded]:
    opened = ((name, *_opened(f"{form.path}: {name}", content)) for name, content in batch)
    return [_Decoded(name, _pixels(f"{form.path}: {name}", image, form), several) for name, image, several in opened]


def _opened(name: str, content: bytes) -> tuple[Image.Image, bool]:
    """The first frame, upright, and whether there are more."""
    try:
        image = Image.open(io.BytesIO(content))
        several = getattr(image, "is_animated", False)
        image.load()
    except UnidentifiedImageError:
        raise UserError(f"{name} is in no known image format. Replace or remove it.") from None
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        # What Pillow raises for damaged images of one format or another.
        raise UserError(f"{name} cannot be read as an image ({error}). Replace or remove it.") from None
    return _upright(image), several


def _upright(image: Image.Image) -> Image.Image:
    """As a person sees it: cameras store photographs as their sensor lay, and note how to turn them."""
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
        return image  # A damaged note: everyone who shows this image shows it as it is stored.


def _pixels(name: str, image: Image.Image, form: ImageFolder) -> Pixels:
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
