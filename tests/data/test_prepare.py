"""From a source to data/<suite>: whole, the same everywhere, and told in words when it cannot be done."""

import hashlib
import shutil
import stat
import sys
from pathlib import Path

import pytest
import torch
from fairat.console import run_app
from fairat.data import canonical
from fairat.data.canonical import Manifest, Split, load_split
from fairat.data.prepare import prepare
from fairat.errors import UserError
from fairat.settings.data import Cifar10, Cifar100, Data, Digits, ImageFolder
from safetensors import SafetensorError

from stages.__main__ import main as run
from stages.prepare import main
from tests.data.archive_server import ArchiveServer, serving
from tests.data.official import cifar10_files, cifar100_files, pack_pickles
from tests.data.test_imagefolder import NAMES, encoded, folder, image

SPLITS = ("train", "validation", "test")


def loaded(directory: Path) -> dict[str, Split]:
    return {name: load_split(directory / f"{name}.safetensors") for name in SPLITS}


def bytes_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_digits_become_three_splits_and_their_manifest(tmp_path: Path) -> None:
    manifest = prepare("demo", Data(source=Digits(), validation_fraction=0.1), tmp_path / "out", tmp_path / "archives")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "manifest.json",
        *(f"{name}.safetensors" for name in SPLITS),
    }
    assert Manifest.load(tmp_path / "out") == manifest
    splits = loaded(tmp_path / "out")
    assert manifest.counts == {name: split.counts for name, split in splits.items()}
    assert manifest.sha256 == {name: split.sha256 for name, split in splits.items()}
    assert manifest.image_shape == (1, 8, 8)
    assert sum(map(len, splits.values())) == 1797
    values = splits["train"].images.double() / 255
    assert manifest.mean == pytest.approx([values.mean().item()])
    assert manifest.std == pytest.approx([values.std(correction=0).item()])
    assert list(manifest.versions) == ["scikit-learn"]
    assert not (tmp_path / "archives").exists()


def test_the_same_source_gives_the_same_bytes_that_everybody_may_read(tmp_path: Path) -> None:
    for name in ("one", "other"):
        prepare("demo", Data(source=Digits(), validation_fraction=0.1), tmp_path / name, tmp_path)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "other")
    (tmp_path / "plain").touch()
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "one").iterdir()} == {usual}


def test_cifar10_comes_over_the_network_once(tmp_path: Path) -> None:
    files = cifar10_files(images_per_batch=40)
    content = pack_pickles(tmp_path / "cifar.tar.gz", files).read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    with serving(ArchiveServer(content, cuts=[])) as server:
        source = Cifar10(url=server.url, md5=md5)
        manifest = prepare(
            "cifar10", Data(source=source, validation_fraction=0.1), tmp_path / "out", tmp_path / "archives"
        )
    assert manifest.archives[0].md5 == md5
    assert {name: len(split) for name, split in loaded(tmp_path / "out").items()} == {
        "train": 180,
        "validation": 20,
        "test": 40,
    }
    # The server is gone; what it gave is still there.
    assert (
        prepare("cifar10", Data(source=source, validation_fraction=0.1), tmp_path / "again", tmp_path / "archives")
        == manifest
    )
    assert bytes_of(tmp_path / "again") == bytes_of(tmp_path / "out")


def test_an_archive_of_the_user_s_gives_what_the_download_gives(tmp_path: Path) -> None:
    path = pack_pickles(tmp_path / "mine.tar.gz", cifar100_files(), "cifar-100-python")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    manifest = prepare(
        "cifar100", Data(source=Cifar100(archive=path, md5=md5), validation_fraction=0.5), tmp_path / "out", tmp_path
    )
    assert set(manifest.counts["validation"].values()) == {1}
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_a_source_that_fails_leaves_the_data_that_was_there(tmp_path: Path) -> None:
    prepare("toy", Data(source=Digits(), validation_fraction=0.1), tmp_path / "out", tmp_path)
    before = bytes_of(tmp_path / "out")
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(pack_pickles(tmp_path / "a.tar.gz", cifar10_files()).read_bytes()[:-1000])
    source = Cifar10(archive=broken, md5=hashlib.md5(broken.read_bytes()).hexdigest())
    with pytest.raises(UserError, match=r"broken\.tar\.gz is no .*, or is damaged or cut off"):
        prepare("toy", Data(source=source, validation_fraction=0.1), tmp_path / "out", tmp_path)
    assert bytes_of(tmp_path / "out") == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "broken.tar.gz", "out"}


def test_an_archive_without_test_images_of_a_class_is_refused(tmp_path: Path) -> None:
    files = cifar10_files(images_per_batch=40)
    files["test_batch"]["labels"] = [0] * 40
    path = pack_pickles(tmp_path / "mine.tar.gz", files)
    source = Cifar10(archive=path, md5=hashlib.md5(path.read_bytes()).hexdigest())
    with pytest.raises(
        UserError, match=r"^There are no test images of 'automobile', 'bird', 'cat', 'deer', 'dog', \.\.\.; every"
    ):
        prepare("toy", Data(source=source, validation_fraction=0.1), tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_up_at_the_last_split_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = canonical.save_file

    def full_at_the_last(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        if "test" in path.name:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save(tensors, path, metadata)

    monkeypatch.setattr(canonical, "save_file", full_at_the_last)
    with pytest.raises(UserError, match=r"No space is left to write .*Free some space"):
        prepare("toy", Data(source=Digits(), validation_fraction=0.1), tmp_path / "out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_moving_a_folder_of_images_changes_no_byte(tmp_path: Path) -> None:
    files = {name: encoded(image(seed)) for seed, name in enumerate((*NAMES, "train/dog/b.png"))}
    for name in ("here", "there"):
        source = ImageFolder(path=folder(tmp_path / name, files))
        prepare("toy", Data(source=source, validation_fraction=0.5), tmp_path / f"from {name}", tmp_path)
    assert bytes_of(tmp_path / "from here") == bytes_of(tmp_path / "from there")


def test_the_stage_prepares_the_demo_and_says_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("params.yaml", "runs.yaml", "own.yaml"):
        shutil.copy(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    main("demo")
    assert "1,302 train, 140 validation, 250 test images of 1x8x8, 10 classes" in capsys.readouterr().out
    assert Manifest.load(Path("data/demo")).dataset == "demo"


def test_the_stage_answers_a_wrong_suite_in_one_paragraph(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stages", "prepare", "cifar11"])
    with pytest.raises(SystemExit) as stopped:
        run_app(run)
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: There is no suite 'cifar11' (did you mean 'cifar10'?); there are: demo,")
    assert said.count("\n") == 1
