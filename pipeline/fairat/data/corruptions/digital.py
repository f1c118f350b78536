"""Brightness, contrast, saturation, elastic deformation, pixelation and JPEG compression."""

from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image

from fairat.data.corruptions.common import Draws, Images, gaussian, pixels, unit


def brightness(images: Images, draws: Draws, summand: float) -> Images:
    """Adds to the value of HSV (the largest channel); hue and saturation stay."""
    value = images.max(axis=1, keepdims=True)
    brighter = np.clip(value + summand, 0, 1)
    # At fixed hue and saturation, every channel's distance to the value grows with the value; black has none.
    return brighter - (value - images) * (brighter / np.where(value > 0, value, 1))


def saturate(images: Images, draws: Draws, factor: float, summand: float) -> Images:
    """Maps the saturation of HSV to clip(factor s + summand, 0, 1); hue and value stay.

    Gray pixels of color images have hue 0 by convention, so the summand makes them reddish, as in the official
    construction. Single-channel images have no saturation: they stay as they are.
    """
    if images.shape[1] == 1:
        return images
    value = images.max(axis=1, keepdims=True)
    distance = value - images
    largest = distance.max(axis=1, keepdims=True)
    gray = largest == 0
    saturation = largest / np.where(value > 0, value, 1)
    target = np.clip(saturation * factor + summand, 0, 1)
    share = np.where(gray, np.array([0.0, 1.0, 1.0]).reshape(1, 3, 1, 1), distance / np.where(gray, 1, largest))
    return value * (1 - share * target)


def contrast(images: Images, draws: Draws, share: float) -> Images:
    """Moves every value towards the mean of its channel."""
    mean = images.mean(axis=(2, 3), keepdims=True)
    return (images - mean) * share + mean


def elastic_transform(images: Images, draws: Draws, amplitude: float, sigma: float, shift: float) -> Images:
    """A random affine map, then a random smooth displacement of every pixel; all three are shares of the shorter side."""
    batch, _, height, width = images.shape
    side = min(height, width)
    corner_shifts = draws("corners").uniform(-shift * side, shift * side, (batch, 3, 2))
    affine = _sampled(images, _affine_positions(corner_shifts, height, width), border="mirror")
    wobble = draws("wobble").uniform(-1, 1, (batch, 2, height, width))
    displacement = gaussian(wobble, sigma * side, mode="reflect", truncate=3) * (amplitude * side)
    rows, columns = np.indices((height, width))
    positions = np.stack([columns + displacement[:, 0], rows + displacement[:, 1]], axis=-1)
    return _sampled(affine, positions, border="reflect")


def _affine_positions(
    shifts: Float[np.ndarray, "batch 3 2"], height: int, width: int
) -> Float[np.ndarray, "batch height width 2"]:
    """Where each pixel (x, y) comes from, under the affine map that shifts three corners of a central square."""
    middle = np.array([width // 2, height // 2])
    corners = middle + min(height, width) // 3 * np.array([[1, 1], [1, -1], [-1, -1]])
    shifted = np.concatenate([corners + shifts, np.ones((len(shifts), 3, 1))], axis=2)
    inverse = np.linalg.solve(shifted, np.broadcast_to(corners.astype(float), shifts.shape))
    rows, columns = np.indices((height, width))
    return np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ inverse[:, None]


def _sampled(images: Images, positions: Float[np.ndarray, "batch height width 2"], border: str) -> Images:
    """Bilinear interpolation at (x, y) in pixels; beyond the border, mirrored at pixel centers or reflected at edges."""
    sides = np.array([images.shape[3], images.shape[2]])
    mirror = border == "mirror"
    grid = torch.from_numpy(2 * positions / (sides - 1) - 1 if mirror else (2 * positions + 1) / sides - 1)
    return F.grid_sample(torch.from_numpy(images), grid, padding_mode="reflection", align_corners=mirror).numpy()


def pixelate(images: Images, draws: Draws, share: float) -> Images:
    """Shrinks by averaging over boxes, and enlarges again."""
    values, (height, width) = pixels(images), images.shape[2:]
    for side in (int(width * share), int(height * share), width, height):
        # PIL's box filter treats rows alike: those of all images are one tall image. Then columns take the place of rows.
        tall = Image.fromarray(np.ascontiguousarray(values).reshape(-1, values.shape[3]))
        resized = np.asarray(tall.resize((side, tall.height), Image.Resampling.BOX))
        values = resized.reshape(*values.shape[:3], side).swapaxes(2, 3)
    return unit(values)


def jpeg_compression(images: Images, draws: Draws, quality: int) -> Images:
    """Encodes as JPEG with PIL's defaults (color at half resolution) and decodes; gray images as gray JPEG."""
    values = np.ascontiguousarray(pixels(images).transpose(0, 2, 3, 1))
    decoded = []
    for image in values:  # a JPEG holds one image: there is no batch
        encoded = BytesIO()
        Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).save(encoded, "JPEG", quality=quality)
        decoded.append(np.asarray(Image.open(encoded)))
    return unit(np.stack(decoded).reshape(values.shape).transpose(0, 3, 1, 2))
