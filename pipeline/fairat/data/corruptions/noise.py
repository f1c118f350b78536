"""Gaussian, shot, impulse and speckle noise: every value of every channel by itself."""

import numpy as np

from fairat.data.corruptions.common import Draws, Images


def gaussian_noise(images: Images, draws: Draws, deviation: float) -> Images:
    """Adds N(0, deviation^2)."""
    return images + draws("noise").normal(scale=deviation, size=images.shape)


def shot_noise(images: Images, draws: Draws, photons: float) -> Images:
    """Replaces x by Poisson(photons x) / photons."""
    return draws("photons").poisson(images * photons) / photons


def impulse_noise(images: Images, draws: Draws, share: float) -> Images:
    """Replaces a share of the values by 0 or 1, either with probability 1/2."""
    replaced = draws("replaced").random(images.shape) < share
    white = draws("white").random(images.shape) < 0.5
    return np.where(replaced, white, images)


def speckle_noise(images: Images, draws: Draws, deviation: float) -> Images:
    """Adds x N(0, deviation^2)."""
    return images + images * draws("noise").normal(scale=deviation, size=images.shape)
