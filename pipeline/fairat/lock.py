"""One run, one process: whoever makes a run says so, for as long as it lives.

Two locks say it. The first is the operating system's, which a process loses when it dies, however it dies. The second is a
file with a heartbeat (`flufl.lock`), which machines that share a file system see even where they do not share locks; it
expires `LIFETIME` after the last beat.
"""

import json
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from fairat.errors import UserError
from fairat.files import whole_file

LIFETIME = 60
"""Seconds after which a process on another machine that no longer beats counts as dead."""

BEAT = 15
"""Seconds between two beats."""


@contextmanager
def held(directory: Path, what: str) -> Iterator[None]:
    """While it lasts, no other process makes the same thing.

    Args:
        directory: where the lock lies, of its own.
        what: is made, for the user: `demo/at/s0 is being trained`.

    Raises:
        UserError: another process makes it; says which, on which machine, and since when.
    """
    from filelock import FileLock, Timeout
    from flufl.lock import Lock, NotLockedError, TimeOutError

    directory.mkdir(parents=True, exist_ok=True)
    shared = Lock(str(directory / "heartbeat"), lifetime=LIFETIME, default_timeout=1)
    try:
        with FileLock(directory / "process", timeout=0):
            with suppress(NotLockedError):
                if shared.details[0] == shared.hostname:
                    _remove_dead(directory / "heartbeat")
            shared.lock()
            try:
                _sign(directory)
                with _beating(shared):
                    yield
            finally:
                with suppress(NotLockedError):  # where another machine took it for dead
                    shared.unlock()
    except (Timeout, TimeOutError):
        raise UserError(
            f"{what} already, by {_owner(directory)}. Wait for it, or end it; then run the command again: it goes on from "
            "what is kept."
        ) from None


def _remove_dead(heartbeat: Path) -> None:
    """Removes the lock file of a process on this machine; it is dead, or it would hold the operating system's lock."""
    with suppress(FileNotFoundError):
        claim = Path(heartbeat.read_text(encoding="utf-8").strip())
        heartbeat.unlink()
        claim.unlink()


def _sign(directory: Path) -> None:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    with whole_file(directory / "owner.json") as beside:
        beside.write_text(json.dumps({"host": platform.node(), "process": os.getpid(), "since": now}), encoding="utf-8")


def _owner(directory: Path) -> str:
    """`process 4711 on gpu3, since 2026-01-02 03:04:05+00:00`."""
    try:
        owner = json.loads((directory / "owner.json").read_text(encoding="utf-8"))
        return f"process {owner['process']} on {owner['host']}, since {owner['since']}"
    except (OSError, ValueError, KeyError):
        return "another process"


@contextmanager
def _beating(shared: object) -> Iterator[None]:
    """While it lasts, a thread refreshes the lock."""
    from flufl.lock import Lock, NotLockedError

    assert isinstance(shared, Lock)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            # A disk that is full or away for a while costs a beat, not the run.
            with suppress(OSError, NotLockedError):
                shared.refresh()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
