"""Snow, frost and fog."""

import math
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image

from fairat.data.corruptions.common import Draws, Images, length_scale, luminance, pixels, smeared, unit, zoomed

FROST_SCALE = 0.2
"""Pixels of a 32 x 32 image per pixel of a photograph of frost."""

FROST_PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""What the official construction draws from. Its second and third are the same; it names a sixth, but never draws it."""


def snow(images: Images, draws: Draws, *constants: float) -> Images:
    """Whitens the image and lets flakes fall over it, once as drawn and once turned by 180 degrees."""
    mean, deviation, zoom, threshold, radius, sigma, weight = constants
    batch, _, height, width = images.shape
    scale = length_scale(images)
    flakes = draws("flakes").normal(mean, deviation, (batch, 1, height, width))
    if zoom * scale != 1:
        flakes = zoomed(flakes, (zoom * scale,))
    flakes = np.where(flakes < threshold, 0, flakes)
    angles = draws("angle").uniform(-135, -45, batch)
    flakes = smeared(flakes, radius * scale, sigma * scale, angles)
    whitened = weight * images + (1 - weight) * np.maximum(images, luminance(images) * 1.5 + 0.5)
    return whitened + flakes + flakes[:, :, ::-1, ::-1]


def frost(images: Images, draws: Draws, image_weight: float, frost_weight: float) -> Images:
    """Adds a random crop of a random photograph of frost.

    Raises:
        ModuleNotFoundError: the package with the photographs is not installed.
    """
    batch, channel, height, width = images.shape
    choices = draws("photograph").integers(len(FROST_PHOTOGRAPHS), size=batch)
    corners = draws("corner").random((batch, 2))
    crops = np.empty(images.shape, np.uint8)
    for number, name in enumerate(FROST_PHOTOGRAPHS):
        members = np.flatnonzero(choices == number)
        photograph = _photograph(name, FROST_SCALE * length_scale(images), (height, width), channel)
        room = np.array(photograph.shape[1:]) - (height, width)
        top, left = (corners[members] * room).astype(int).T
        rows = top[:, None, None] + np.arange(height)[:, None]
        columns = left[:, None, None] + np.arange(width)
        crops[members] = photograph[:, rows, columns].swapaxes(0, 1)
    return unit(np.clip(image_weight * pixels(images) + frost_weight * crops, 0, 255).astype(np.uint8))


def frost_directory() -> Path:
    """Where the package imagecorruptions keeps the photographs of frost. The package itself is never imported.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    package = find_spec("imagecorruptions")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "The corruption frost needs the photographs of frost that come with the package imagecorruptions, which is "
            "not installed."
        )
    return Path(package.submodule_search_locations[0]) / "frost"


@lru_cache(maxsize=16)
def _photograph(
    name: str, scale: float, smallest: tuple[int, int], channels: int
) -> UInt8[np.ndarray, "channel height width"]:
    """A photograph of frost, resized bilinearly by `scale`, or by as much more as covers the `smallest` size."""
    image = Image.open(frost_directory() / name).convert("RGB").convert("RGB" if channels == 3 else "L")
    values = np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)
    scale = max(scale, (smallest[0] + 1) / image.height, (smallest[1] + 1) / image.width)
    # Without smoothing before it is made smaller, as OpenCV does: at 1/5 this takes every fifth pixel as it is.
    resized = F.interpolate(torch.from_numpy(values.astype(np.float32))[None], scale_factor=scale, mode="bilinear")
    return resized[0].round().to(torch.uint8).numpy()


def fog(images: Images, draws: Draws, thickness: float, decay: float) -> Images:
    """Adds a random cloud to all channels, and dims so that the brightest possible value stays where it was."""
    batch, _, height, width = images.shape
    side = 2 ** math.ceil(math.log2(max(height, width)))
    wobble = draws("wobble").uniform(-1, 1, (batch, side, side))
    brightest = images.max(axis=(1, 2, 3), keepdims=True)
    cloud = plasma(wobble, decay)[:, None, :height, :width]
    return (images + thickness * cloud) * brightest / (brightest + thickness)


def plasma(wobble: Float[np.ndarray, "batch side side"], decay: float) -> Float[np.ndarray, "batch side side"]:
    """The diamond-square fractal on a torus, scaled to [0, 1].

    Args:
        wobble: uniform in [-1, 1], one for each point; the side is a power of two.
        decay: the amplitude of the wobble falls by its square from octave to octave.
    """
    field = np.zeros_like(wobble)
    step, amplitude = field.shape[1], 100.0
    while step >= 2:
        half = step // 2
        even, odd = slice(None, None, step), slice(half, None, step)
        corners = field[:, even, even]
        middles = _sum_of_neighbors(corners, -1, 1)
        middles = field[:, odd, odd] = _sum_of_neighbors(middles, -1, 2) / 4 + amplitude**2 * wobble[:, odd, odd]
        above = _sum_of_neighbors(middles, 1, 1) + _sum_of_neighbors(corners, -1, 2)
        field[:, even, odd] = above / 4 + amplitude**2 * wobble[:, even, odd]
        beside = _sum_of_neighbors(middles, 1, 2) + _sum_of_neighbors(corners, -1, 1)
        field[:, odd, even] = beside / 4 + amplitude**2 * wobble[:, odd, even]
        step, amplitude = half, amplitude / decay
    field -= field.min(axis=(1, 2), keepdims=True)
    return field / field.max(axis=(1, 2), keepdims=True)


def _sum_of_neighbors(grid: np.ndarray, shift: int, axis: int) -> np.ndarray:
    return grid + np.roll(grid, shift, axis)
