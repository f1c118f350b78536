"""The construction of CIFAR-10-C, one image at a time, from functions that are not ours: imagecorruptions, OpenCV, skimage.

Every function gets the random numbers that `corrupt` draws, so that its image can be compared with ours pixel by pixel.
The functions of imagecorruptions are run with the constants of CIFAR-10-C put in place of their own, and mended where
the package no longer runs with today's NumPy and scikit-image. Where the package differs from the generator of
CIFAR-10-C in more than constants, the function stands here: trimming after a zoom, the 8 bits of flakes of snow, frost,
pixelate, elastic_transform.
"""

import ast
import importlib
import inspect
import types
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import numpy as np
import torch
from fairat.data.corruptions.common import Draws
from fairat.data.corruptions.constants import CONSTANTS, CORRUPTIONS
from fairat.data.corruptions.weather import FROST_PHOTOGRAPHS, frost_directory
from PIL import Image
from scipy import ndimage

SIDE = 32

NOT_REPLAYED = ("impulse_noise",)
"""Corruptions whose reference draws its random numbers inside scikit-image, where they cannot be replaced by ours."""

PURPOSES = {
    "gaussian_noise": "noise",
    "speckle_noise": "noise",
    "snow": "flakes",
    "spatter": "liquid",
}
"""Corruption -> the stream of its normal random numbers."""


class Replay:
    """Stands in for `numpy.random`: hands a reference what `corrupt` draws, image after image."""

    def __init__(self, name: str, severity: int, draws: Draws) -> None:
        self._name, self._constants, self._draws = name, CONSTANTS[name][severity - 1], draws
        self._shifts, self._wobbles = self._glass_shifts(), self._fog_wobbles()

    def normal(self, loc: float = 0, scale: float = 1, size: tuple[int, ...] = ()) -> np.ndarray:
        """Ours come channel by channel, theirs pixel by pixel."""
        ours = size if len(size) == 2 else (size[2], *size[:2])
        values = self._draws(PURPOSES[self._name]).normal(loc, scale, ours)
        return values if len(size) == 2 else values.transpose(1, 2, 0)

    def poisson(self, expected: np.ndarray) -> np.ndarray:
        """Likewise."""
        return self._draws("photons").poisson(expected.transpose(2, 0, 1)).transpose(1, 2, 0)

    def uniform(self, low: float, high: float, size: tuple[int, ...] | None = None) -> Any:
        """Fog: the wobbles of the next octave. Elastic: corners, then displacements. Otherwise an angle."""
        if self._name == "fog":
            return high * next(self._wobbles)
        if size is None:
            return self._draws("angle").uniform(low, high)
        return self._draws("corners" if size == (3, 2) else "wobble").uniform(low, high, size)

    def randint(self, low: int, high: int | None = None, size: tuple[int, ...] = ()) -> Any:
        """Glass: (dx, dy) of the next pixel. Frost: which photograph, then the corner of the crop."""
        if self._name == "glass_blur":
            return next(self._shifts)
        if high is None:
            return self._draws("photograph").integers(low)
        return int(self._draws("corner").random() * (high - low)) + low

    def _glass_shifts(self) -> Iterator[tuple[int, int]]:
        largest, rounds = int(self._constants[1]), int(self._constants[2])
        for turn in cycle(range(rounds)):
            rows, columns = self._draws(f"shifts {turn}").integers(-largest, largest, (2, SIDE, SIDE))
            for row in range(SIDE - largest, largest, -1):
                for column in range(SIDE - largest, largest, -1):
                    yield columns[row, column], rows[row, column]

    def _fog_wobbles(self) -> Iterator[np.ndarray]:
        while True:
            field, step = self._draws("wobble").uniform(-1, 1, (SIDE, SIDE)), SIDE
            while step >= 2:
                half = step // 2
                for row, column in ((half, half), (0, half), (half, 0)):
                    yield field[row::step, column::step]
                step = half


Reference = Callable[[Image.Image, int], Any]


class _OurConstants(ast.NodeTransformer):
    """Replaces `c = [...][severity - 1]` in a function of imagecorruptions by the constants of CIFAR-10-C."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        """Rewrites the assignment to `c`."""
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "c":
                values = [row[0] if len(row) == 1 else row for row in CONSTANTS[node.name]]
                statement.value = ast.parse(f"{plain(values)!r}[severity - 1]", mode="eval").body
        return node


def plain(value: Any) -> Any:
    """Nested tuples of plain numbers, whose `repr` is Python."""
    return (
        [plain(part) for part in value] if isinstance(value, (tuple, list)) else getattr(value, "item", lambda: value)()
    )


def package_functions(random: Any, *, own_constants: bool = False) -> dict[str, Reference]:
    """The functions of imagecorruptions; with the constants of CIFAR-10-C, unless it is to keep its own."""
    package: Any = importlib.import_module("imagecorruptions.corruptions")
    filters: Any = importlib.import_module("skimage.filters")

    def gaussian(image: np.ndarray, sigma: float, multichannel: bool = False, **rest: Any) -> np.ndarray:
        return filters.gaussian(image, sigma, channel_axis=-1 if multichannel else None, **rest)

    tree = ast.parse(inspect.getsource(package))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if not own_constants:
        tree = ast.fix_missing_locations(_OurConstants().visit(tree))
    numpy = types.SimpleNamespace(**{**vars(np), "float_": np.float64, "random": random})
    names: dict[str, Any] = {**vars(package), "np": numpy}
    exec(compile(tree, "imagecorruptions", "exec"), names)
    names["gaussian"] = gaussian
    if not own_constants:
        names["clipped_zoom"] = trimmed_zoom
        names["_motion_blur"] = whole_values(names["_motion_blur"])
    return {name: names[name] for name in CORRUPTIONS}


def references(random: Any) -> dict[str, Reference]:
    """Corruption -> the construction of CIFAR-10-C of an image at a severity, with random numbers from `random`."""
    return package_functions(random) | {
        "frost": lambda image, severity: frost(image, severity, random),
        "pixelate": pixelate,
        "elastic_transform": lambda image, severity: elastic_transform(image, severity, random),
    }


def corrupt_one_by_one(images: torch.Tensor, name: str, severity: int, seed: int = 0) -> torch.Tensor:
    """What the references make of images, uint8 (N, 3, 32, 32), from the random numbers of `corrupt`."""
    function = references(Replay(name, severity, Draws(seed, name, severity)))[name]
    return one_by_one(function, images, severity)


def one_by_one(function: Reference, images: torch.Tensor, severity: int) -> torch.Tensor:
    """Calls a reference for every image, uint8 (N, 3, 32, 32), and cuts off its values to whole ones."""
    pictures = (Image.fromarray(image) for image in images.permute(0, 2, 3, 1).numpy())
    made = [np.asarray(function(picture, severity)).astype(np.uint8) for picture in pictures]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)


def trimmed_zoom(image: np.ndarray, factor: float) -> np.ndarray:
    """SciPy's zoom of the middle; the generator keeps the middle of the result, imagecorruptions its upper left part."""
    side = image.shape[0]
    crop = int(np.ceil(side / factor))
    top = (side - crop) // 2
    large = np.asarray(ndimage.zoom(image[top : top + crop, top : top + crop], (factor, factor, 1), order=1))
    trim = (large.shape[0] - side) // 2
    return large[trim : trim + side, trim : trim + side]


def whole_values(motion_blur: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The generator moves flakes, in [0, 1] and of one channel, as an 8-bit image; imagecorruptions does not."""

    def moved(image: np.ndarray, **constants: Any) -> np.ndarray:
        if image.ndim == 3:
            return motion_blur(image, **constants)
        return np.floor(motion_blur(np.floor(image * 255), **constants)) / 255

    return moved


def frost(image: Image.Image, severity: int, random: Any) -> np.ndarray:
    """OpenCV reads the photograph and shrinks it to a fifth."""
    cv2: Any = importlib.import_module("cv2")
    image_weight, frost_weight = CONSTANTS["frost"][severity - 1]
    photograph = cv2.imread(str(frost_directory() / FROST_PHOTOGRAPHS[random.randint(5)]))
    small = cv2.resize(photograph, (0, 0), fx=0.2, fy=0.2)
    top, left = random.randint(0, small.shape[0] - SIDE), random.randint(0, small.shape[1] - SIDE)
    crop = small[top : top + SIDE, left : left + SIDE, ::-1]
    return np.clip(image_weight * np.asarray(image) + frost_weight * crop, 0, 255)


def pixelate(image: Image.Image, severity: int) -> Image.Image:
    """PIL, down and up with the box filter."""
    side = int(SIDE * CONSTANTS["pixelate"][severity - 1][0])
    return image.resize((side, side), Image.Resampling.BOX).resize((SIDE, SIDE), Image.Resampling.BOX)


def elastic_transform(image: Image.Image, severity: int, random: Any) -> np.ndarray:
    """OpenCV's affine warp, skimage's Gaussian, SciPy's interpolation."""
    cv2: Any = importlib.import_module("cv2")
    filters: Any = importlib.import_module("skimage.filters")
    x = np.asarray(image, np.float32) / 255
    amplitude, sigma, shift = (SIDE * share for share in CONSTANTS["elastic_transform"][severity - 1])
    corners = np.array([[26, 26], [26, 6], [6, 6]], np.float32)
    moved = corners + random.uniform(-shift, shift, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    x = cv2.warpAffine(x, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    rows, columns = np.indices((SIDE, SIDE))
    along, across = (
        amplitude * filters.gaussian(random.uniform(-1, 1, (SIDE, SIDE)), sigma, mode="reflect", truncate=3)
        for _ in range(2)
    )
    positions = [rows + across, columns + along]
    channels = [ndimage.map_coordinates(x[..., c], positions, order=1, mode="reflect") for c in range(3)]
    return np.clip(np.stack(channels, axis=-1), 0, 1) * 255
