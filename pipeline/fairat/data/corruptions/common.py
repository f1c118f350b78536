"""What the corruptions share: their random numbers, their units, and the linear maps that several of them use."""

import hashlib
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage, sparse

Pixels = UInt8[np.ndarray, "batch channel height width"]
Images = Float[np.ndarray, "batch channel height width"]
"""Values in [0, 1], in double precision as in the official construction; what a corruption puts outside is clipped."""

Draws = Callable[[str], np.random.Generator]
"""The random numbers of each purpose, where the last chunk of images left them."""

REFERENCE_SIDE = 32
"""Side in pixels of the images that the constants were written for."""


def stream(seed: int, corruption: str, severity: int, purpose: str) -> np.random.Generator:
    """The random numbers of one corruption at one severity for one purpose.

    Every stream is consumed image after image, so what an image draws depends on its position in the test set, and not
    on how the test set is cut into chunks.
    """
    digest = hashlib.sha256(f"{seed}/{corruption}/{severity}/{purpose}/0".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big") >> 1)


def unit(images: Pixels) -> Images:
    """Pixels as values in [0, 1]."""
    return images / 255.0


def pixels(images: Images) -> Pixels:
    """Clips to [0, 1] and cuts off to whole steps of 1/255, as the official construction does: no rounding."""
    return (np.clip(images, 0, 1) * 255).astype(np.uint8)


def length_scale(images: np.ndarray) -> float:
    """How many pixels one pixel of a 32 x 32 image becomes: side / 32, but never less than 1.

    Below 32 pixels lengths are not made shorter: a Gaussian of sigma 1 would have sigma 0.25 at a side of 8, which
    changes nothing.
    """
    return max(1.0, min(images.shape[-2:]) / REFERENCE_SIDE)


def luminance(images: Images) -> Float[np.ndarray, "batch 1 height width"]:
    """Rec. 601 luma; of a single-channel image, the image itself."""
    if images.shape[1] == 1:
        return images
    return (images * np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)).sum(axis=1, keepdims=True)


def gaussian(images: np.ndarray, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> np.ndarray:
    """Gaussian blur of the last two axes; sigma in pixels."""
    axes = (images.ndim - 2, images.ndim - 1)
    return ndimage.gaussian_filter(images, sigma, mode=mode, truncate=truncate, axes=axes)


def zoomed(images: Images, factors: tuple[float, ...]) -> Images:
    """The sum, over factors >= 1, of the images zoomed by each factor about their center and cut to their old size."""
    batch, channel, height, width = images.shape
    operator = _zoom_operator(height, width, factors)
    return (operator @ images.reshape(batch * channel, -1).T).T.reshape(images.shape)


@lru_cache(maxsize=8)
def _zoom_operator(height: int, width: int, factors: tuple[float, ...]) -> sparse.csr_array:
    """`zoomed` as a matrix over flattened images: a zoom by many factors merges into a few neighbors per pixel."""
    terms = (sparse.kron(_zoom_axis(height, factor), _zoom_axis(width, factor), format="csr") for factor in factors)
    return sparse.csr_array(sum(terms, start=sparse.csr_array((height * width, height * width))))


def _zoom_axis(side: int, factor: float) -> sparse.csr_array:
    """Crop the middle ceil(side / factor) pixels, interpolate linearly to `factor` times as many, trim to `side`."""
    crop = math.ceil(side / factor)
    large = round(crop * factor)
    position = np.arange(side) + (large - side) // 2
    source = position * (crop - 1) / max(large - 1, 1)
    low = np.minimum(source.astype(int), max(crop - 2, 0))
    weight = source - low
    start = (side - crop) // 2
    rows = np.tile(np.arange(side), 2)
    columns = start + np.concatenate([low, np.minimum(low + 1, crop - 1)])
    return sparse.csr_array((np.concatenate([1 - weight, weight]), (rows, columns)), shape=(side, side))


def smeared(images: Images, radius: float, sigma: float, angles: Float[np.ndarray, " batch"]) -> Images:
    """ImageMagick's motion blur: a Gaussian tail of 2 ceil(radius) + 1 pixels along each image's own direction.

        out(p) = sum_i k_i in(p + round_half_down(i (cos a, sin a))),   k_i ~ exp(-i^2 / (2 sigma^2)),  i = 0, 1, ...

    ImageMagick reads 8 bits, rounds to 1/257 of a value, and cuts off the fraction when it writes 8 bits.

    Args:
        images: beyond the border, the border's value goes on.
        radius: pixels.
        sigma: pixels.
        angles: degrees, clockwise from the direction of growing columns.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    kernel = np.exp(-(steps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    directions = np.stack([np.sin(np.radians(angles)), np.cos(np.radians(angles))], axis=1)
    offsets = np.ceil(directions[:, :, None] * steps - 0.5).astype(int)
    # Images whose directions round to the same pixels are blurred together.
    paths, path_of_image = np.unique(offsets.reshape(len(images), -1), axis=0, return_inverse=True)
    values, (height, width) = pixels(images), images.shape[2:]
    for number, path in enumerate(paths.reshape(-1, 2, len(steps))):
        members = np.flatnonzero(path_of_image == number)
        (top, left), (bottom, right) = -path.min(axis=1), path.max(axis=1)
        around = ((0, 0), (0, 0), (top, bottom), (left, right))
        padded = np.pad(values[members], around, mode="edge").astype(np.float32)
        total = np.zeros((len(members), *images.shape[1:]), np.float32)
        for row, column, weight in zip(path[0] + top, path[1] + left, kernel, strict=True):
            total += weight * padded[:, :, row : row + height, column : column + width]
        values[members] = np.rint(total * 257) // 257
    return unit(values)
