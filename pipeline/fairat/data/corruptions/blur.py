"""Defocus, glass, motion, zoom and Gaussian blur."""

import math

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from fairat.data.corruptions.common import Draws, Pixels, gaussian, length_scale, pixels, smeared, unit, zoomed
from fairat.data.corruptions.constants import Constants


def defocus_blur(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Averages over a disk with smoothed edges; images are mirrored about their border pixels."""
    scale = length_scale(images)
    kernel = disk(constants[0] * scale, constants[1] * scale, reach=max(1, round(scale)))
    return pixels(ndimage.correlate(unit(images), kernel[None, None], mode="mirror"))


def disk(radius: float, sigma: float, reach: int) -> Float[np.ndarray, "side side"]:
    """The pixels within `radius` of the middle one, smoothed by a Gaussian cut off after `reach` pixels; sums to 1."""
    half = math.floor(radius) + reach
    square = np.arange(-half, half + 1) ** 2
    inside = (square[:, None] + square <= radius**2).astype(float)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    smooth = ndimage.correlate1d(ndimage.correlate1d(inside, bell, 0, mode="constant"), bell, 1, mode="constant")
    return smooth / smooth.sum()


def glass_blur(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Blurs, lets every pixel take the value of a near one, and blurs again.

    The official loop means to swap pixels from the last to the first. Its swap of two array views copies instead, and
    at displacements of 0 or -1 it copies only from pixels it has not reached yet: each round is one gather.
    """
    scale = length_scale(images)
    sigma, largest, rounds = constants[0] * scale, round(constants[1] * scale), int(constants[2])
    blurred = pixels(gaussian(unit(images), sigma))
    batch, channel, height, width = images.shape
    for turn in range(rounds):
        shifts = draws(f"shifts {turn}").integers(-largest, largest, (batch, 2, height, width))
        source = _shifted_indices(shifts, largest)
        flat = np.take_along_axis(blurred.reshape(batch, channel, -1), source.reshape(batch, 1, -1), axis=2)
        blurred = flat.reshape(images.shape)
    return pixels(gaussian(unit(blurred), sigma))


def _shifted_indices(
    shifts: Int[np.ndarray, "batch 2 height width"], margin: int
) -> Int[np.ndarray, "batch height width"]:
    """Flat index of the pixel that each pixel copies: itself within `margin` + 1 of the top and left border."""
    height, width = shifts.shape[2:]
    rows, columns = np.indices((height, width))
    free = (rows > margin) & (rows <= height - margin) & (columns > margin) & (columns <= width - margin)
    return (rows + shifts[:, 0] * free) * width + columns + shifts[:, 1] * free


def motion_blur(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """A trail in a direction of its own for every image, within 45 degrees of the horizontal."""
    radius, sigma = (length * length_scale(images) for length in constants)
    return smeared(images, radius, sigma, draws("angle").uniform(-45, 45, len(images)))


def zoom_blur(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """The mean of the image and of its zooms by every factor."""
    x = unit(images)
    return pixels((x + zoomed(x, constants)) / (len(constants) + 1))


def gaussian_blur(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """A Gaussian; beyond the border, the border's value goes on."""
    (sigma,) = constants
    return pixels(gaussian(unit(images), sigma * length_scale(images)))
