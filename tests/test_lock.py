"""One run, one process: who comes second is told who was first, and the dead hold nothing."""

import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fairat import lock
from fairat.errors import UserError
from fairat.lock import held

HOLDER = """
import sys, time
from pathlib import Path
from fairat.lock import held
with held(Path(sys.argv[1]), "x is being trained"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock."""
    environment = {**os.environ, "PYTHONPATH": str(Path("pipeline").resolve())}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "s0")], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_told_which_one_is_first(holder: subprocess.Popen, tmp_path: Path) -> None:
    message = (
        rf"x is being trained already, by process {holder.pid} on {re.escape(platform.node())}, since 20.*\. "
        r"Wait for it, or end it; then run the command again: it goes on from what is kept\."
    )
    with pytest.raises(UserError, match=message), held(tmp_path / "s0", "x is being trained"):
        pass


def test_a_process_that_was_killed_holds_nothing(holder: subprocess.Popen, tmp_path: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    began = time.monotonic()
    for _ in range(2):
        with held(tmp_path / "s0", "x is being trained"):
            pass
    assert time.monotonic() - began < 5
    assert {path.name for path in (tmp_path / "s0").iterdir()} == {"process", "owner.json"}


def of_another_machine(directory: Path, age: float) -> None:
    """The lock of a machine whose file system is shared but not its locks; it beat `age` seconds ago."""
    claim = directory / "heartbeat|elsewhere|4711|1"
    directory.mkdir()
    claim.write_text(str(claim))
    os.link(claim, directory / "heartbeat")
    expires = time.time() - age + lock.LIFETIME
    os.utime(claim, (expires, expires))


def test_a_living_process_of_another_machine_is_respected(tmp_path: Path) -> None:
    of_another_machine(tmp_path / "s0", age=10)
    with (
        pytest.raises(UserError, match="is being trained already, by another process"),
        held(tmp_path / "s0", "x is being trained"),
    ):
        pass
    assert (tmp_path / "s0/heartbeat").exists()


def test_a_process_of_another_machine_that_no_longer_beats_is_dead(tmp_path: Path) -> None:
    of_another_machine(tmp_path / "s0", age=lock.LIFETIME + 30)
    with held(tmp_path / "s0", "x is being trained"):
        pass


def test_a_lock_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.05)
    with held(tmp_path / "s0", "x is being trained"):
        file = tmp_path / "s0/heartbeat"
        os.utime(file, (0, 0))
        time.sleep(0.5)
        assert file.stat().st_mtime > time.time()
