"""Official corrupted test sets in the canonical form, or refused before anything appears."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairat.data.archives import hashes
from fairat.data.canonical import CorruptedManifest, Split, corruption_names, load_corruption
from fairat.data.corruptions.constants import CORRUPTIONS
from fairat.data.official_corruptions import prepare_corrupted
from fairat.errors import UserError
from fairat.settings.data import Cifar10C

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
    source = Cifar10C(archive=path, md5=hashes(path)[1])
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
        prepare_corrupted("toy", Cifar10C(archive=path, md5=hashes(path)[1]), TEST, tmp_path / "out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["CIFAR-10-C.tar"]
