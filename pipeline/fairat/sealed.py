"""Intermediate results: every file carries the digest of its content, and the file before it is kept.

They outlive kills and power cuts, and a disk that changes a bit: what comes back is what was written, or nothing.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairat.files import whole_file
from fairat.progress import say

_DIGEST_BYTES = hashlib.sha256().digest_size


def predecessor(path: Path) -> Path:
    """Where the file is kept that was at `path` before the present one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def packed(content: Any) -> memoryview:
    """Tensors, numbers and text, in dicts and lists, as bytes that nothing changes any more.

    Args:
        content: what `torch.load` reads back with `weights_only`.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def write(path: Path, content: memoryview, *, keep_previous: bool = False) -> None:
    """Writes what was packed, behind its digest.

    Args:
        path: of the file.
        content: from `packed`.
        keep_previous: whether the file that is there now is kept, see `predecessor`.

    Raises:
        UserError: the disk is full; what was there is still there.
    """
    with whole_file(path) as beside:
        with beside.open("wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
        if keep_previous and path.exists():
            # A second name for the file that is there: at no moment is there none.
            predecessor(path).unlink(missing_ok=True)
            predecessor(path).hardlink_to(path)


def read(path: Path, lost: str, device: Any = "cpu") -> Iterator[Any]:
    """The undamaged contents of `path` and of its predecessor, the newest first.

    Args:
        path: as in `write`.
        lost: what is lost when the file is damaged, for the user: `the epochs since the state before it`.
        device: where tensors are put.
    """
    import torch

    for file in (path, predecessor(path)):
        try:
            stored = file.read_bytes()
        except FileNotFoundError:
            continue
        content = stored[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() == stored[:_DIGEST_BYTES]:
            yield torch.load(io.BytesIO(content), map_location=device, weights_only=True)
        else:
            say(f"{file} is damaged: its content does not match its digest. It is not used; {lost} are lost.")
