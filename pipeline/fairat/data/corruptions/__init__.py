"""The corruptions of CIFAR-10-C for any images: a package of its own, which knows nothing of this study.

NumPy arrays in and out; what it does like the official construction, and what not, stands in docs/corruptions.md.
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from fairat.data.corruptions import blur, digital, noise, weather
from fairat.data.corruptions.common import Images, Pixels, pixels, stream, unit
from fairat.data.corruptions.constants import CONSTANTS, CORRUPTIONS
from fairat.data.corruptions.spatter import spatter

__all__ = ["CORRUPTIONS", "SMALLEST_SIDE", "corrupt"]

SMALLEST_SIDE = 8
"""Pixels; smaller images are not corrupted."""

CHUNK_VALUES = 2**20
"""Values corrupted at once: a few dozen MiB of intermediate results per thread."""

FUNCTIONS: dict[str, Callable[..., Images]] = {
    function.__name__: function
    for function in (
        *(noise.gaussian_noise, noise.shot_noise, noise.impulse_noise, noise.speckle_noise),
        *(blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur, blur.gaussian_blur),
        *(weather.snow, weather.frost, weather.fog, spatter),
        *(digital.brightness, digital.contrast, digital.saturate),
        *(digital.elastic_transform, digital.pixelate, digital.jpeg_compression),
    )
}


def corrupt(images: Pixels, name: str, severity: int, seed: int = 0) -> Pixels:
    """Corrupts images as CIFAR-10-C does; deterministic in all four arguments.

    What an image draws depends on the seed, the corruption, the severity and the image's position, so the first n
    images are corrupted alike with or without others behind them.

    Args:
        images: values in 0..255; 1 or 3 channels, sides of at least 8 pixels.
        name: one of `CORRUPTIONS`.
        severity: 1..5.
        seed: of the random numbers.
    """
    function, constants = FUNCTIONS[name], CONSTANTS[name][severity - 1]
    draws, size = cache(partial(stream, seed, name, severity)), max(1, CHUNK_VALUES // images[0].size)
    chunks = (unit(images[start : start + size]) for start in range(0, len(images), size))
    return np.concatenate([pixels(function(chunk, draws, *constants)) for chunk in chunks])
