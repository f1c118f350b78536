"""Archives of every kind read alike, and none that is damaged, or reaches outside, is read in silence."""

import bz2
import gzip
import io
import lzma
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from fairat.data import archives
from fairat.data.archives import members
from fairat.errors import UserError
from fairat.progress import Advance, Listener, told_to

FILES = {"train/a/1.png": b"one" * 300, "train/b/2.png": b"two" * 700, "test/a/3.png": b""}
KINDS = ("tar", "tar.gz", "tar.bz2", "tar.xz", "zip")


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """Writes an archive of the kind that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    openers = {".tar": Path.open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    with openers[path.suffix](path, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {str(name): content for name, content in members(path) if content is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_archive_gives_the_files_that_were_packed(kind: str, tmp_path: Path) -> None:
    # A misleading name does no harm: the first bytes say what it is.
    path = pack(tmp_path / f"archive.{kind}", FILES).rename(tmp_path / "archive.bin")
    assert contents(path) == FILES


def test_a_directory_gives_its_files_and_its_empty_folders(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "test" / "empty").mkdir()
    assert contents(tmp_path) == FILES
    assert "test/empty" in {str(name) for name, content in members(tmp_path) if content is None}


def test_progress_grows_from_nothing_towards_one(tmp_path: Path) -> None:
    told: list[float] = []

    class Ears(Listener):
        def progress(self, description: str, total: float, unit: str) -> AbstractContextManager[Advance]:
            assert (description, total, unit) == ("reading a.zip", 100, "%")
            return nullcontext(lambda by, note: told.append(by))

    with told_to(Ears()):
        list(members(pack(tmp_path / "a.zip", FILES)))
    assert all(by > 0 for by in told)
    assert 50 < sum(told) < 100


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_anywhere_is_complete_or_an_error(kind: str, tmp_path: Path) -> None:
    whole = pack(tmp_path / f"archive.{kind}", FILES).read_bytes()
    cut, refused = tmp_path / "cut", 0
    for length in range(0, len(whole), 1 + len(whole) // 60):
        cut.write_bytes(whole[:length])
        try:
            assert contents(cut) == FILES
        except UserError as error:
            assert f"({length:,} bytes) with the original's and fetch or pack it again." in str(error)
            refused += 1
    # A plain archive ends in zeros, of which it may lose some; the others have a checksum at their very end.
    assert refused > 10 if kind == "tar" else refused > 50


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_flipped_bit_is_noticed(kind: str, tmp_path: Path) -> None:
    path = pack(tmp_path / f"archive.{kind}", {"a": b"".join(bytes([value]) * 9 for value in range(256))})
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 16
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="or is damaged or cut off"):
        contents(path)


def test_a_file_that_is_no_archive_is_told_what_would_do(tmp_path: Path) -> None:
    (tmp_path / "page.tar.gz").write_text("<html>Sign in to continue</html>")
    with pytest.raises(
        UserError, match=r"page\.tar\.gz is no \.tar, \.tar\.gz, \.tar\.bz2, \.tar\.xz or \.zip, or is damaged"
    ):
        contents(tmp_path / "page.tar.gz")


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"There is no file or directory .*images\. Correct the path, or put the images there"
    ):
        contents(tmp_path / "images")


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "train/../../evil.png",
        "/tmp/evil.png",
        "..\\evil.png",
        "train\\..\\..\\evil.png",
        "C:\\evil.png",
        "c:evil.png",
        "\\\\host\\share\\evil.png",
    ],
)
def test_a_member_that_points_outside_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    path = pack(tmp_path / f"archive.{kind}", {"train/a/1.png": b"1", name: b"2"})
    with pytest.raises(UserError, match=r"evil\.png points outside of the archive\. Nothing was written; do not trust"):
        contents(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_is_refused_with_the_command_that_packs_files(kind: bytes, tmp_path: Path) -> None:
    link = tarfile.TarInfo("train/a/1.png")
    link.type, link.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(link)
    with pytest.raises(UserError, match=r"1\.png is a link\. Pack the files themselves: tar --dereference"):
        contents(tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(8, 1, r"is encrypted \(train/a/1\.png\)\. Pack it again"), (10, 99, "or is damaged or cut off .*not supported")],
)
def test_a_zip_that_cannot_be_unpacked_is_refused(offset: int, value: int, words: str, tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", FILES)
    content = bytearray(path.read_bytes())
    for start, shift in ((0, -2), (content.index(b"PK\x01\x02"), 0)):  # the file's own header, and the directory's
        content[start + offset + shift] = value
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        contents(path)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (
            lambda place: place.symlink_to("nowhere.png"),
            r"1\.png cannot be read \(No such file or directory\)\. Repair",
        ),
        (
            lambda place: place.symlink_to(place.parent),
            r"cannot be read \(Too many levels of symbolic links\)\. Repair",
        ),
    ],
    ids=["to nothing", "in a circle"],
)
def test_a_broken_link_in_a_directory_is_named(link: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    link(tmp_path / "train" / "a" / "1.png")
    with pytest.raises(UserError, match=words):
        contents(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(UserError, match=r"closed cannot be read \(Permission denied\)"):
        contents(tmp_path)


def test_a_zip_with_the_separators_of_windows_equals_the_others(tmp_path: Path) -> None:
    names = {name.replace("/", "\\"): content for name, content in FILES.items()}
    path = pack(tmp_path / "a.zip", {"train\\": b"", **names})
    assert contents(path) == FILES
    assert [str(name) for name, content in members(path) if content is None] == ["train"]


@pytest.mark.parametrize("kind", KINDS)
def test_names_in_utf8_are_read_as_they_are(kind: str, tmp_path: Path) -> None:
    files = {"train/猫/1.png": b"1", "train/café/1.png": b"2"}
    assert contents(pack(tmp_path / f"a.{kind}", files)) == files


def test_a_zip_with_names_of_unknown_encoding_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"train/@@@@/1.png": b"1"})
    path.write_bytes(path.read_bytes().replace(b"@@@@", "猫猫".encode("gbk")))
    shown = "猫猫".encode("gbk").decode("cp437")
    with pytest.raises(UserError) as caught:
        contents(path)
    assert str(caught.value) == (
        f"{path}: a name that this machine reads as train/{shown}/1.png is not marked as UTF-8, so nobody can tell what it "
        "is. Pack the files again where their names look right: python -m zipfile -c images.zip train test."
    )


def test_a_tar_with_names_that_are_not_utf8_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("train/café/1.png"))
    with pytest.raises(UserError) as caught:
        contents(tmp_path / "a.tar")
    assert str(caught.value) == (
        f"{tmp_path / 'a.tar'}: the name train/caf\\xe9/1.png is not UTF-8. Rename the file (for many names there is convmv) "
        "and pack it again, then run the command again."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="other systems store no such names")
@pytest.mark.parametrize("is_folder", [True, False])
def test_a_name_in_a_directory_that_is_not_utf8_is_refused(is_folder: bool, tmp_path: Path) -> None:
    place = tmp_path / "train" / os.fsdecode(b"caf\xe9")
    place.parent.mkdir()
    _ = place.mkdir() if is_folder else place.touch()
    with pytest.raises(UserError) as caught:
        contents(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the name train/caf\\xe9 is not UTF-8. Rename it (for many names there is convmv), then run the "
        "command again."
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in directories")
def test_a_pipe_in_a_directory_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.png")
    for path in (tmp_path, tmp_path / "1.png"):
        with pytest.raises(
            UserError, match=r"1\.png is a pipe, a socket or a device, not a file\. Remove it, then run"
        ):
            contents(path)


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_pipe_or_a_device_in_an_archive_is_refused(kind: bytes, tmp_path: Path) -> None:
    info = tarfile.TarInfo("train/a/1.png")
    info.type = kind
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(UserError, match=r"1\.png is a pipe or a device, not a file\. Pack the files without it\."):
        contents(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limit", "size", "words"),
    [
        ("MEMBER_LIMIT", 2000, r"unpacked, train/b/2\.png has 2,100 bytes; 2,000 are read of a file, and .* in all"),
        (
            "TOTAL_LIMIT",
            2500,
            r"unpacked, up to train/b/2\.png there are 3,000 bytes; .* and 2,500 in all\. Do not trust",
        ),
    ],
)
def test_an_archive_that_would_fill_the_memory_is_refused(
    kind: str, limit: str, size: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / f"a.{kind}", FILES)
    monkeypatch.setattr(archives, limit, size)
    with pytest.raises(UserError, match=words):
        contents(path)


def test_a_zip_that_holds_more_than_it_announces_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", {"train/a/1.png": bytes(5000)})
    path.write_bytes(path.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(UserError, match=r"a\.zip is no .*or is damaged or cut off"):
        contents(path)


def test_the_zeros_behind_an_archive_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.tar.gz", FILES)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1 << 20)))
    assert contents(path) == FILES
    monkeypatch.setattr(archives, "TOTAL_LIMIT", 1 << 19)
    with pytest.raises(UserError, match=r"unpacked, up to its end there are 1,0\d\d,\d\d\d bytes"):
        contents(path)


def test_a_name_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.tar", {"train/1.png": b"1", f"train/{'a' * 5000}": b"1"})
    monkeypatch.setattr(archives, "HEADER_LIMIT", 4000)
    with pytest.raises(UserError, match=r"or is damaged or cut off \(a name of 5,\d\d\d bytes\)"):
        contents(path)
