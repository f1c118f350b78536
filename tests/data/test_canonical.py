"""The canonical form: what is read is what was written, and damage is told with the stage that repairs it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fairat.data import canonical
from fairat.data.canonical import (
    CorruptedManifest,
    Manifest,
    Split,
    channel_statistics,
    load_corruption,
    load_split,
    save_split,
)
from fairat.errors import UserError
from safetensors import SafetensorError
from safetensors.torch import save_file

IMAGES = torch.arange(5 * 3 * 2 * 4).to(torch.uint8).view(5, 3, 2, 4)
SPLIT = Split(IMAGES, torch.tensor([0, 2, 1, 1, 0]), ("cat", "dog 'n' Ünder_score", r"\evil{}"))
MANIFEST = Manifest(
    dataset="toy",
    source={"kind": "toy"},
    class_names=("a", "b"),
    image_shape=(3, 2, 4),
    counts={"train": {"a": 1, "b": 2}},
    sha256={"train": "0" * 64, "test": "1" * 64},
    mean=(0.5,),
    std=(0.25,),
)


@pytest.fixture
def corrupted(tmp_path: Path) -> Path:
    """A corrupted test set of one image with the corruption `fog`."""
    directory = tmp_path / "toy-corrupted"
    fog = Split(IMAGES, torch.zeros(5, dtype=torch.int64))
    save_split(directory / "fog.safetensors", fog)
    shape, hashes = (3, 2, 4), {"fog": fog.sha256}
    CorruptedManifest(dataset="toy", source={}, corruptions=("fog",), image_shape=shape, images=1, sha256=hashes).save(
        directory
    )
    return directory


def test_a_split_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    save_split(tmp_path / "train.safetensors", SPLIT)
    loaded = load_split(tmp_path / "train.safetensors")
    assert torch.equal(loaded.images, SPLIT.images)
    assert torch.equal(loaded.labels, SPLIT.labels)
    assert loaded.class_names == SPLIT.class_names
    assert loaded.sha256 == SPLIT.sha256
    assert loaded.counts == dict(zip(SPLIT.class_names, (2, 2, 1), strict=True))


def test_the_same_content_gives_the_same_bytes_whatever_its_layout_in_memory(tmp_path: Path) -> None:
    save_split(tmp_path / "one", SPLIT)
    save_split(tmp_path / "other", replace(SPLIT, images=IMAGES.to(memory_format=torch.channels_last)))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert replace(SPLIT, images=IMAGES.to(memory_format=torch.channels_last)).sha256 == SPLIT.sha256


@pytest.mark.parametrize(
    "other",
    [
        replace(SPLIT, images=IMAGES.index_fill(0, torch.tensor(4), 7)),
        replace(SPLIT, images=IMAGES.view(5, 3, 4, 2)),
        replace(SPLIT, labels=torch.tensor([0, 2, 1, 1, 1])),
        replace(SPLIT, class_names=("cat", "dog", "eel")),
    ],
    ids=["pixels", "shape", "labels", "names"],
)
def test_the_hash_of_a_split_knows_its_every_part(other: Split) -> None:
    assert other.sha256 != SPLIT.sha256


@pytest.mark.parametrize("channels", [1, 3])
def test_channel_statistics_are_mean_and_deviation_of_all_pixels(channels: int) -> None:
    images = torch.randint(256, (7, channels, 3, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mean, std = channel_statistics(images)
    values = images.double().div(255).transpose(0, 1).flatten(1)
    assert mean == pytest.approx(values.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(values.std(1, correction=0).tolist(), rel=1e-12)


def test_a_channel_of_one_value_has_no_deviation() -> None:
    assert channel_statistics(torch.full((3, 1, 2, 2), 51, dtype=torch.uint8)) == ((0.2,), (0.0,))


def test_a_split_that_is_not_there_is_told_with_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"There is no .*toy/train\.safetensors\. Run the stage prepare of toy to make the data"
    ):
        load_split(tmp_path / "toy" / "train.safetensors")


def test_a_split_cut_anywhere_is_told(tmp_path: Path) -> None:
    path = tmp_path / "toy" / "train.safetensors"
    save_split(path, SPLIT)
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(
            UserError, match=r"is damaged \(.*\)\. Delete .*toy\. Run the stage prepare of toy to make the data"
        ):
            load_split(path)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"images": IMAGES.float(), "labels": SPLIT.labels}, r"images are torch\.float32 of shape \(5, 3, 2, 4\), but must"),
        ({"images": IMAGES[0], "labels": SPLIT.labels}, r"must be uint8 \(N, C, H, W\)\. Run the stage"),
        ({"images": IMAGES, "labels": SPLIT.labels[:4]}, r"labels are torch\.int64 of shape \(4,\), but must be int64 \(5,\)"),
        ({"images": IMAGES[:0], "labels": SPLIT.labels[:0]}, r"there are no images\. Run"),
        ({"images": IMAGES, "labels": SPLIT.labels + 1}, r"labels range over \[1, 3\], but there are 3 classes\. Run"),
        ({"images": IMAGES}, r"is damaged \(.*labels.*\)"),
    ],
    ids=["floats", "one image", "a label too few", "empty", "a fourth class", "no labels"],
)  # fmt: skip
def test_a_file_that_is_no_split_is_told(tensors: dict[str, torch.Tensor], words: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "a", {"class_names": json.dumps(SPLIT.class_names)})
    with pytest.raises(UserError, match=words):
        load_split(tmp_path / "a")


def test_a_file_without_class_names_is_no_split(tmp_path: Path) -> None:
    save_file({"images": IMAGES, "labels": SPLIT.labels}, tmp_path / "a")
    with pytest.raises(UserError, match="names no classes: it is not a split"):
        load_split(tmp_path / "a")


def test_a_full_disk_met_by_safetensors_is_explained_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        # As safetensors says it on a full file system.
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(canonical, "save_file", full)
    with pytest.raises(
        UserError, match=r"No space is left to write .*train\.safetensors .*Nothing was half-written\. Free"
    ):
        save_split(tmp_path / "train.safetensors", SPLIT)
    assert list(tmp_path.iterdir()) == []


def test_the_severities_of_a_corruption_are_five_blocks(corrupted: Path) -> None:
    images = Split(IMAGES[:, :1].repeat(2, 1, 1, 1), torch.tensor([1, 0] * 5))
    assert images.severities.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert torch.equal(load_corruption(corrupted, "fog").images, IMAGES)


def test_a_corruption_that_is_not_there_is_answered_with_those_that_are(corrupted: Path) -> None:
    with pytest.raises(UserError, match=r"holds no corruption 'mist'; it holds: fog\."):
        load_corruption(corrupted, "mist")


def test_a_corrupted_test_set_that_is_not_there_is_told_with_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"There is no .*manifest\.json\. Run the stage corrupt of toy to make the corrupted"
    ):
        load_corruption(tmp_path / "toy-corrupted", "fog")


@pytest.mark.parametrize("labels", [[0, 0, 0, 0, 1], [0, 0, 0, 0]])
def test_labels_that_are_not_five_equal_blocks_are_refused(labels: list[int], corrupted: Path) -> None:
    save_file({"images": IMAGES[: len(labels)], "labels": torch.tensor(labels)}, corrupted / "fog.safetensors")
    with pytest.raises(
        UserError, match=r"labels are not the test set's labels five times, once for each severity\. Run the"
    ):
        load_corruption(corrupted, "fog")


def test_a_manifest_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    MANIFEST.save(tmp_path)
    assert Manifest.load(tmp_path) == MANIFEST


def test_the_digest_depends_on_the_content_and_not_on_where_it_came_from() -> None:
    moved = MANIFEST.model_copy(update={"source": {"kind": "other"}, "dataset": "other"})
    changed = MANIFEST.model_copy(update={"sha256": {"train": "2" * 64, "test": "1" * 64}})
    assert moved.digest == MANIFEST.digest != changed.digest


@pytest.mark.parametrize("content", [b"{", b"{}", b"\xff", b'{"dataset": 1, "more": 2}'])
def test_an_unreadable_manifest_is_told_with_the_stage_that_makes_it_anew(content: bytes, tmp_path: Path) -> None:
    directory = tmp_path / "toy"
    directory.mkdir()
    (directory / "manifest.json").write_bytes(content)
    with pytest.raises(
        UserError, match=r"is not a manifest this version can read \(.*\)\. Delete .*toy\. Run the stage prepare of toy"
    ):
        Manifest.load(directory)
