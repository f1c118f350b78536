"""The 19 corruptions of CIFAR-10-C, and the constants of each severity (docs/corruptions.md).

The numbers are those of the generator of CIFAR-10-C (Hendrycks and Dietterich, ICLR 2019), `create_c/make_cifar_c.py` in
ImageNet-C of hendrycks/robustness at commit ca36008, for images of 32 x 32 pixels. ImageNet-C has other, mostly stronger
ones.
"""

import numpy as np

CONSTANTS: dict[str, tuple[tuple[float, ...], ...]] = {
    # standard deviation, in units of [0, 1] images
    "gaussian_noise": ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
    # photons of a white pixel
    "shot_noise": ((500,), (250,), (100,), (75,), (50,)),
    # share of values replaced
    "impulse_noise": ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
    # radius of the disk, sigma of the Gaussian that smooths it: pixels
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    # sigma: pixels; largest displacement: pixels; rounds of shuffling
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    # radius and sigma of the kernel: pixels
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    # the zoom factors that are averaged
    "zoom_blur": tuple(tuple(np.arange(1, end, 0.01)) for end in (1.06, 1.11, 1.16, 1.21, 1.26)),
    # mean and deviation of the flakes, zoom, threshold, radius and sigma of their motion: pixels, weight of the image
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    # weight of the image, weight of the frost
    "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    # thickness of the fog, decay of its detail from octave to octave
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    # added to the value of HSV
    "brightness": ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
    # share of the contrast that is left
    "contrast": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
    # amplitude and sigma of the displacement, largest shift of a corner of the affine map: shares of the side
    "elastic_transform": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    # side of the small image, as a share of the side
    "pixelate": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
    # JPEG quality
    "jpeg_compression": ((80,), (65,), (58,), (50,), (40,)),
    # standard deviation, as a share of the pixel's value
    "speckle_noise": ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,)),
    # sigma: pixels
    "gaussian_blur": ((0.4,), (0.6,), (0.7,), (0.8,), (1,)),
    # mean and deviation of the liquid, its sigma: pixels, threshold, strength (water) or sigma (mud), 0 water 1 mud
    "spatter": (
        (0.62, 0.1, 0.7, 0.7, 0.5, 0),
        (0.65, 0.1, 0.8, 0.7, 0.5, 0),
        (0.65, 0.3, 1, 0.69, 0.5, 0),
        (0.65, 0.1, 0.7, 0.69, 0.6, 1),
        (0.65, 0.1, 0.5, 0.68, 0.6, 1),
    ),
    # factor and summand of the saturation of HSV
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}
"""Corruption -> what its function takes at severities 1..5; the 15 main ones, then the 4 extra ones."""

CORRUPTIONS = tuple(CONSTANTS)
