"""Corrupts any images, and makes a whole corrupted test set."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from fairat.data.canonical import CorruptedImages, CorruptedManifest, Split, save_corruption
from fairat.data.corruptions import blur, digital, noise, weather
from fairat.data.corruptions.common import Draws, Pixels
from fairat.data.corruptions.constants import CONSTANTS, CORRUPTIONS, SEVERITIES, Constants
from fairat.data.corruptions.spatter import spatter
from fairat.errors import UserError
from fairat.files import whole_directory

FUNCTIONS: dict[str, Callable[[Pixels, Constants, Draws], Pixels]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter,
    "saturate": digital.saturate,
}
"""Corruption -> the function that corrupts a batch."""

CHUNK_VALUES = 2**20
"""Values corrupted at once: a few dozen MiB of intermediate results per thread."""

SMALLEST_SIDE = 8

PACKAGES = ("imagecorruptions", "numpy", "pillow", "scipy", "torch")
"""Packages whose versions can change a corrupted pixel."""


def corrupt(
    images: Shaped[Tensor, "batch channel height width"], name: str, severity: int, seed: int = 0
) -> UInt8[Tensor, "batch channel height width"]:
    """Corrupts images as CIFAR-10-C does; deterministic in all four arguments.

    What an image draws depends on the seed, the corruption, the severity and the image's position, so the first n
    images are corrupted alike with or without others behind them.

    Args:
        images: values in 0..255; 1 or 3 channels, sides of at least 8 pixels.
        name: one of `CORRUPTIONS`.
        severity: 1..5.
        seed: of the random numbers.

    Raises:
        UserError: there is no such corruption or severity; the images are too small, or have other channels or values;
            the photographs of frost are missing.
    """
    _check(images, name, severity)
    function, constants = FUNCTIONS[name], CONSTANTS[name][severity - 1]
    draws = Draws(seed, name, severity)
    size = max(1, CHUNK_VALUES // images.shape[1:].numel())
    corrupted = torch.empty_like(images, memory_format=torch.contiguous_format)
    for start in range(0, len(images), size):
        chunk = images[start : start + size].cpu().numpy()
        corrupted[start : start + size] = torch.from_numpy(function(chunk, constants, draws))
    return corrupted


def _check(images: Tensor, name: str, severity: int) -> None:
    if name not in FUNCTIONS:
        raise UserError(f"There is no corruption {name!r}; there are: {', '.join(CORRUPTIONS)}.")
    if severity not in SEVERITIES:
        raise UserError(f"There is no severity {severity!r} of {name}; there are: 1, 2, 3, 4, 5.")
    if images.dtype != torch.uint8:
        raise UserError(
            f"Images of {images.dtype} cannot be corrupted: their values must be whole numbers in 0..255. Pass them as "
            "they are stored, or as `(images * 255).round().to(torch.uint8)` if they lie in [0, 1]."
        )
    channels, height, width = images.shape[1:]
    if channels not in (1, 3) or min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"Images of shape {channels} x {height} x {width} cannot be corrupted: they need 1 or 3 channels and "
            f"sides of at least {SMALLEST_SIDE} pixels. Convert or enlarge them where the data set is prepared."
        )


def corrupt_test_set(
    split: Split,
    directory: Path,
    *,
    dataset: str,
    seed: int,
    progress: Callable[[float, str], None] = lambda by, note: None,
) -> None:
    """Makes all corruptions of a test set at severities 1..5, with a manifest; the directory appears whole.

    Args:
        split: the test set.
        directory: where the corrupted test set goes; replaced if it is there.
        dataset: name of the data set, for the manifest.
        seed: of the random numbers.
        progress: called with (1, name) after every corruption.

    Raises:
        UserError: the images cannot be corrupted, the photographs of frost are missing, or the disk is full.
    """
    weather.frost_directory()  # missing photographs are an error before the first minute of work, not after it
    labels = split.labels.repeat(len(SEVERITIES))
    channels, height, width = split.images.shape[1:]
    hashes: dict[str, str] = {}
    with whole_directory(directory) as beside, ThreadPoolExecutor(os.cpu_count()) as pool:
        for name in CORRUPTIONS:
            corrupted = CorruptedImages(_all_severities(split.images, name, seed, pool), labels)
            save_corruption(beside, name, corrupted)
            hashes[name] = corrupted.sha256
            progress(1, name)
        manifest = CorruptedManifest(
            dataset=dataset,
            source={"kind": "made", "seed": seed},
            corruptions=CORRUPTIONS,
            image_shape=(channels, height, width),
            images=len(split),
            sha256=hashes,
            versions={package: version(package) for package in PACKAGES},
        )
        manifest.save(beside)


def _all_severities(
    images: UInt8[Tensor, "batch channel height width"], name: str, seed: int, pool: Executor
) -> UInt8[Tensor, "5*batch channel height width"]:
    """Severities 1..5 one after the other, each in a thread."""
    made = torch.empty((len(SEVERITIES), *images.shape), dtype=torch.uint8)

    def make(severity: int) -> None:
        made[severity - 1] = corrupt(images, name, severity, seed)

    list(pool.map(make, SEVERITIES))  # the list waits, and raises what a thread raised
    return made.flatten(0, 1)
