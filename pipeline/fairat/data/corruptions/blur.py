"""Defocus, glass, motion, zoom and Gaussian blur."""

import math

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from fairat.data.corruptions.common import Draws, Images, gaussian, length_scale, pixels, smeared, unit, zoomed


def defocus_blur(images: Images, draws: Draws, radius: float, sigma: float) -> Images:
    """Averages over a disk with smoothed edges; images are mirrored about their border pixels."""
    scale = length_scale(images)
    kernel = disk(radius * scale, sigma * scale, reach=max(1, round(scale)))
    return ndimage.correlate(images, kernel[None, None], mode="mirror")


def disk(radius: float, sigma: float, reach: int) -> Float[np.ndarray, "side side"]:
    """The pixels within `radius` of the middle one, smoothed by a Gaussian cut off after `reach` pixels; sums to 1."""
    half = math.floor(radius) + reach
    square = np.arange(-half, half + 1) ** 2
    inside = (square[:, None] + square <= radius**2).astype(float)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    bell /= bell.sum()
    smooth = ndimage.correlate1d(ndimage.correlate1d(inside, bell, 0, mode="constant"), bell, 1, mode="constant")
    return smooth / smooth.sum()


def glass_blur(images: Images, draws: Draws, sigma: float, largest: float, rounds: int) -> Images:
    """Blurs, lets every pixel take the value of a near one, and blurs again.

    The official loop means to swap pixels from the last to the first. Its swap of two array views copies instead, and
    at displacements of 0 or -1 it copies only from pixels it has not reached yet: each round is one gather. Pixels
    within the largest displacement + 1 of the top and left border stay.
    """
    batch, channel, height, width = images.shape
    scale = length_scale(images)
    margin = round(largest * scale)
    rows, columns = np.indices((height, width))
    free = (rows > margin) & (rows <= height - margin) & (columns > margin) & (columns <= width - margin)
    blurred = pixels(gaussian(images, sigma * scale)).reshape(batch, channel, -1)
    for turn in range(rounds):
        shifts = free * draws(f"shifts {turn}").integers(-margin, margin, (batch, 2, height, width))
        source = (rows + shifts[:, 0]) * width + columns + shifts[:, 1]
        blurred = np.take_along_axis(blurred, source.reshape(batch, 1, -1), axis=2)
    return gaussian(unit(blurred.reshape(images.shape)), sigma * scale)


def motion_blur(images: Images, draws: Draws, radius: float, sigma: float) -> Images:
    """A trail in a direction of its own for every image, within 45 degrees of the horizontal."""
    scale = length_scale(images)
    return smeared(images, radius * scale, sigma * scale, draws("angle").uniform(-45, 45, len(images)))


def zoom_blur(images: Images, draws: Draws, *factors: float) -> Images:
    """The mean of the image and of its zooms by every factor."""
    return (images + zoomed(images, factors)) / (len(factors) + 1)


def gaussian_blur(images: Images, draws: Draws, sigma: float) -> Images:
    """A Gaussian; beyond the border, the border's value goes on."""
    return gaussian(images, sigma * length_scale(images))
