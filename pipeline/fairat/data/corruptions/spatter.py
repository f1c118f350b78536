"""Spatter: drops of water or splashes of mud on the lens."""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from fairat.data.corruptions.common import Draws, Images, gaussian, length_scale, luminance

WATER = (175 / 255, 238 / 255, 238 / 255)
MUD = (63 / 255, 42 / 255, 20 / 255)
FARTHEST = 20
"""Distance in pixels of a 32 x 32 image beyond which a drop has no relief."""

STRAIGHT, DIAGONAL, KNIGHT = 65536, 91750, 143976
"""Lengths of steps in OpenCV's distance: 1, 1.4 and 2.1969 in units of 2^-16."""

_UNREACHED = 2**40

Layers = Float[np.ndarray, "batch height width"]
Bytes = UInt8[np.ndarray, "batch height width"]


def spatter(images: Images, draws: Draws, *constants: float) -> Images:
    """Adds pale turquoise drops with a relief (severities 1 to 3), or covers with brown splashes (4 and 5)."""
    mean, deviation, sigma, threshold, strength, mud = constants
    batch, _, height, width = images.shape
    scale = length_scale(images)
    # A wider Gaussian leaves less of the noise: it starts with as much more, so that as much of the image is covered.
    noise = draws("liquid").normal(mean, deviation * scale, (batch, height, width))
    liquid = gaussian(noise, sigma * scale)
    liquid = np.where(liquid < threshold, 0, liquid)
    if mud:
        cover = gaussian((liquid > threshold).astype(float), strength * scale)
        cover = np.where(cover < 0.8, 0, cover)[:, None]
        return images * (1 - cover) + cover * _color(MUD, images)
    # As in the official construction, what is brighter than white starts again from black.
    liquid = (liquid * 255).astype(int).astype(np.uint8)
    return images + strength * _relief(liquid, FARTHEST * scale)[:, None] * _color(WATER, images)


def _color(color: tuple[float, float, float], like: Images) -> Float[np.ndarray, "1 channel 1 1"]:
    """A color, or its luma for single-channel images."""
    three = np.array(color).reshape(1, 3, 1, 1)
    return three if like.shape[1] == 3 else luminance(three)


def _relief(liquid: Bytes, farthest: float) -> Layers:
    """The drops, brighter on the far side of their edges; the brightest point of every image is 1, if it has drops."""
    distance = distance_to(edges(liquid, 50, 150), farthest)
    smooth = _box(distance).astype(np.uint8)
    emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    embossed = ndimage.correlate(_equalized(smooth).astype(int), emboss[None], mode="mirror").clip(0, 255)
    relief = liquid * np.rint(_box(embossed.astype(float)))
    highest = relief.max(axis=(1, 2), keepdims=True)
    return relief / np.where(highest > 0, highest, 1)


def _box(layers: Layers) -> Layers:
    return ndimage.correlate(layers, np.ones((1, 3, 3)), mode="mirror") / 9


def distance_to(points: Bool[np.ndarray, "batch height width"], farthest: float) -> Layers:
    """Distance in pixels of every pixel to the nearest point of its own image, and at most `farthest`.

    As in OpenCV, Euclid's distance is approximated by the shortest path of steps to neighbors in the same row or
    column (1), diagonal neighbors (1.4) and knight's moves (2.1969), up to 2 % too long or short.
    """
    distance = np.where(points, 0, _UNREACHED)
    for _ in range(2):  # the second time from the lower right corner, back into the old order
        distance = _swept(distance)[:, ::-1, ::-1]
    return np.minimum(distance / STRAIGHT, farthest)


def _swept(distance: Int[np.ndarray, "batch height width"]) -> Int[np.ndarray, "batch height width"]:
    """Lets paths go on to the right and downwards, row after row; in units of 1 / STRAIGHT."""
    batch, height, width = distance.shape
    padded = np.full((batch, height + 2, width + 4), _UNREACHED)
    moves = [(1, 0, STRAIGHT), (1, -1, DIAGONAL), (1, 1, DIAGONAL)]
    moves += [(rows, columns, KNIGHT) for rows, columns in ((1, -2), (1, 2), (2, -1), (2, 1))]
    within_row = STRAIGHT * np.arange(width)
    for row in range(height):
        reached = distance[:, row]
        for rows, columns, length in moves:
            before = padded[:, row + 2 - rows, 2 + columns : 2 + columns + width]
            reached = np.minimum(reached, before + length)
        padded[:, row + 2, 2:-2] = np.minimum.accumulate(reached - within_row, axis=1) + within_row
    return padded[:, 2:, 2:-2]


def _equalized(layers: Bytes) -> Bytes:
    """Histogram equalization of each layer: its darkest value becomes 0, its brightest 255; a flat layer stays."""
    batch, height, width = layers.shape
    flat = layers.reshape(batch, -1).astype(int)
    histogram = np.bincount((flat + 256 * np.arange(batch)[:, None]).ravel(), minlength=256 * batch).reshape(batch, 256)
    darkest = np.take_along_axis(histogram, flat.min(axis=1, keepdims=True), axis=1)
    above = height * width - darkest
    scale = (255 / np.maximum(above, 1)).astype(np.float32)
    table = np.rint((histogram.cumsum(axis=1) - darkest).clip(min=0).astype(np.float32) * scale)
    table = np.where(above > 0, table, np.arange(256))
    return np.take_along_axis(table, flat, axis=1).reshape(layers.shape).astype(np.uint8)


def edges(layers: Bytes, low: int, high: int) -> Bool[np.ndarray, "batch height width"]:
    """Canny's edges: maxima of the gradient along itself above `low`, joined to one above `high`.

    The gradient is Sobel's, its magnitude |dx| + |dy|, and its direction one of four, as in OpenCV.
    """
    values, sobel = layers.astype(int), np.outer([1, 2, 1], [-1, 0, 1])
    dx, dy = (ndimage.correlate(values, kernel[None], mode="nearest") for kernel in (sobel, sobel.T))
    magnitude = np.abs(dx) + np.abs(dy)
    padded = np.pad(magnitude, ((0, 0), (1, 1), (1, 1)))

    def near(row: int, column: int) -> np.ndarray:
        return np.roll(padded, (-row, -column), axis=(1, 2))[:, 1:-1, 1:-1]

    tangent = np.tan(np.pi / 8)
    along_row = (magnitude > near(0, -1)) & (magnitude >= near(0, 1))
    along_column = (magnitude > near(-1, 0)) & (magnitude >= near(1, 0))
    along_falling = (magnitude > near(-1, -1)) & (magnitude > near(1, 1))
    along_rising = (magnitude > near(-1, 1)) & (magnitude > near(1, -1))
    is_row, is_column = np.abs(dy) < tangent * np.abs(dx), np.abs(dy) > (tangent + 2) * np.abs(dx)
    is_falling = (dx < 0) == (dy < 0)
    ridge = np.select([is_row, is_column, is_falling], [along_row, along_column, along_falling], along_rising)
    thin = (magnitude > low) & ridge
    neighbors = np.zeros((3, 3, 3), bool)
    neighbors[1] = True  # they lie in the same image
    return ndimage.binary_propagation(thin & (magnitude > high), neighbors, mask=thin)
