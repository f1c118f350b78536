"""Files inside archives and directories, one after the other, without writing any of them to disk."""

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Self

from fairat.errors import UserError
from fairat.progress import progress

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, NotImplementedError)
"""What reading a damaged archive raises, or a .zip that is packed in an uncommon way."""


def members(path: Path) -> Iterator[tuple[PurePosixPath, bytes | None]]:
    """Paths and contents in a directory or an archive (.tar, compressed or not, .zip), front to back; folders have none.

    Raises:
        UserError: there is no such file, it is no archive, it is damaged or cut off, or one of its members points outside;
            a file of a directory cannot be read.
    """
    if not path.exists():
        raise UserError(f"There is no file or directory {path}. Correct the path, or put the images there.")
    shown = 0.0
    with progress(f"reading {path.name}", 100, unit="%") as advance:
        for name, content, done in _directory(path) if path.is_dir() else _archive(path):
            yield PurePosixPath(name), content
            if done - shown > 0.01:
                advance(100 * (done - shown), "")
                shown = done


def _directory(path: Path) -> Iterator[tuple[str, bytes | None, float]]:
    """Name, content, and the fraction that has been read; so have archives."""
    try:
        # By default a directory that cannot be listed counts as empty: its images would be missed in silence.
        unlisted: list[OSError] = []
        found = sorted(os.walk(path, onerror=unlisted.append, followlinks=True))
        if unlisted:
            raise unlisted[0]
        for number, (root, directories, files) in enumerate(found):
            inside, done = Path(root).relative_to(path).as_posix(), number / len(found)
            yield from ((f"{inside}/{name}", None, done) for name in directories)
            yield from ((f"{inside}/{name}", Path(root, name).read_bytes(), done) for name in sorted(files))
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}). Repair or remove it, then run the command again."
        ) from error


def _archive(path: Path) -> Iterator[tuple[str, bytes | None, float]]:
    try:
        with path.open("rb") as file:
            is_zip = file.peek(2).startswith(b"PK")
        for name, content, done in _zip(path) if is_zip else _tar(path):
            if name.startswith("/") or ".." in name.split("/"):
                raise UserError(
                    f"{path}: {name} points outside of the archive. Nothing was written; do not trust its origin."
                )
            yield name, content, done
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is no .tar, .tar.gz, .tar.bz2, .tar.xz or .zip, or is damaged or cut off ({reason}). "
            f"Compare its size ({path.stat().st_size:,} bytes) with the original's and fetch or pack it again."
        ) from error


def _zip(path: Path) -> Iterator[tuple[str, bytes | None, float]]:
    with zipfile.ZipFile(path) as archive:
        found = archive.infolist()
        for number, info in enumerate(found):
            if info.flag_bits & 1:
                raise UserError(f"{path} is encrypted ({info.filename}). Pack it again without a password.")
            yield info.filename, None if info.is_dir() else archive.read(info), number / len(found)


def _tar(path: Path) -> Iterator[tuple[str, bytes | None, float]]:
    size = path.stat().st_size
    with path.open("rb") as file, tarfile.open(fileobj=file, tarinfo=_StrictTarInfo) as archive:
        for info in archive:
            if info.issym() or info.islnk():
                raise UserError(
                    f"{path}: {info.name} is a link. Pack the files themselves: tar --dereference --hard-dereference."
                )
            contents = archive.extractfile(info)
            if contents or info.isdir():
                yield info.name, contents.read() if contents else None, file.tell() / size
        # The end is read as well: a compressed file carries its checksum there.
        while archive.fileobj and archive.fileobj.read(1 << 20):
            pass


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
