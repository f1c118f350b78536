import ast
import errno
import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fairat.data.canonical import CorruptedManifest, Split, corruption_names, load_corruption
from fairat.data.corruptions import CORRUPTIONS, PAPER_CORRUPTIONS, corrupt, corrupt_test_set, making
from fairat.data.corruptions.blur import disk
from fairat.data.corruptions.common import pixels, smeared, unit, zoomed
from fairat.data.corruptions.constants import CONSTANTS, SEVERITIES
from fairat.data.corruptions.spatter import distance_to
from fairat.data.corruptions.weather import plasma
from fairat.errors import UserError
from PIL import Image
from torch import Tensor

from tests.data.corruption_references import NOT_REPLAYED, corrupt_one_by_one

WITHOUT_CHANCE = {
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
}

MOVING_AND_AVERAGING = (
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "gaussian_blur",
    "elastic_transform",
    "pixelate",
)

NOT_RISING = {
    "glass_blur": "severities 4 and 5 blur like 2 and 3, and only shuffle twice",
    "motion_blur": "from 3 to 4 only the radius grows, which is longer than the trail anyway",
    "frost": "from 3 on the image grows darker as the frost stays as bright",
    "elastic_transform": "the affine map shrinks from 1 to 5, only the waves grow",
    "spatter": "1 to 3 are water, 4 and 5 are mud",
    "saturate": "1 and 2 take colour away, 3 to 5 add some",
}
"""Corruptions that may change an image less at some severity than at the one before, and why."""


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    """40 pieces of two photographs that come with scikit-learn, 3 x 32 x 32."""
    package = importlib.util.find_spec("sklearn")  # its files are read without its import, which takes seconds
    assert package is not None and package.origin is not None
    pieces = []
    for name in ("china", "flower"):
        image = Image.open(Path(package.origin).parent / f"datasets/images/{name}.jpg")
        values = torch.from_numpy(np.array(image))[:416].permute(2, 0, 1)
        pieces.append(values.unfold(1, 32, 32).unfold(2, 32, 32).permute(1, 2, 0, 3, 4).reshape(-1, 3, 32, 32)[7::13])
    return torch.cat(pieces).contiguous()


@pytest.fixture(scope="module")
def small(photographs: Tensor) -> Tensor:
    """The same in grey and in the size of digits, 1 x 8 x 8."""
    return torch.nn.functional.avg_pool2d(photographs[:, :1].float(), 4).to(torch.uint8)


def flat(value: int, *shape: int) -> Tensor:
    return torch.full(shape, value, dtype=torch.uint8)


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def change(corrupted: Tensor, clean: Tensor) -> float:
    return (corrupted.int() - clean.int()).abs().double().mean().item()


def test_nineteen_corruptions_less_glass_blur_are_the_papers_eighteen() -> None:
    """AF-36."""
    assert len(CORRUPTIONS) == len(set(CORRUPTIONS)) == 19
    assert len(PAPER_CORRUPTIONS) == 18
    assert set(CORRUPTIONS) - set(PAPER_CORRUPTIONS) == {"glass_blur"}
    assert set(CONSTANTS) == set(making.FUNCTIONS) == set(CORRUPTIONS)


def test_the_constants_are_those_of_the_table_in_the_documentation() -> None:
    table = Path("docs/corruptions.md").read_text().partition("## Constants")[2].partition("\n## ")[0]
    rows = {cells[1].strip(): cells[3:8] for line in table.splitlines() if len(cells := line.split("|")) == 9}
    for name in set(CORRUPTIONS) - {"zoom_blur"}:
        documented = [ast.literal_eval(f"({cell},)") for cell in rows[name]]
        assert documented == list(CONSTANTS[name]), name
    for documented, factors in zip(rows["zoom_blur"], CONSTANTS["zoom_blur"], strict=True):
        first, last = (float(number) for number in documented.split("…"))
        np.testing.assert_allclose(factors, np.arange(round(first * 100), round(last * 100) + 1) / 100)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_takes_and_gives_pixels_and_leaves_its_input_alone(
    name: str, photographs: Tensor, small: Tensor
) -> None:
    for images in (photographs[:3], small[:3]):
        before = images.clone()
        for severity in SEVERITIES:
            corrupted = corrupt(images, name, severity)
            assert corrupted.dtype == torch.uint8
            assert corrupted.shape == images.shape
        assert torch.equal(images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_depends_on_seed_name_severity_and_position_and_on_nothing_else(
    name: str, photographs: Tensor
) -> None:
    twice = photographs[20:22].repeat(2, 1, 1, 1)
    first, again, other = corrupt(twice, name, 5, seed=1), corrupt(twice, name, 5, seed=1), corrupt(twice, name, 5, 2)
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name in WITHOUT_CHANCE)
    assert torch.equal(first[:2], first[2:]) == (name in WITHOUT_CHANCE)
    assert not torch.equal(first, corrupt(twice, name, 1, seed=1))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_first_images_are_corrupted_alike_with_or_without_others_behind_them(
    name: str, photographs: Tensor, small: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for images in (photographs[:7], small[:7]):
        whole = corrupt(images, name, 3)
        assert torch.equal(corrupt(images[:1], name, 3), whole[:1])
        assert torch.equal(corrupt(images[:5], name, 3), whole[:5])
        with monkeypatch.context() as patch:
            patch.setattr(making, "CHUNK_VALUES", 2 * images[0].numel())
            assert torch.equal(corrupt(images, name, 3), whole)


def test_two_corruptions_of_one_family_draw_different_noise() -> None:
    grey = flat(100, 1, 3, 32, 32)
    signs = [torch.sign(corrupt(grey, name, 5).int() - 100) for name in ("gaussian_noise", "speckle_noise")]
    assert (signs[0] == signs[1]).float().mean() < 0.6


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_raises_the_change_except_where_the_official_constants_do_not(name: str, photographs: Tensor) -> None:
    changes = [change(corrupt(photographs, name, severity), photographs) for severity in SEVERITIES]
    assert changes[0] > 0
    assert changes == sorted(changes) or name in NOT_RISING


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - set(NOT_REPLAYED)))
@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated")
def test_every_pixel_is_within_one_step_of_the_official_construction_from_the_same_random_numbers(
    name: str, photographs: Tensor
) -> None:
    for package in ("imagecorruptions", "cv2", "skimage"):
        pytest.importorskip(package)
    images = torch.cat([photographs[::14], flat(0, 1, 3, 32, 32)])
    for severity in SEVERITIES:
        difference = (corrupt(images, name, severity).int() - corrupt_one_by_one(images, name, severity).int()).abs()
        assert difference.max() <= 1, severity
        assert (difference == 0).float().mean() > 0.9, severity


def test_impulse_noise_replaces_the_stated_share_of_values_half_of_them_by_white() -> None:
    grey = flat(100, 200, 3, 32, 32)
    for (share,), severity in zip(CONSTANTS["impulse_noise"], SEVERITIES, strict=True):
        corrupted = corrupt(grey, "impulse_noise", severity)
        assert set(corrupted.unique().tolist()) == {0, 100, 255}
        count, replaced = grey.numel(), (corrupted != 100).sum().item()
        assert abs(replaced - share * count) < 5 * math.sqrt(share * (1 - share) * count)
        assert abs((corrupted == 255).sum().item() - replaced / 2) < 5 * math.sqrt(replaced) / 2


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("gaussian_noise", lambda deviation, x: deviation),
        ("speckle_noise", lambda deviation, x: deviation * x),
        ("shot_noise", lambda photons, x: math.sqrt(x / photons)),
    ],
)
def test_noise_has_the_mean_and_deviation_of_its_formula(name: str, deviation) -> None:
    grey = flat(102, 200, 1, 32, 32)  # 0.4
    for (constant,), severity in zip(CONSTANTS[name], SEVERITIES, strict=True):
        x = (corrupt(grey, name, severity).double() + 0.5) / 255  # pixels are cut off, by half a step in the mean
        assert x.mean().item() == pytest.approx(0.4, abs=0.001)
        assert x.std().item() == pytest.approx(deviation(constant, 0.4), rel=0.03)


def test_whole_pixels_survive_the_way_to_unit_values_and_back() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(pixels(unit(values)), values)


@pytest.mark.parametrize("name", MOVING_AND_AVERAGING)
def test_what_only_moves_and_averages_leaves_a_flat_image_flat(name: str) -> None:
    for images in (flat(100, 2, 3, 32, 32), flat(7, 2, 1, 8, 8)):
        assert change(corrupt(images, name, 5), images) <= 1
        assert len(corrupt(images, name, 5).unique()) <= 2


@pytest.mark.parametrize(
    "name",
    sorted(set(MOVING_AND_AVERAGING) | {"brightness", "contrast", "fog", "snow"}),
)
def test_a_grey_image_is_corrupted_as_a_colour_image_of_three_equal_channels(name: str, photographs: Tensor) -> None:
    grey = photographs[:5, :1]
    for severity in SEVERITIES:
        alone, colour = corrupt(grey, name, severity), corrupt(grey.repeat(1, 3, 1, 1), name, severity)
        assert (alone.int() - colour.int()).abs().max() <= 1


def test_an_image_without_colour_has_no_saturation_to_change(small: Tensor) -> None:
    assert all(torch.equal(corrupt(small, "saturate", severity), small) for severity in SEVERITIES)


def test_brightness_adds_its_constant_to_grey_and_contrast_keeps_the_mean() -> None:
    assert corrupt(flat(102, 1, 1, 8, 8), "brightness", 4).unique().tolist() == [153]  # 0.4 + 0.2
    halves = torch.cat([flat(0, 1, 1, 8, 4), flat(200, 1, 1, 8, 4)], dim=3)
    assert corrupt(halves, "contrast", 2).unique().tolist() == [50, 150]


def test_weak_glass_gives_every_pixel_the_value_of_itself_or_of_a_neighbour_above_or_to_the_left() -> None:
    """At sigma 0.05 the blur does nothing, and the official loop leaves the two upper rows and left columns alone."""
    images = noise(1, 1, 32, 32)
    shattered = corrupt(images, "glass_blur", 1)
    assert torch.equal(shattered[..., :2, :], images[..., :2, :])
    assert torch.equal(shattered[..., :2], images[..., :2])
    inner = shattered[..., 2:, 2:]
    near = torch.stack(
        [images[..., 2 - row : 32 - row, 2 - column : 32 - column] for row in (0, 1) for column in (0, 1)]
    )
    assert (near == inner).any(dim=0).all()
    assert 0.2 < (near[0] == inner).float().mean() < 0.3  # each of the four with probability 1/4


def test_a_defocused_point_is_a_disk() -> None:
    np.testing.assert_allclose(disk(0.3, 1e-3, reach=1), [[0, 0, 0], [0, 1, 0], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(disk(1, 1e-3, reach=1)[1:-1, 1:-1], np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) / 5)
    np.testing.assert_allclose(disk(1.5, 0.1, reach=1)[1:-1, 1:-1], np.full((3, 3), 1 / 9))


def test_a_moved_point_leaves_half_a_gaussian_behind_it() -> None:
    """Motion at angle 0 takes every pixel from those to its right."""
    point = np.zeros((1, 1, 9, 33), np.uint8)
    point[0, 0, 4, 20] = 255
    trail = smeared(point, radius=6, sigma=2, angles=np.zeros(1))[0, 0]
    kernel = np.exp(-(np.arange(13) ** 2) / 8)
    expected = np.zeros((9, 33))
    expected[4, 20 - np.arange(13)] = 255 * kernel / kernel.sum()
    assert np.abs(trail - (expected - 0.5)).max() <= 0.51


def test_motion_of_imagemagick_is_reproduced() -> None:
    """Values that ImageMagick 6.9.11-60 (Q16) writes for `-motion-blur 6x1.5+30` of this image."""
    image = (np.arange(64).reshape(1, 1, 8, 8) * 37 % 256).astype(np.uint8)
    assert smeared(image, 6, 1.5, np.array([30.0]))[0, 0].tolist() == [
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
    unchanged = (corrupted == images).flatten(1).all(dim=1).float().mean().item()
    assert 0.1 < unchanged < 0.5
    assert corrupted.min() == 100


@pytest.mark.parametrize("shape", [(3, 8, 300), (1, 40, 24), (3, 72, 64)])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_need_not_be_square_nor_small(name: str, shape: tuple[int, int, int]) -> None:
    images = noise(1, *shape)
    assert corrupt(images, name, 5).shape == images.shape


def test_lengths_grow_with_the_image(photographs: Tensor) -> None:
    """Blurred at twice the size and shrunk again, an image is much like itself blurred."""
    large = photographs.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    for name in ("gaussian_blur", "defocus_blur", "zoom_blur"):
        small = torch.nn.functional.avg_pool2d(corrupt(large, name, 5).float(), 2)
        blurred = corrupt(photographs, name, 5)
        assert (small - blurred.float()).abs().mean() < 0.4 * change(blurred, photographs)


@pytest.mark.parametrize(
    ("images", "name", "severity", "message"),
    [
        (flat(0, 1, 3, 8, 8), "rain", 1, r"There is no corruption 'rain'; there are: gaussian_noise, .*, saturate\."),
        (flat(0, 1, 3, 8, 8), "fog", 6, r"There is no severity 6 of fog; there are: 1, 2, 3, 4, 5\."),
        (flat(0, 1, 2, 8, 8), "fog", 1, r"shape 2 x 8 x 8 cannot .* 1 or 3 channels .* Convert or enlarge them"),
        (flat(0, 1, 1, 9, 7), "fog", 1, r"shape 1 x 9 x 7 cannot .* sides of at least 8 pixels\. Convert or enlarge"),
        (torch.zeros(1, 3, 8, 8), "fog", 1, r"torch\.float32 cannot .* in 0\.\.255\. Pass them .*`\(images \* 255\)"),
    ],
)
def test_what_cannot_be_corrupted_is_said(images: Tensor, name: str, severity: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        corrupt(images, name, severity)


@pytest.fixture
def base_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `corruptions` and what it brings."""
    from fairat.data.corruptions import weather

    for package in ("imagecorruptions", "cv2", "skimage"):
        monkeypatch.setitem(sys.modules, package, None)
    weather._photograph.cache_clear()


@pytest.mark.usefixtures("base_install")
def test_without_the_extra_only_frost_cannot_be_made(small: Tensor) -> None:
    for name in set(CORRUPTIONS) - {"frost"}:
        assert corrupt(small, name, 1).shape == small.shape
    with pytest.raises(
        UserError, match=r"frost needs .* imagecorruptions, which is not installed\. Install .* `make setup`"
    ):
        corrupt(small, "frost", 1)


@pytest.mark.usefixtures("base_install")
def test_a_missing_package_is_an_error_before_any_work(tmp_path: Path, split: Split) -> None:
    done: list[str] = []
    with pytest.raises(UserError, match="make setup"):
        corrupt_test_set(split, tmp_path / "demo", dataset="demo", seed=0, progress=lambda by, name: done.append(name))
    assert not done
    assert not list(tmp_path.iterdir())


@pytest.fixture
def split(small: Tensor) -> Split:
    return Split(small[:6], torch.tensor([0, 1, 2, 0, 1, 2]), ("zero", "one", "two"))


def test_a_corrupted_test_set_holds_every_corruption_severity_after_severity(tmp_path: Path, split: Split) -> None:
    """AF-36."""
    directory, done = tmp_path / "demo-corrupted", []
    corrupt_test_set(split, directory, dataset="demo", seed=3, progress=lambda by, name: done.append((by, name)))
    assert corruption_names(directory) == CORRUPTIONS
    assert done == [(1, name) for name in CORRUPTIONS]
    for name in CORRUPTIONS:
        corrupted = load_corruption(directory, name)
        expected = [corrupt(split.images, name, severity, seed=3) for severity in SEVERITIES]
        assert torch.equal(corrupted.images, torch.cat(expected))
        assert torch.equal(corrupted.labels, split.labels.repeat(5))
        assert corrupted.severities.tolist() == [1] * 6 + [2] * 6 + [3] * 6 + [4] * 6 + [5] * 6


def test_the_manifest_tells_how_the_set_was_made(tmp_path: Path, split: Split) -> None:
    corrupt_test_set(split, tmp_path / "demo-corrupted", dataset="demo", seed=3)
    manifest = CorruptedManifest.load(tmp_path / "demo-corrupted")
    assert (manifest.dataset, manifest.source) == ("demo", {"kind": "made", "seed": 3})
    assert (manifest.image_shape, manifest.images) == ((1, 8, 8), 6)
    assert set(manifest.versions) == {"imagecorruptions", "numpy", "pillow", "scipy", "torch"}
    assert manifest.sha256 == {name: load_corruption(tmp_path / "demo-corrupted", name).sha256 for name in CORRUPTIONS}


def test_the_same_test_set_and_seed_give_the_same_bytes(tmp_path: Path, split: Split) -> None:
    contents = []
    for _ in range(2):  # the second replaces the first
        corrupt_test_set(split, tmp_path / "demo-corrupted", dataset="demo", seed=0)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "demo-corrupted").iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(CORRUPTIONS) + 1


def test_a_full_disk_leaves_nothing_behind_and_the_old_set_as_it_was(
    tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "demo-corrupted"
    directory.mkdir()
    (directory / "old").touch()
    saved = []

    def save_until_full(beside: Path, name: str, corrupted: object) -> None:
        (beside / name).touch()
        saved.append(name)
        if name == "fog":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(making, "save_corruption", save_until_full)
    with pytest.raises(UserError, match=r"No space is left to write .* Free some space"):
        corrupt_test_set(split, directory, dataset="demo", seed=0)
    assert saved[-1] == "fog"
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [
        Path("demo-corrupted"),
        Path("demo-corrupted/old"),
    ]


def test_images_that_cannot_be_corrupted_leave_nothing_behind(tmp_path: Path) -> None:
    split = Split(flat(0, 2, 2, 8, 8), torch.zeros(2, dtype=torch.int64), ("zero",))
    with pytest.raises(UserError, match="cannot be corrupted"):
        corrupt_test_set(split, tmp_path / "demo-corrupted", dataset="demo", seed=0)
    assert not list(tmp_path.iterdir())
