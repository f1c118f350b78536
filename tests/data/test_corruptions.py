"""Corruptions: closed forms, limits, and the change that the official construction makes."""

import ast
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from fairat.data import corruptions
from fairat.data.corruptions import CORRUPTIONS, FUNCTIONS, corrupt
from fairat.data.corruptions.blur import disk
from fairat.data.corruptions.common import pixels, smeared, unit, zoomed
from fairat.data.corruptions.constants import CONSTANTS
from fairat.data.corruptions.spatter import distance_to
from fairat.data.corruptions.weather import plasma
from PIL import Image

WITHOUT_CHANCE = {
    *("defocus_blur", "zoom_blur", "gaussian_blur"),
    *("brightness", "contrast", "saturate", "pixelate", "jpeg_compression"),
}
MOVING_AND_AVERAGING = (
    *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    *("elastic_transform", "pixelate"),
)
SEVERITIES = (1, 2, 3, 4, 5)

OFFICIAL_CHANGES = {
    "gaussian_noise": (7.4, 10.9, 14.4, 16.0, 17.6),
    "shot_noise": (4.7, 6.5, 10.1, 11.6, 13.9),
    "impulse_noise": (1.3, 2.5, 3.8, 6.4, 9.0),
    "defocus_blur": (1.3, 2.9, 4.2, 5.7, 7.1),
    "glass_blur": (7.3, 7.5, 7.4, 10.5, 9.7),
    "motion_blur": (4.6, 6.3, 7.5, 7.8, 8.7),
    "zoom_blur": (5.1, 6.2, 7.1, 8.0, 8.6),
    "snow": (9.6, 20.9, 22.7, 32.7, 47.0),
    "frost": (28.7, 43.4, 50.7, 46.5, 47.5),
    "fog": (12.3, 23.2, 29.1, 30.6, 38.5),
    "brightness": (7.8, 15.6, 22.6, 29.2, 41.4),
    "contrast": (4.9, 9.7, 11.7, 13.6, 16.5),
    "elastic_transform": (11.5, 10.9, 10.5, 9.8, 8.4),
    "pixelate": (1.3, 2.3, 2.9, 4.3, 5.8),
    "jpeg_compression": (3.5, 4.6, 5.0, 5.4, 5.9),
    "speckle_noise": (4.3, 6.9, 8.2, 10.6, 13.1),
    "gaussian_blur": (1.3, 4.1, 5.0, 5.8, 6.8),
    "spatter": (0.9, 2.5, 6.6, 2.9, 4.4),
    "saturate": (16.0, 20.7, 6.1, 13.2, 18.5),
}
"""Mean absolute change of a value of `photographs`, in steps of 1/255, at severities 1 to 5, by other people's functions.

They are the functions of imagecorruptions 1.1.2 with the constants of CIFAR-10-C, OpenCV 5.0, scikit-image 0.26, SciPy 1.17
and Pillow 13, image by image and with the random numbers that `corrupt` draws (impulse_noise: with others).
"""


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """40 pieces of two photographs that come with scikit-learn, 3 x 32 x 32."""
    package = importlib.util.find_spec("sklearn")  # its files are read without its import, which takes seconds
    assert package is not None and package.origin is not None
    pieces = []
    for name in ("china", "flower"):
        values = np.asarray(Image.open(Path(package.origin).parent / f"datasets/images/{name}.jpg"))[:416, :640]
        pieces.append(values.reshape(13, 32, 20, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)[7::13])
    return np.concatenate(pieces)


@pytest.fixture(scope="module")
def small(photographs: np.ndarray) -> np.ndarray:
    """The same in gray and in the size of digits, 1 x 8 x 8."""
    return photographs[:, :1].reshape(-1, 1, 8, 4, 8, 4).mean(axis=(3, 5)).astype(np.uint8)


def flat(value: int, *shape: int) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def change(corrupted: np.ndarray, clean: np.ndarray) -> float:
    return np.abs(corrupted.astype(int) - clean).mean()


def test_there_are_nineteen_corruptions_of_five_severities() -> None:
    assert len(CORRUPTIONS) == 19
    assert set(CORRUPTIONS) == set(CONSTANTS) == set(FUNCTIONS) == set(OFFICIAL_CHANGES)
    assert all(len(constants) == len(SEVERITIES) for constants in CONSTANTS.values())


def test_the_package_knows_nothing_of_the_rest() -> None:
    for path in Path(str(corruptions.__file__)).parent.glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imported = [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
        imported += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        ours = [name for name in imported if name.split(".")[0] in ("fairat", "stages")]
        assert all(name.startswith("fairat.data.corruptions") for name in ours), path


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_images_as_much_as_the_official_construction(name: str, photographs: np.ndarray) -> None:
    before = photographs.copy()
    for severity, expected in zip(SEVERITIES, OFFICIAL_CHANGES[name], strict=True):
        corrupted = corrupt(photographs, name, severity)
        assert corrupted.dtype == np.uint8
        # What the table rounds; and other draws of impulse_noise.
        assert change(corrupted, photographs) == pytest.approx(expected, abs=0.3 if name == "impulse_noise" else 0.1)
    assert np.array_equal(photographs, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_depends_on_seed_name_severity_and_position_and_on_nothing_else(
    name: str, photographs: np.ndarray
) -> None:
    twice = np.concatenate([photographs[20:22]] * 2)
    first, again, other = corrupt(twice, name, 5, seed=1), corrupt(twice, name, 5, seed=1), corrupt(twice, name, 5, 2)
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (name in WITHOUT_CHANCE)
    assert np.array_equal(first[:2], first[2:]) == (name in WITHOUT_CHANCE)
    assert not np.array_equal(first, corrupt(twice, name, 1, seed=1))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_first_images_are_corrupted_alike_with_or_without_others_behind_them(
    name: str, photographs: np.ndarray, small: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    for images in (photographs[:7], small[:7]):
        whole = corrupt(images, name, 3)
        assert whole.shape == images.shape
        assert np.array_equal(corrupt(images[:1], name, 3), whole[:1])
        with monkeypatch.context() as patch:
            patch.setattr(corruptions, "CHUNK_VALUES", 2 * images[0].size)
            assert np.array_equal(corrupt(images, name, 3), whole)


def test_impulse_noise_replaces_the_stated_share_of_values_half_of_them_by_white() -> None:
    gray = flat(100, 200, 3, 32, 32)
    for (share,), severity in zip(CONSTANTS["impulse_noise"], SEVERITIES, strict=True):
        corrupted = corrupt(gray, "impulse_noise", severity)
        assert set(np.unique(corrupted)) == {0, 100, 255}
        count, replaced = gray.size, (corrupted != 100).sum()
        assert abs(replaced - share * count) < 5 * math.sqrt(share * (1 - share) * count)
        assert abs((corrupted == 255).sum() - replaced / 2) < 5 * math.sqrt(replaced) / 2


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("gaussian_noise", lambda deviation, x: deviation),
        ("speckle_noise", lambda deviation, x: deviation * x),
        ("shot_noise", lambda photons, x: math.sqrt(x / photons)),
    ],
)
def test_noise_has_the_mean_and_deviation_of_its_formula(name: str, deviation) -> None:
    gray = flat(102, 200, 1, 32, 32)  # 0.4
    for (constant,), severity in zip(CONSTANTS[name], SEVERITIES, strict=True):
        x = (corrupt(gray, name, severity) + 0.5) / 255  # pixels are cut off, by half a step in the mean
        assert x.mean() == pytest.approx(0.4, abs=0.001)
        assert x.std() == pytest.approx(deviation(constant, 0.4), rel=0.03)


def test_whole_pixels_survive_the_way_to_unit_values_and_back() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(pixels(unit(values)), values)


@pytest.mark.parametrize("name", MOVING_AND_AVERAGING)
def test_what_only_moves_and_averages_leaves_a_flat_image_flat(name: str) -> None:
    for images in (flat(100, 2, 3, 32, 32), flat(7, 2, 1, 8, 8)):
        assert change(corrupt(images, name, 5), images) <= 1
        assert len(np.unique(corrupt(images, name, 5))) <= 2


@pytest.mark.parametrize("name", sorted({*MOVING_AND_AVERAGING, "brightness", "contrast", "fog", "snow"}))
def test_a_gray_image_is_corrupted_as_a_color_image_of_three_equal_channels(name: str, photographs: np.ndarray) -> None:
    gray = photographs[:5, :1]
    for severity in SEVERITIES:
        alone, color = corrupt(gray, name, severity), corrupt(gray.repeat(3, axis=1), name, severity)
        assert np.abs(alone.astype(int) - color).max() <= 1


def test_an_image_without_color_has_no_saturation_to_change(small: np.ndarray) -> None:
    assert all(np.array_equal(corrupt(small, "saturate", severity), small) for severity in SEVERITIES)


def test_brightness_adds_its_constant_to_gray_and_contrast_keeps_the_mean() -> None:
    assert np.unique(corrupt(flat(102, 1, 1, 8, 8), "brightness", 4)).tolist() == [153]  # 0.4 + 0.2
    halves = np.concatenate([flat(0, 1, 1, 8, 4), flat(200, 1, 1, 8, 4)], axis=3)
    assert np.unique(corrupt(halves, "contrast", 2)).tolist() == [50, 150]


def test_weak_glass_gives_every_pixel_the_value_of_itself_or_of_a_neighbor_above_or_to_the_left() -> None:
    """At sigma 0.05 the blur does nothing, and the official loop leaves the two upper rows and left columns alone."""
    images = noise(1, 1, 32, 32)
    shattered = corrupt(images, "glass_blur", 1)
    assert np.array_equal(shattered[..., :2, :], images[..., :2, :])
    assert np.array_equal(shattered[..., :2], images[..., :2])
    near = np.stack([images[..., 2 - row : 32 - row, 2 - column : 32 - column] for row in (0, 1) for column in (0, 1)])
    equal = near == shattered[..., 2:, 2:]
    assert equal.any(axis=0).all()
    assert 0.2 < equal[0].mean() < 0.3  # each of the four with probability 1/4


def test_a_defocused_point_is_a_disk() -> None:
    np.testing.assert_allclose(disk(0.3, 1e-3, reach=1), [[0, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(disk(1, 1e-3, reach=1)[1:-1, 1:-1], np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5)
    np.testing.assert_allclose(disk(1.5, 0.1, reach=1)[1:-1, 1:-1], np.full((3, 3), 1 / 9))


def test_motion_of_imagemagick_is_reproduced() -> None:
    """Values that ImageMagick 6.9.11-60 (Q16) writes for `-motion-blur 6x1.5+30` of this image."""
    image = (np.arange(64).reshape(1, 1, 8, 8) * 37 % 256).astype(np.uint8)
    assert pixels(smeared(unit(image), 6, 1.5, np.array([30.0])))[0, 0].tolist() == [
        [43, 79, 113, 136, 129, 163, 105, 13],
        [82, 116, 139, 132, 169, 117, 37, 53],
        [119, 142, 135, 172, 122, 49, 77, 93],
        [145, 138, 175, 125, 55, 89, 117, 133],
        [141, 178, 128, 58, 95, 129, 157, 173],
        [181, 131, 61, 97, 131, 166, 194, 209],
        [134, 63, 100, 137, 156, 146, 174, 190],
        [57, 94, 131, 167, 186, 177, 119, 27],
    ]


def test_a_zoom_keeps_the_middle_and_a_ramp_grows_slower() -> None:
    ramp = np.broadcast_to(np.arange(33.0), (1, 1, 33, 33))
    large = zoomed(ramp, (2.0,))
    np.testing.assert_allclose(large[..., 16], 16, atol=0.3)
    np.testing.assert_allclose(np.diff(large), 16 / 33, atol=0.01)
    np.testing.assert_allclose(zoomed(ramp, (1.0, 2.0)), ramp + large)


def test_fog_fills_the_unit_interval_and_decays_faster_where_told() -> None:
    wobble = np.random.default_rng(0).uniform(-1, 1, (20, 32, 32))
    rough, smooth = plasma(wobble, 1.75), plasma(wobble, 3)
    for cloud in (rough, smooth):
        np.testing.assert_array_equal(cloud.min(axis=(1, 2)), 0)
        np.testing.assert_array_equal(cloud.max(axis=(1, 2)), 1)
    assert np.abs(np.diff(rough)).mean() > np.abs(np.diff(smooth)).mean()


def test_drops_measure_distance_by_king_and_knight_moves_within_their_own_image() -> None:
    points = np.zeros((2, 9, 9), bool)
    points[0, 4, 4] = True
    distance = distance_to(points, farthest=4.5)
    rows, columns = np.abs(np.indices((9, 9)) - 4)
    short, long = np.minimum(rows, columns), np.maximum(rows, columns)
    knights = np.minimum(short, long - short)
    diagonals, straights = short - knights, long - short - knights
    expected = np.minimum(straights + 1.4 * diagonals + 2.1969 * knights, 4.5)
    np.testing.assert_allclose(distance[0], expected, atol=1e-4)
    np.testing.assert_array_equal(distance[1], 4.5)


def test_an_image_without_drops_stays_as_it_is() -> None:
    """The official construction divides by the brightest drop, and makes such an image black."""
    images = flat(100, 300, 1, 8, 8)
    corrupted = corrupt(images, "spatter", 1)
    assert 0.1 < (corrupted == images).all(axis=(1, 2, 3)).mean() < 0.5
    assert corrupted.min() == 100


@pytest.mark.parametrize("shape", [(3, 8, 300), (1, 40, 24), (3, 72, 64)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_need_not_be_square_nor_small(name: str, shape: tuple[int, int, int]) -> None:
    images = noise(1, *shape)
    assert corrupt(images, name, 5).shape == images.shape


@pytest.mark.parametrize("name", ["gaussian_blur", "defocus_blur", "zoom_blur"])
def test_lengths_grow_with_the_image(name: str, photographs: np.ndarray) -> None:
    """Blurred at twice the size and shrunk again, an image is much like itself blurred."""
    large = corrupt(photographs.repeat(2, axis=2).repeat(2, axis=3), name, 5)
    halved, blurred = large.reshape(-1, 3, 32, 2, 32, 2).mean(axis=(3, 5)), corrupt(photographs, name, 5)
    assert np.abs(halved - blurred).mean() < 0.4 * change(blurred, photographs)
