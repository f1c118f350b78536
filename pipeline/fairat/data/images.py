"""From encoded images (JPEG, PNG, ...) to pixels, on all cores."""

import io
import multiprocessing
import os
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from fairat.errors import UserError
from fairat.settings.data import ImageFolder

BATCH = 32
"""How many images a worker gets at once."""

_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged images of one format or another."""

_MODES = {1: "L", 3: "RGB"}
_WORDS = {"1": "black and white", "L": "gray", "P": "palette", "RGB": "color", "CMYK": "CMYK"}

Pixels = UInt8[np.ndarray, "height width channel"]


def decode(images: Iterable[tuple[str, bytes]], form: ImageFolder) -> Iterator[tuple[str, Pixels]]:
    """Decodes images on all cores; gives names and pixels in order. Few batches are under way at once.

    Args:
        images: names, for errors, and the bytes of files.
        form: its `size`, `channels` and `convert` say what images are to become.

    Raises:
        UserError: an image cannot be read, or is of another kind than `form` admits.
    """
    images = iter(images)
    workers = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    waiting: deque[Future[list[tuple[str, Pixels]]]] = deque()
    with _pool(workers) as pool:
        while batch := list(islice(images, BATCH)):
            waiting.append(pool.submit(_decode_batch, batch, form))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        for future in waiting:
            yield from future.result()


def _pool(workers: int) -> Executor:
    # With small images most of the time is Python's, which threads cannot share. Forked workers start at once, and
    # never touch what torch holds; where forking is not safe, threads do.
    if sys.platform == "linux":
        return ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
    return ThreadPoolExecutor(workers)


def _decode_batch(batch: list[tuple[str, bytes]], form: ImageFolder) -> list[tuple[str, Pixels]]:
    return [(name, _decode_one(name, content, form)) for name, content in batch]


def _decode_one(name: str, content: bytes, form: ImageFolder) -> Pixels:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except UnidentifiedImageError:
        raise UserError(f"{name} is in no known image format. Replace or remove it.") from None
    except _UNREADABLE as error:
        raise UserError(f"{name} cannot be read as an image ({error}). Replace or remove it.") from None
    if image.mode != _MODES[form.channels]:
        image = _converted(name, image, form)
    if form.size is not None:
        image = _resized(image, form.size)
    return np.asarray(image).reshape(image.height, image.width, form.channels)


def _converted(name: str, image: Image.Image, form: ImageFolder) -> Image.Image:
    """The image as color or gray, or a UserError that says what it is."""
    given = f"{name} is a {_WORDS.get(image.mode, image.mode)} image of {image.width}x{image.height} pixels"
    if image.mode.startswith(("I", "F")):
        raise UserError(f"{given} with more than 8 bits per channel. Save it with 8 bits per channel.")
    wanted = _MODES[form.channels]
    if not form.convert:
        raise UserError(
            f"{given} (mode {image.mode}), but {_WORDS[wanted]} images ({wanted}) are expected. "
            "Set `convert: true` in the source to convert such images, or `channels` to 1 or 3 if all are alike."
        )
    return image.convert(wanted)


def _resized(image: Image.Image, size: int) -> Image.Image:
    """The central square, resized with Pillow's bilinear filter, which covers every pixel when it shrinks."""
    side = min(image.size)
    # Whole pixels: an image that has the size already is cropped, never resampled by half a pixel.
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
