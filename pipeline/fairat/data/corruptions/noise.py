"""Gaussian, shot, impulse and speckle noise: every value of every channel by itself."""

import numpy as np

from fairat.data.corruptions.common import Draws, Pixels, pixels, unit
from fairat.data.corruptions.constants import Constants


def gaussian_noise(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Adds N(0, deviation^2)."""
    (deviation,) = constants
    return pixels(unit(images) + draws("noise").normal(scale=deviation, size=images.shape))


def shot_noise(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Replaces x by Poisson(photons x) / photons."""
    (photons,) = constants
    return pixels(draws("photons").poisson(unit(images) * photons) / photons)


def impulse_noise(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Replaces a share of the values by 0 or 1, either with probability 1/2."""
    (share,) = constants
    replaced = draws("replaced").random(images.shape) < share
    white = draws("white").random(images.shape) < 0.5
    return np.where(replaced, np.where(white, np.uint8(255), np.uint8(0)), images)


def speckle_noise(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Adds x N(0, deviation^2)."""
    (deviation,) = constants
    x = unit(images)
    return pixels(x + x * draws("noise").normal(scale=deviation, size=images.shape))
