"""The official archives: read as they are, and nothing in them is run."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairat.data.canonical import Split
from fairat.data.cifar import read_cifar
from fairat.errors import UserError

from tests.data.official import CIFAR10_NAMES, cifar10_files, cifar100_files, pack_pickles, python_two_pickle

READ = "is not the official archive for Python"


def assert_holds(split: Split, batches: list[dict[str, Any]], label_key: str) -> None:
    """The pixels and labels of the batches, one batch after the other."""
    pixels = np.concatenate([batch["data"] for batch in batches])
    assert np.array_equal(split.images.flatten(1), pixels)
    assert split.images.shape[1:] == (3, 32, 32)
    assert split.labels.tolist() == [label for batch in batches for label in batch[label_key]]


def test_the_toy_archives_are_what_python_s_own_unpickler_reads_as_the_official_site_says() -> None:
    content = cifar10_files()["data_batch_1"]
    read = pickle.loads(python_two_pickle(content), encoding="bytes")
    assert np.array_equal(read[b"data"], content["data"])
    assert read[b"labels"] == content["labels"]


def test_cifar10_is_its_batches_in_their_order(tmp_path: Path) -> None:
    files = cifar10_files()
    # Training batches are numbered; where they stand in the archive does not matter.
    path = pack_pickles(tmp_path / "a.tar.gz", {**dict(reversed(files.items())), "readme.html": b"<html>"})
    train, test = read_cifar(path, "cifar10")
    assert train.class_names == test.class_names == CIFAR10_NAMES
    assert_holds(train, [files[f"data_batch_{number}"] for number in range(1, 6)], "labels")
    assert_holds(test, [files["test_batch"]], "labels")


def test_the_first_third_of_a_row_is_the_red_channel(tmp_path: Path) -> None:
    files = cifar10_files()
    files["test_batch"]["data"][0] = np.repeat([10, 20, 30], 1024)
    files["test_batch"]["data"][1] = np.tile(np.repeat(np.arange(32), 32), 3)
    _, test = read_cifar(pack_pickles(tmp_path / "a.tar.gz", files), "cifar10")
    assert [channel.unique().tolist() for channel in test.images[0]] == [[10], [20], [30]]
    assert test.images[1, 0, :, 0].tolist() == list(range(32))


def test_cifar100_has_its_fine_classes(tmp_path: Path) -> None:
    files = cifar100_files()
    train, test = read_cifar(pack_pickles(tmp_path / "a.tar.gz", files, "cifar-100-python"), "cifar100")
    assert train.class_names == test.class_names == tuple(f"fine {number}" for number in range(100))
    assert_holds(train, [files["train"]], "fine_labels")
    assert_holds(test, [files["test"]], "fine_labels")


class Evil:
    """Pickled, it asks the reader to run a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


def test_code_in_an_archive_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    evil = cifar10_files() | {"test_batch": pickle.dumps(Evil(Path.touch, made), protocol=2)}
    with pytest.raises(
        UserError, match=r"test_batch was not opened: it asks for \w+\.\w+, which no image needs\. Fetch"
    ):
        read_cifar(pack_pickles(tmp_path / "a.tar.gz", evil), "cifar10")
    assert not made.exists()
    pickle.loads(evil["test_batch"])
    assert made.exists()  # the same bytes do run elsewhere


@pytest.mark.parametrize("function", [eval, exec, getattr, open, np.load, np.fromfile, np.memmap])
def test_only_arrays_can_be_asked_for(function: Callable[..., object], tmp_path: Path) -> None:
    evil = cifar10_files() | {"test_batch": pickle.dumps(Evil(function, "1"), protocol=2)}
    with pytest.raises(UserError, match="which no image needs"):
        read_cifar(pack_pickles(tmp_path / "a.tar.gz", evil), "cifar10")


def test_a_batch_cut_anywhere_is_an_error_of_the_archive(tmp_path: Path) -> None:
    files = cifar10_files(images_per_batch=10)
    content = python_two_pickle(files["batches.meta"])
    for length in range(1, len(content), 7):
        path = pack_pickles(tmp_path / "a.tar.gz", files | {"batches.meta": content[:length]})
        with pytest.raises(UserError, match=r"batches\.meta was not opened: .*\. Fetch the official archive again"):
            read_cifar(path, "cifar10")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda files: files.pop("data_batch_3"), r"\('data_batch_3' is missing\)\. Leave `archive`, `url` and `md5` out"),
        (lambda files: files.pop("batches.meta"), r"\('batches.meta' is missing\)"),
        (lambda files: files["test_batch"].pop("data"), r"\('data' is missing\)"),
        (lambda files: files["test_batch"]["labels"].pop(), r"\(cannot reshape .*\)"),
        (lambda files: files["test_batch"]["labels"].__setitem__(0, 10), r"\(20 labels do not fit 10 classes\)"),
        (lambda files: files["test_batch"].update(data=np.zeros((20, 3072))), r"\(Cannot cast array .*float64.*uint8.*\)"),
        (lambda files: files.update(test_batch=[1, 2]), r"\(list indices must be integers or slices, not str\)"),
    ],
    ids=["no batch", "no names", "no pixels", "a label too few", "an eleventh class", "floats", "a list"],
)  # fmt: skip
def test_what_an_archive_lacks_is_told(edit: Callable[[dict[str, Any]], object], words: str, tmp_path: Path) -> None:
    files = cifar10_files()
    edit(files)
    with pytest.raises(UserError, match=f"{READ}: .*{words}"):
        read_cifar(pack_pickles(tmp_path / "a.tar.gz", files), "cifar10")


def test_the_archive_of_the_other_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{READ}: batches.meta, data_batch_1"):
        read_cifar(pack_pickles(tmp_path / "a.tar.gz", cifar100_files()), "cifar10")
    with pytest.raises(UserError, match=f"{READ}: meta, test, train"):
        read_cifar(pack_pickles(tmp_path / "b.tar.gz", cifar10_files()), "cifar100")
