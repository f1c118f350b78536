"""Outputs appear whole or not at all: written beside, synced to the disk, then renamed."""

import errno
import glob
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairat.errors import Hint, UserError

ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which a leftover of another machine counts as nobody's: whether its process lives cannot be asked here."""

_LEFTOVER = re.compile(r"\..+\.(?P<host>[^.]+)-(?P<process>\d+)\.(\w+\.)?part")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; renames it to `path` on success, removes it on failure.

    The content is on the disk before the name is, so that a power cut leaves no empty file. Who may read the file is what the
    user's umask says, whatever the writer thinks.

    Raises:
        UserError: the disk is full.
    """
    beside = _beside(path)
    try:
        with disk_space_explained(path, "Nothing was half-written"):
            mode = _usual_mode(beside)
            yield beside
            # Safetensors makes files that only their owner may read: no colleague could use a shared cache.
            beside.chmod(mode)
            synced(beside)
        beside.replace(path)
        synced(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Gives a fresh directory beside `path` to fill; it takes the place of `path` on success, and is removed on failure.

    Raises:
        UserError: the disk is full.
    """
    beside, replaced = (_beside(path, role) for role in ("new.", "old."))
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with disk_space_explained(path, "Nothing was half-written"):
            beside.mkdir()
            yield beside
        if path.is_dir():
            # Out of the way first: removing takes a while, and half a directory must never carry the name.
            path.replace(replaced)
        beside.replace(path)
        synced(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def require_space(directory: Path, needed: int) -> None:
    """Makes a directory, and sees to it that hours are not spent on what cannot be written there.

    Args:
        directory: where something will be written.
        needed: bytes.

    Raises:
        UserError: it cannot be written, or its disk has less space than that.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UserError(
            f"{directory} cannot be written ({error.strerror}). Make it writable, or run the command as the user to whom it "
            "belongs; nothing was begun."
        ) from None
    if (free := shutil.disk_usage(directory).free) < needed:
        raise UserError(
            f"{directory} needs {needed / 2**20:,.0f} MiB, but its disk has {free / 2**20:,.0f} MiB free. Free some space and "
            "run the command again; nothing was begun.",
            Hint.FREE,
        )


@contextmanager
def disk_space_explained(path: Path, state: str) -> Iterator[None]:
    """Turns the system's complaint that there is no space to write `path` into words for the user.

    Args:
        path: what is being written.
        state: a sentence, without its full stop, on what is there now.

    Raises:
        UserError: the disk, or the user's share of it, is full.
    """
    try:
        yield
    except Exception as error:
        if _number(error) not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free / 2**30
        raise UserError(
            f"No space is left to write {path} ({free:.1f} GiB free on its disk). {state}. Free some space "
            "and run the command again: finished stages are not repeated.",
            Hint.FREE,
        ) from error


def _number(error: Exception) -> int | None:
    """The system's number of an error; libraries of other languages tell it in their text only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)|\[errno (\d+)\]", str(error), re.IGNORECASE)
    return int(found[1] or found[2]) if found else None


def synced(path: Path) -> None:
    """Returns when the content of a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, role: str = "") -> Path:
    """A name beside `path` that says who writes there; leftovers of processes that were killed are removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if _is_abandoned(leftover):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}.{role}part")


def _is_abandoned(leftover: Path) -> bool:
    found = _LEFTOVER.fullmatch(leftover.name)
    if found is None:
        return False
    if found["host"] == _host():
        return not _lives(int(found["process"]))
    return time.time() - leftover.stat().st_mtime > ABANDONED_AFTER


def _host() -> str:
    return re.sub(r"\W", "_", platform.node()) or "unknown"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def _usual_mode(path: Path) -> int:
    """The mode of a file that is simply opened for writing: the umask can be asked for only by changing it."""
    path.touch()
    mode = path.stat().st_mode
    path.unlink()
    return mode
