"""Brightness, contrast, saturation, elastic deformation, pixelation and JPEG compression."""

from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8

from fairat.data.corruptions.common import Draws, Images, Pixels, gaussian, pixels, unit
from fairat.data.corruptions.constants import Constants


def brightness(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Adds to the value of HSV (the largest channel); hue and saturation stay."""
    (summand,) = constants
    x = unit(images)
    value = x.max(axis=1, keepdims=True)
    brighter = np.clip(value + summand, 0, 1)
    # At fixed hue and saturation, every channel's distance to the value grows with the value; black has none.
    return pixels(brighter - (value - x) * (brighter / np.where(value > 0, value, 1)))


def saturate(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Maps the saturation of HSV to clip(factor s + summand, 0, 1); hue and value stay.

    Gray pixels of color images have hue 0 by convention, so the summand makes them reddish, as in the official
    construction. Single-channel images have no saturation: they stay as they are.
    """
    if images.shape[1] == 1:
        return images.copy()
    factor, summand = constants
    x = unit(images)
    value = x.max(axis=1, keepdims=True)
    distance = value - x
    largest = distance.max(axis=1, keepdims=True)
    gray = largest == 0
    saturation = largest / np.where(value > 0, value, 1)
    target = np.clip(saturation * factor + summand, 0, 1)
    share = np.where(gray, np.array([0.0, 1.0, 1.0]).reshape(1, 3, 1, 1), distance / np.where(gray, 1, largest))
    return pixels(value * (1 - share * target))


def contrast(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Moves every value towards the mean of its channel."""
    (share,) = constants
    x = unit(images)
    mean = x.mean(axis=(2, 3), keepdims=True)
    return pixels((x - mean) * share + mean)


def elastic_transform(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """A random affine map, then a random smooth displacement of every pixel."""
    batch, _, height, width = images.shape
    amplitude, sigma, shift = (share * min(height, width) for share in constants)
    corner_shifts = draws("corners").uniform(-shift, shift, (batch, 3, 2))
    affine = _sampled(unit(images), _affine_positions(corner_shifts, height, width), border="mirror")
    wobble = draws("wobble").uniform(-1, 1, (batch, 2, height, width))
    displacement = gaussian(wobble, sigma, mode="reflect", truncate=3) * amplitude
    rows, columns = np.indices((height, width))
    positions = np.stack([columns + displacement[:, 0], rows + displacement[:, 1]], axis=-1)
    return pixels(_sampled(affine, positions, border="reflect"))


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
    grid = 2 * positions / (sides - 1) - 1 if mirror else (2 * positions + 1) / sides - 1
    sampled = F.grid_sample(
        torch.from_numpy(images),
        torch.from_numpy(grid),
        mode="bilinear",
        padding_mode="reflection",
        align_corners=mirror,
    )
    return sampled.numpy()


def pixelate(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Shrinks by averaging over boxes, and enlarges again."""
    (share,) = constants
    height, width = images.shape[2:]
    small = _resized(images, int(height * share), int(width * share))
    return _resized(small, height, width)


def _resized(images: Pixels, height: int, width: int) -> UInt8[np.ndarray, "batch channel new_height new_width"]:
    """PIL's box filter. It treats rows alike, so the rows of all images go through it as one tall image."""
    wide = _resized_rows(images, width)
    return np.ascontiguousarray(_resized_rows(wide.swapaxes(2, 3), height).swapaxes(2, 3))


def _resized_rows(
    images: UInt8[np.ndarray, "batch channel rows old"], side: int
) -> UInt8[np.ndarray, "batch channel rows new"]:
    from PIL import Image

    tall = Image.fromarray(np.ascontiguousarray(images).reshape(-1, images.shape[3]))
    return np.asarray(tall.resize((side, tall.height), Image.Resampling.BOX)).reshape(*images.shape[:3], side)


def jpeg_compression(images: Pixels, constants: Constants, draws: Draws) -> Pixels:
    """Encodes as JPEG with PIL's defaults (color at half resolution) and decodes; gray images as gray JPEG."""
    (quality,) = constants
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    shown = channels_last if images.shape[1] == 3 else channels_last[..., 0]
    decoded = [_through_jpeg(image, int(quality)) for image in shown]  # a JPEG holds one image: there is no batch
    return np.stack(decoded).reshape(channels_last.shape).transpose(0, 3, 1, 2)


def _through_jpeg(image: UInt8[np.ndarray, "height width *channel"], quality: int) -> np.ndarray:
    from PIL import Image

    encoded = BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=quality)
    return np.asarray(Image.open(encoded))
