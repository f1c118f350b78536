"""Files inside archives and directories, one after the other, without writing any of them to disk."""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Self

from fairat.errors import UserError
from fairat.progress import progress

_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, NotImplementedError)
"""What reading a damaged archive raises, or a .zip that is packed in an uncommon way."""

MEMBER_LIMIT = 8 << 30
"""Bytes that one file of an archive may have, unpacked: 50 times what the largest of CIFAR-10-C has."""

TOTAL_LIMIT = 256 << 30
"""Bytes that all files of an archive may have, unpacked: more than the images of ImageNet."""

HEADER_LIMIT = 1 << 20
"""Bytes that the long name of a file in a .tar may have; `tarfile` reads them at once."""

_UTF8 = 0x800
"""The flag of a file in a .zip whose name is UTF-8; other names are of a machine's own encoding, which no flag tells."""

_LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def members(path: Path) -> Iterator[tuple[PurePosixPath, bytes | None]]:
    """Paths and contents in a directory or an archive (.tar, compressed or not, .zip), front to back; folders have none.

    Raises:
        UserError: there is no such file, it is no archive, it is damaged or cut off; one of its members points outside, is
            too large, is a link or a device, or has a name that is not UTF-8; a file of a directory cannot be read.
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
            for name in (*directories, *files):
                _require_utf8(path, f"{inside}/{name}", "Rename it (for many names there is convmv)")
            yield from ((f"{inside}/{name}", None, done) for name in directories)
            yield from ((f"{inside}/{name}", _read(Path(root, name)), done) for name in sorted(files))
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}). Repair or remove it, then run the command again."
        ) from error


def _read(path: Path) -> bytes:
    _require_file(path)
    return path.read_bytes()


def _require_file(path: Path) -> None:
    """Refuses what is no file before it is opened: to open a pipe would be to wait for someone who writes into it."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"{path} is a pipe, a socket or a device, not a file. Remove it, then run the command again.")


def _require_utf8(path: Path, name: str, remedy: str) -> None:
    """Refuses names with bytes that are no UTF-8, which Python reads as lone surrogates."""
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if shown != name:
        raise UserError(f"{path}: the name {shown} is not UTF-8. {remedy}, then run the command again.")


def _archive(path: Path) -> Iterator[tuple[str, bytes | None, float]]:
    try:
        _require_file(path)
        with path.open("rb") as file:
            is_zip = file.peek(2).startswith(b"PK")
        yield from _zip(path) if is_zip else _tar(path)
    except _DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path} is no .tar, .tar.gz, .tar.bz2, .tar.xz or .zip, or is damaged or cut off ({reason}). "
            f"Compare its size ({path.stat().st_size:,} bytes) with the original's and fetch or pack it again."
        ) from error


def _zip(path: Path) -> Iterator[tuple[str, bytes | None, float]]:
    with zipfile.ZipFile(path) as archive:
        found, total = archive.infolist(), 0
        for number, info in enumerate(found):
            # Some programs of Windows write its own separator.
            name = info.filename.replace("\\", "/")
            if not (info.flag_bits & _UTF8 or name.isascii()):
                raise UserError(
                    f"{path}: a name that this machine reads as {name} is not marked as UTF-8, so nobody can tell what it "
                    "is. Pack the files again where their names look right: python -m zipfile -c images.zip train test."
                )
            total += info.file_size
            _require_harmless(path, name, info.file_size, total)
            if info.flag_bits & 1:
                raise UserError(f"{path} is encrypted ({name}). Pack it again without a password.")
            content = None if name.endswith("/") else _whole(archive.open(info), info.file_size)
            yield name, content, number / len(found)


def _tar(path: Path) -> Iterator[tuple[str, bytes | None, float]]:
    size, total = path.stat().st_size, 0
    with path.open("rb") as file, tarfile.open(fileobj=file, tarinfo=_StrictTarInfo, encoding="utf-8") as archive:
        for info in archive:
            _require_utf8(path, info.name, "Rename the file (for many names there is convmv) and pack it again")
            if info.issym() or info.islnk():
                raise UserError(
                    f"{path}: {info.name} is a link. Pack the files themselves: tar --dereference --hard-dereference."
                )
            if info.isdev():
                raise UserError(f"{path}: {info.name} is a pipe or a device, not a file. Pack the files without it.")
            total += info.size
            _require_harmless(path, info.name, info.size, total)
            contents = archive.extractfile(info)
            if contents or info.isdir():
                yield info.name, _whole(contents, info.size) if contents else None, file.tell() / size
        # The end is read as well: a compressed file carries its checksum there.
        while archive.fileobj and (end := archive.fileobj.read(1 << 20)):
            total += len(end)
            _require_harmless(path, "its end", 0, total)


def _require_harmless(path: Path, name: str, size: int, total: int) -> None:
    """Refuses what would lie outside, on Windows too, and what is too large to be a file of images."""
    inside = PureWindowsPath(name)
    if inside.anchor or ".." in inside.parts:
        raise UserError(f"{path}: {name} points outside of the archive. Nothing was written; do not trust its origin.")
    if size > MEMBER_LIMIT or total > TOTAL_LIMIT:
        found = f"{name} has {size:,} bytes" if size > MEMBER_LIMIT else f"up to {name} there are {total:,} bytes"
        raise UserError(
            f"{path}: unpacked, {found}; {MEMBER_LIMIT:,} are read of a file, and {TOTAL_LIMIT:,} in all. Do not trust its "
            "origin; if you know it, unpack it yourself and name the directory."
        )


def _whole(file: IO[bytes], size: int) -> bytes:
    """The content of a file, which must have the size that was announced."""
    with file:
        content = file.read(size)
        if len(content) != size or file.read(1):
            raise EOFError(f"a file of {size:,} bytes has another size")
    return content


class _StrictTarInfo(tarfile.TarInfo):
    """Reads headers without mercy: by default a damaged header, or a missing one, counts as the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Reads the header in `buf`; only a block of zeros may end the archive."""
        try:
            info = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == bytes(tarfile.BLOCKSIZE):
                raise
            raise tarfile.ReadError(str(error)) from None
        if info.type in _LONG_HEADERS and info.size > HEADER_LIMIT:
            raise tarfile.ReadError(f"a name of {info.size:,} bytes")
        return info
