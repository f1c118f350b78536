"""Corrupted test sets, official or made, in the canonical form; or refused before anything appears."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairat.data import corrupted as corrupted_module
from fairat.data.canonical import CorruptedManifest, Split, corruption_names, load_corruption
from fairat.data.corrupted import prepare_corrupted
from fairat.data.corruptions import CORRUPTIONS, corrupt
from fairat.data.download import record_of
from fairat.errors import UserError
from fairat.settings.data import Cifar10C, MadeCorruptions

from tests.data.official import pack_arrays

COUNT = 6
TEST = Split(torch.zeros((COUNT, 3, 4, 5), dtype=torch.uint8), torch.tensor([0, 1, 2, 0, 1, 2]), ("a", "b", "c"))


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """An archive's arrays: image i at severity s under corruption c is filled with 30 s + i, but for one marked pixel."""
    values = np.add.outer(30 * np.arange(1, 6), np.arange(COUNT)).reshape(-1, 1, 1, 1)
    images = np.broadcast_to(values, (5 * COUNT, 4, 5, 3)).astype(np.uint8)
    images[:, 1, 4, 2] = 255  # second row, last column, blue
    made = {name: images + np.uint8(number) for number, name in enumerate(CORRUPTIONS)}
    return {"labels": np.tile(TEST.labels.numpy(), 5), **made}


def prepared(arrays: dict[str, np.ndarray], directory: Path) -> CorruptedManifest:
    path = pack_arrays(directory / "CIFAR-10-C.tar", arrays)
    source = Cifar10C(archive=path, md5=record_of(path).md5 or "")
    return prepare_corrupted("toy", source, TEST, directory / "out", directory)


def test_images_go_channels_first_in_blocks_of_severities(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    """AF-36: the first N rows have severity 1."""
    prepared(arrays, tmp_path)
    assert corruption_names(tmp_path / "out") == CORRUPTIONS
    for number, name in enumerate(CORRUPTIONS):
        corrupted = load_corruption(tmp_path / "out", name)
        assert corrupted.labels.tolist() == 5 * TEST.labels.tolist()
        image = torch.arange(COUNT).repeat(5)
        assert torch.equal(corrupted.images[:, 0, 0, 0], (30 * corrupted.severities + image + number).to(torch.uint8))
        assert torch.equal(
            corrupted.images[:, 2, 1, 4], torch.full((5 * COUNT,), (255 + number) % 256, dtype=torch.uint8)
        )
        assert corrupted.severities.tolist() == sorted(corrupted.severities.tolist())


def test_the_manifest_names_the_archive_and_every_content(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    manifest = prepared(arrays, tmp_path)
    assert manifest == CorruptedManifest.load(tmp_path / "out")
    assert manifest.archives[0].name == "CIFAR-10-C.tar"
    assert (manifest.images, manifest.image_shape) == (COUNT, (3, 4, 5))
    assert manifest.sha256 == {name: load_corruption(tmp_path / "out", name).sha256 for name in CORRUPTIONS}
    assert "archive" not in manifest.source


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda arrays: arrays.pop("fog"), r"lacks fog\. Fetch the official archive again"),
        (lambda arrays: arrays.pop("labels"), r"lacks labels\. Fetch"),
        (lambda arrays: arrays["labels"].__setitem__(3, 1), r"labels\.npy does not belong to this test set \(it is not the labels of the test set five"),
        (lambda arrays: arrays.update(fog=arrays["fog"][:-1]), r"fog\.npy does not belong .*\(it is uint8 of shape \(29, 4, 5, 3\)\)\. Name the corrupted"),
        (lambda arrays: arrays.update(fog=arrays["fog"] / 255), r"fog\.npy does not belong .*\(it is float64 of shape"),
        (lambda arrays: arrays.update(fog=arrays["fog"].transpose(0, 3, 1, 2)), r"fog\.npy .*\(30, 3, 4, 5\).*or set `corruptions: \{kind: made\}`"),
        (lambda arrays: arrays.update(fog=np.array([{}], dtype=object)), r"fog\.npy is not an array of numbers \(.*\)\. Fetch the archive again"),
    ],
    ids=["no fog", "no labels", "another order", "an image too few", "floats", "channels first", "objects"],
)  # fmt: skip
def test_an_archive_that_does_not_fit_is_refused_and_leaves_nothing(
    edit: Callable[[dict[str, Any]], object], words: str, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    edit(arrays)
    with pytest.raises(UserError, match=words):
        prepared(arrays, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["CIFAR-10-C.tar"]


def test_an_archive_that_is_cut_off_is_refused_and_leaves_nothing(
    arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = pack_arrays(tmp_path / "CIFAR-10-C.tar", arrays)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(UserError, match=r"CIFAR-10-C\.tar is no .*or is damaged or cut off .*fetch or pack it again"):
        prepare_corrupted(
            "toy", Cifar10C(archive=path, md5=record_of(path).md5 or ""), TEST, tmp_path / "out", tmp_path
        )
    assert [path.name for path in tmp_path.iterdir()] == ["CIFAR-10-C.tar"]


@pytest.fixture
def digits() -> Split:
    images = torch.randint(0, 256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Split(images, torch.tensor([0, 1, 2, 0, 1, 2]), ("zero", "one", "two"))


def made(split: Split, directory: Path, seed: int = 0) -> CorruptedManifest:
    return prepare_corrupted("demo", MadeCorruptions(seed=seed), split, directory / "out", directory)


def test_a_made_set_holds_every_corruption_severity_after_severity(tmp_path: Path, digits: Split) -> None:
    manifest = made(digits, tmp_path, seed=3)
    assert manifest == CorruptedManifest.load(tmp_path / "out")
    assert manifest.corruptions == CORRUPTIONS
    for name in CORRUPTIONS:
        corrupted = load_corruption(tmp_path / "out", name)
        expected = [corrupt(digits.images.numpy(), name, severity, seed=3) for severity in (1, 2, 3, 4, 5)]
        assert np.array_equal(corrupted.images, np.concatenate(expected))
        assert torch.equal(corrupted.labels, digits.labels.repeat(5))
        assert corrupted.severities.tolist() == [1] * 6 + [2] * 6 + [3] * 6 + [4] * 6 + [5] * 6
        assert manifest.sha256[name] == corrupted.sha256


def test_the_manifest_tells_how_a_set_was_made(tmp_path: Path, digits: Split) -> None:
    manifest = made(digits, tmp_path, seed=3)
    assert (manifest.dataset, manifest.source, manifest.archives) == ("demo", {"kind": "made", "seed": 3}, ())
    assert (manifest.image_shape, manifest.images) == ((1, 8, 8), 6)
    assert set(manifest.versions) == {"imagecorruptions", "numpy", "pillow", "scipy", "torch"}


def test_the_same_test_set_and_seed_give_the_same_bytes(tmp_path: Path, digits: Split) -> None:
    contents = []
    for _ in range(2):  # the second replaces the first
        made(digits, tmp_path)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == len(CORRUPTIONS) + 1


def test_a_full_disk_leaves_nothing_behind_and_the_old_set_as_it_was(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    saved = []

    def save_until_full(path: Path, images: object) -> None:
        path.touch()
        saved.append(path.stem)
        if path.stem == "fog":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(corrupted_module, "save_split", save_until_full)
    with pytest.raises(UserError, match=r"No space is left to write .* Free some space"):
        made(digits, tmp_path)
    assert saved[-1] == "fog"
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == [Path("out"), Path("out/old")]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 8, 8), r"shape 2 x 8 x 8 cannot .* 1 or 3 channels .* Convert or enlarge them"),
        ((1, 9, 7), r"shape 1 x 9 x 7 cannot .* sides of at least 8 pixels\. Convert or enlarge"),
    ],
)
def test_images_that_cannot_be_corrupted_leave_nothing_behind(
    shape: tuple[int, ...], words: str, tmp_path: Path
) -> None:
    split = Split(torch.zeros((2, *shape), dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), ("zero",))
    with pytest.raises(UserError, match=words):
        made(split, tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_the_photographs_of_frost_nothing_is_begun(
    tmp_path: Path, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an installation without the extra `corruptions`."""
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(
        UserError, match=r"frost needs .* imagecorruptions, which is not installed\. Install .* `make setup`"
    ):
        prepare_corrupted("demo", MadeCorruptions(), digits, tmp_path / "demo", tmp_path)
    assert not list(tmp_path.iterdir())
