"""Outputs appear whole or not at all, and may be read by whom the user lets."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from fairat import files
from fairat.errors import UserError
from fairat.files import require_space, whole_directory, whole_file
from safetensors.torch import save_file

WHOLE = pytest.mark.parametrize("whole", [whole_file, whole_directory])
Whole = Callable[[Path], AbstractContextManager[Path]]


def write(place: Path, whole: Whole, text: str) -> None:
    (place if whole is whole_file else place / "content").write_text(text)


def read(place: Path) -> str:
    return (place if place.is_file() else place / "content").read_text()


@WHOLE
def test_what_was_written_replaces_what_was_there(whole: Whole, tmp_path: Path) -> None:
    for text in ("old", "new"):
        with whole(tmp_path / "deep" / "name") as beside:
            write(beside, whole, text)
    assert read(tmp_path / "deep" / "name") == "new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["name"]


@WHOLE
def test_a_failure_leaves_what_was_there_and_nothing_else(whole: Whole, tmp_path: Path) -> None:
    with whole(tmp_path / "name") as beside:
        write(beside, whole, "old")
    with pytest.raises(KeyError), whole(tmp_path / "name") as beside:
        write(beside, whole, "half")
        raise KeyError
    assert read(tmp_path / "name") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


@WHOLE
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_explained_and_leaves_nothing(whole: Whole, code: int, tmp_path: Path) -> None:
    with (
        pytest.raises(
            UserError, match=r"No space is left to write .*name \(.* GiB free .*Nothing was half-written\. Free"
        ),
        whole(tmp_path / "name") as beside,
    ):
        write(beside, whole, "half")
        raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


@WHOLE
def test_other_errors_of_the_system_are_not_called_a_full_disk(whole: Whole, tmp_path: Path) -> None:
    with pytest.raises(PermissionError), whole(tmp_path / "name"):
        raise PermissionError


def test_a_file_that_nobody_wrote_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "name"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_umask_alone_says_who_may_read_a_file(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with whole_file(tmp_path / "name") as beside:
            save_file({"values": torch.zeros(2)}, beside)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "name").stat().st_mode) == mode


def test_a_directory_that_cannot_be_written_is_refused_before_anything_begins(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"file/deep cannot be written \(Not a directory\)\. Make it .*; nothing was begun"
    ):
        require_space(tmp_path / "file/deep", 1)


def test_a_disk_without_the_space_is_refused_before_anything_begins(tmp_path: Path) -> None:
    require_space(tmp_path / "deep", 1)
    with pytest.raises(UserError, match=r"deep needs 1,\d{3},\d{3},\d{3} MiB, but its disk has .* MiB free\. Free"):
        require_space(tmp_path / "deep", 1 << 50)


def test_leftovers_of_dead_processes_are_removed_and_those_of_others_stay(tmp_path: Path) -> None:
    host, alive = files._host(), os.getppid()
    dead, living, old = f".name.{host}-999999999.part", f".name.{host}-{alive}.part", ".name.elsewhere-1.new.part"
    for name in (dead, living, old, ".name.elsewhere-2.part", ".other.part"):
        (tmp_path / name).touch()
    os.utime(tmp_path / old, (0, 0))
    with whole_file(tmp_path / "name") as beside:
        beside.write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"name", living, ".name.elsewhere-2.part", ".other.part"}


@pytest.mark.parametrize("text", ["I/O error (os error 28)", "[Errno 28] No space left on device"])
def test_a_full_disk_is_known_also_from_the_words_of_other_libraries(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No space is left to write"), whole_file(tmp_path / "name"):
        raise RuntimeError(text)
