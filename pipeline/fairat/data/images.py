"""From encoded images (JPEG, PNG, ...) to pixels, on all cores."""

import io
import multiprocessing
import os
import struct
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from fairat.errors import UserError

BATCH_IMAGES, BATCH_BYTES = 512, 4 << 20
"""A worker gets at most so many images, and about so many bytes, at once."""

_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged images of one format or another."""

_MODES = {1: "L", 3: "RGB"}
_WORDS = {"1": "black and white", "L": "grey", "P": "palette", "RGB": "colour", "CMYK": "CMYK"}


class EncodedImage(NamedTuple):
    """An image file: its name, for errors, and its bytes."""

    name: str
    content: bytes


class ImageForm(NamedTuple):
    """What images are to become.

    Attributes:
        size: resize the shorter side to this many pixels and keep the central square; None keeps images as they are.
        channels: 3 for colour, 1 for grey.
        convert: turn images of another kind into `channels`, instead of refusing them.
    """

    size: int | None
    channels: int
    convert: bool


def decode(
    images: Iterable[EncodedImage], form: ImageForm
) -> Iterator[UInt8[np.ndarray, "count channel height width"]]:
    """Decodes images in batches on all cores; gives the batches in order.

    Raises:
        UserError: an image cannot be read, is of another kind than `form` admits, or of another size than the others.
    """
    first: tuple[str, tuple[int, ...]] | None = None
    for name, batch in _decoded_batches(images, form):
        first = first or (name, batch.shape[1:])
        _check_size(name, batch.shape[1:], *first)
        yield batch


def _decoded_batches(images: Iterable[EncodedImage], form: ImageForm) -> Iterator[tuple[str, np.ndarray]]:
    """Every batch, with the name of its first image. Few batches are under way at once, so memory stays bounded."""
    workers = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    waiting: deque[tuple[str, Future[np.ndarray]]] = deque()
    with _pool(workers) as pool:
        for batch in _batches(images):
            waiting.append((batch[0].name, pool.submit(_decode_batch, batch, form)))
            if len(waiting) > 2 * workers:
                name, future = waiting.popleft()
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()


def _pool(workers: int) -> Executor:
    # With small images most of the time is Python's, which threads cannot share. Forked workers start at once, and
    # never touch what torch holds; where forking is not safe, threads do.
    if sys.platform == "linux":
        return ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
    return ThreadPoolExecutor(workers)


def _batches(images: Iterable[EncodedImage]) -> Iterator[list[EncodedImage]]:
    batch, size = [], 0
    for image in images:
        batch.append(image)
        size += len(image.content)
        if len(batch) >= BATCH_IMAGES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _decode_batch(batch: Sequence[EncodedImage], form: ImageForm) -> UInt8[np.ndarray, "count channel height width"]:
    pixels = [_decode_one(image, form) for image in batch]
    for image, values in zip(batch, pixels, strict=True):
        _check_size(image.name, values.shape, batch[0].name, pixels[0].shape)
    return np.stack(pixels)


def _decode_one(encoded: EncodedImage, form: ImageForm) -> UInt8[np.ndarray, "channel height width"]:
    try:
        image = Image.open(io.BytesIO(encoded.content))
        image.load()
    except UnidentifiedImageError:
        raise UserError(f"{encoded.name} is in no known image format. Replace or remove it.") from None
    except _UNREADABLE as error:
        raise UserError(f"{encoded.name} cannot be read as an image ({error}). Replace or remove it.") from None
    if image.mode != _MODES[form.channels]:
        image = _converted(encoded.name, image, form)
    if form.size is not None:
        image = _resized(image, form.size)
    return np.asarray(image).reshape(image.height, image.width, form.channels).transpose(2, 0, 1)


def _converted(name: str, image: Image.Image, form: ImageForm) -> Image.Image:
    """The image as colour or grey, or a UserError that says what it is."""
    given = f"{name} is a {_WORDS.get(image.mode, image.mode)} image of {image.width}x{image.height} pixels"
    if image.mode.startswith(("I", "F")):
        raise UserError(f"{given} with more than 8 bits per channel. Save it with 8 bits per channel.")
    if not form.convert:
        wanted = _WORDS[_MODES[form.channels]]
        raise UserError(
            f"{given} (mode {image.mode}), but {wanted} images ({_MODES[form.channels]}) are expected. "
            "Set `convert: true` in the source to convert such images, or `channels` to 1 or 3 if all are alike."
        )
    return image.convert(_MODES[form.channels])


def _resized(image: Image.Image, size: int) -> Image.Image:
    """The central square, resized with Pillow's bilinear filter, which covers every pixel when it shrinks."""
    side = min(image.size)
    # Whole pixels: an image that has the size already is cropped, never resampled by half a pixel.
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _check_size(name: str, shape: tuple[int, ...], other_name: str, other_shape: tuple[int, ...]) -> None:
    if shape != other_shape:
        raise UserError(
            f"{name} has {shape[2]}x{shape[1]} pixels, but {other_name} has {other_shape[2]}x{other_shape[1]}: images "
            f"must be of one size. Set `size: {min(other_shape[1:])}` in the source to resize and crop them, "
            "or another size."
        )
