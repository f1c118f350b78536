"""Files inside archives and directories, one after the other, without writing any of them to disk."""

import bz2
import gzip
import hashlib
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, NoReturn, Self, cast

from fairat.errors import UserError

KINDS = ".tar, .tar.gz, .tar.bz2, .tar.xz or .zip"

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, NotImplementedError)
"""What reading a damaged archive raises, or a .zip that is packed in an uncommon way."""


class Member(NamedTuple):
    """A file or directory of an archive.

    Attributes:
        path: relative to the archive's root.
        content: of a file; None for a directory.
        done: how much of the archive has been read so far, a fraction.
    """

    path: PurePosixPath
    content: bytes | None
    done: float


def members(path: Path) -> Iterator[Member]:
    """Reads a directory or an archive (.tar, compressed or not, .zip) from front to back.

    Raises:
        UserError: there is no such file, it is no archive, it is damaged or cut off, or one of its members points outside;
            a file of a directory cannot be read.
    """
    if path.is_dir():
        try:
            yield from _directory(path)
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}). Repair or remove it, then run the command again."
            ) from error
        return
    if not path.is_file():
        raise UserError(f"There is no file or directory {path}. Correct the path, or put the images there.")
    try:
        with path.open("rb") as file:
            is_zip = file.peek(2).startswith(b"PK")
            yield from _zip(path, file) if is_zip else _tar(path, file)
    except _DAMAGE as error:
        raise UserError(
            f"{path} is no {KINDS}, or is damaged or cut off ({error}). "
            f"Compare its size ({path.stat().st_size:,} bytes) with the original's and fetch or pack it again."
        ) from error


def hashes(path: Path) -> tuple[str, str]:
    """SHA-256 and MD5 of a file, in one pass."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()


def _directory(path: Path) -> Iterator[Member]:
    walk = os.walk(path, onerror=_raise, followlinks=True)
    found = sorted((Path(root), directories, files) for root, directories, files in walk)
    for number, (root, directories, files) in enumerate(found):
        inside = PurePosixPath(root.relative_to(path).as_posix())
        done = number / len(found)
        yield from (Member(inside / name, None, done) for name in sorted(directories))
        for index, name in enumerate(sorted(files)):
            yield Member(inside / name, (root / name).read_bytes(), done + index / len(files) / len(found))


def _raise(error: OSError) -> NoReturn:
    """By default a directory that cannot be listed counts as empty: its images would be missed in silence."""
    raise error


def _zip(path: Path, file: BufferedReader) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        found = archive.infolist()
        for number, info in enumerate(found):
            if info.flag_bits & 1:
                raise UserError(f"{path} is encrypted ({info.filename}). Pack it again without a password.")
            content = None if info.is_dir() else archive.read(info)
            yield Member(_inside(path, info.filename), content, number / len(found))


def _tar(path: Path, file: BufferedReader) -> Iterator[Member]:
    size = path.stat().st_size
    stream = _unpacked(file)
    with tarfile.open(fileobj=stream, mode="r:", tarinfo=_StrictTarInfo) as archive:
        for info in archive:
            if info.issym() or info.islnk():
                raise UserError(
                    f"{path}: {info.name} is a link. Pack the files themselves: tar --dereference --hard-dereference."
                )
            contents = archive.extractfile(info)
            if contents or info.isdir():
                yield Member(_inside(path, info.name), contents.read() if contents else None, file.tell() / size)
    # The end is read as well: a compressed file carries its checksum there.
    while stream.read(1 << 20):
        pass


def _unpacked(file: BufferedReader) -> IO[bytes]:
    head = file.peek(6)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if head.startswith(b"BZh"):
        return cast(IO[bytes], bz2.BZ2File(file))
    if head.startswith(b"\xfd7zXZ\x00"):
        return cast(IO[bytes], lzma.open(file))
    return file


class _StrictTarInfo(tarfile.TarInfo):
    """Reads headers without mercy: by default a damaged header, or a missing one, counts as the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Reads the header in `buf`; only a block of zeros may end the archive."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == bytes(tarfile.BLOCKSIZE):
                raise
            raise tarfile.ReadError(str(error)) from None


def _inside(archive: Path, name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(
            f"{archive}: {name} points outside of the archive. Nothing was written; do not trust its origin."
        )
    return path
