"""Outputs appear whole or not at all: written beside, then renamed."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairat.errors import Hint, UserError


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; renames it to `path` on success, removes it on failure.

    Who may read the file is what the user's umask says, whatever the writer thinks.

    Raises:
        UserError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with disk_space_explained(path, "Nothing was half-written"):
            mode = _usual_mode(beside)
            yield beside
            # Safetensors makes files that only their owner may read: no colleague could use a shared cache.
            beside.chmod(mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Gives a fresh directory beside `path` to fill; it takes the place of `path` on success, and is removed on failure.

    Raises:
        UserError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, replaced = (path.with_name(f".{path.name}.{os.getpid()}.{role}.part") for role in ("new", "old"))
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with disk_space_explained(path, "Nothing was half-written"):
            beside.mkdir()
            yield beside
        if path.is_dir():
            # Out of the way first: removing takes a while, and half a directory must never carry the name.
            path.replace(replaced)
        beside.replace(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free / 2**30
        raise UserError(
            f"No space is left to write {path} ({free:.1f} GiB free on its disk). {state}. Free some space "
            "and run the command again: finished stages are not repeated.",
            Hint.FREE,
        ) from error


def _usual_mode(path: Path) -> int:
    """The mode of a file that is simply opened for writing: the umask can be asked for only by changing it."""
    path.touch()
    mode = path.stat().st_mode
    path.unlink()
    return mode
