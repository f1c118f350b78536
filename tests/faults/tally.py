"""Every kind of fault, tried on every stage."""

import random
import shutil
import socket
import statistics
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fairat import paths

from tests.faults.project import (
    COMMANDS,
    SUITE,
    Ended,
    fresh,
    import_libraries,
    inside,
    leftovers,
    make,
    outcome,
    outputs,
    run,
)


@dataclass
class Tally:
    """What came of one kind of fault in one stage.

    Attributes:
        lost: seconds of work that had to be done again, of each try that tells it.
        failures: what did not hold, in words.
    """

    what: str
    tried: int = 0
    held: int = 0
    lost: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def count(self, problem: str) -> None:
        """One try; what is wrong with how it ended, or nothing."""
        self.tried += 1
        self.held += not problem
        self.failures += [problem] * bool(problem)

    def show(self) -> "Tally":
        """Prints itself."""
        lost = f", lost work {statistics.median(self.lost):.2f} s (worst {max(self.lost):.2f} s)" if self.lost else ""
        print(f"  {self.what}: tried {self.tried}, held {self.held}{lost}", flush=True)
        for failure in self.failures[:5]:
            print(f"    {failure}", flush=True)
        return self


class Study:
    """A project, undisturbed: what each stage leaves, how long it takes, and the state of things before it."""

    def __init__(self, directory: Path, number: int, seed: int) -> None:
        import_libraries()
        self.place, self.number, self.random = directory / "tried", number, random.Random(seed)
        self.before: dict[str, Path] = {}
        self.outcomes: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        project = directory / "whole"
        make(project)
        for stage in COMMANDS:
            self.before[stage] = fresh(project, directory / "before" / stage)
            ended = run(project, stage)
            assert ended.status == 0, ended.text
            self.seconds[stage], self.outcomes[stage] = (
                ended.seconds,
                inside(project, lambda stage=stage: outcome(stage)),
            )
        self.whole = project

    def try_again(self, stage: str, again: Ended | None = None) -> str:
        """Runs a stage where a fault left the project; what is wrong with what it leaves, or nothing."""
        again = again or run(self.place, stage)
        if again.status:
            return f"{stage}: the next try ended with {again.status}: {again.text[-300:]}"
        if inside(self.place, lambda: outcome(stage)) != self.outcomes[stage]:
            return f"{stage}: other bytes than undisturbed"
        left = leftovers(self.place)
        return f"{stage}: left {', '.join(left)}" if left else ""


def kills_at_random(study: Study) -> Iterator[Tally]:
    """SIGKILL at a random moment; the same command then leaves the same bytes."""
    print("killed at a random moment:", flush=True)
    for stage in COMMANDS:
        tally = Tally(stage)
        for _ in range(study.number):
            fresh(study.before[stage], study.place)
            killed = run(study.place, stage, kill_after=study.random.uniform(0, study.seconds[stage]))
            again = run(study.place, stage)
            tally.count(study.try_again(stage, again))
            if killed.status < 0:
                tally.lost.append(max(killed.seconds + again.seconds - study.seconds[stage], 0))
        yield tally.show()


def kills_at_changes(study: Study) -> Iterator[Tally]:
    """SIGKILL before a change of the file system; all changes in turn, or as many as asked for, evenly."""
    print("killed before a change of the file system:", flush=True)
    for stage in COMMANDS:
        tally, changes = Tally(stage), _changes(study, stage)
        for number in sorted({1 + round(part * (changes - 1) / study.number) for part in range(study.number + 1)}):
            fresh(study.before[stage], study.place)
            killed = run(study.place, stage, kill_at=number)
            tally.count(study.try_again(stage) if killed.status < 0 else f"{stage}: {number} of {changes} did not kill")
        yield tally.show()


def _changes(study: Study, stage: str) -> int:
    """How many changes of the file system a stage makes."""
    low, high = 1, 2
    while _is_killed(study, stage, high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_killed(study, stage, middle) else (low, middle)
    return low


def _is_killed(study: Study, stage: str, number: int) -> bool:
    fresh(study.before[stage], study.place)
    return run(study.place, stage, kill_at=number).status < 0


READERS: dict[str, tuple[str, Callable[[Path], list[Path]]]] = {
    "training images": (
        "train",
        lambda at: [at / paths.dataset(SUITE) / f"{name}.safetensors" for name in ("train", "validation")],
    ),
    "test images": ("pgd", lambda at: [at / paths.dataset(SUITE) / "test.safetensors"]),
    "manifests": ("train", lambda at: [at / paths.dataset(SUITE) / "manifest.json"]),
    "corrupted images": ("corruptions", lambda at: sorted((at / paths.corrupted(SUITE)).iterdir())),
    "weights and run.json": (
        "square",
        lambda at: [
            at / paths.run(SUITE, "fair_tat", 0) / name for name in ("last.safetensors", "ema.safetensors", "run.json")
        ],
    ),
    "evidence": ("aggregate", lambda at: sorted((at / "results").rglob("*.parquet"))),
}
"""Kinds of files, and the stage that reads them next."""


def flips(study: Study) -> Iterator[Tally]:
    """One bit of a file flips; the next stage that reads it refuses it, or its result is the same to the last bit."""
    print("one bit flipped:", flush=True)
    for kind, (reader, files) in READERS.items():
        tally = Tally(kind)
        for _ in range(study.number):
            fresh(study.before[reader], study.place)
            flipped = _flip(study, files(study.place))
            ended = run(study.place, reader)
            refused = ended.status == 1 and "Error:" in ended.text and "Traceback" not in ended.text
            tally.count("" if refused else study.try_again(reader, ended) and f"{flipped}: {ended.text[-200:]}")
        yield tally.show()
    for stage in ("train", "autoattack"):
        tally = Tally(f"what a killed {stage} keeps")
        while tally.tried < study.number:
            fresh(study.before[stage], study.place)
            run(study.place, stage, kill_after=study.random.uniform(0.5, 1) * study.seconds[stage])
            kept = [path for path in (study.place / ".resume").rglob("*") if path.suffix in (".pt", ".unit")]
            if kept and not (study.place / outputs(stage)[0]).exists():
                _flip(study, kept)
                tally.count(study.try_again(stage))
        yield tally.show()


def _flip(study: Study, files: list[Path]) -> str:
    file = study.random.choice(files)
    content = bytearray(file.read_bytes())
    place = study.random.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    file.write_bytes(content)
    return f"{file.relative_to(study.place)}, bit {place}"


def full_disks(study: Study) -> Iterator[Tally]:
    """The disk is full at one write or another; the stage says so, and once there is space it leaves the same bytes."""
    print("disk full:", flush=True)
    disk = study.place.with_name("disk")
    disk.mkdir(exist_ok=True)
    for stage in COMMANDS:
        tally = Tally(stage)
        need = _size(study.whole) - _size(study.before[stage]) + 65536
        for part in range(1, study.number + 1):
            space = _size(study.before[stage]) + need * part // (study.number + 1)
            if subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={space}", "tmpfs", disk], capture_output=True
            ).returncode:
                print("  not tried: this user may not mount a tmpfs", flush=True)
                return
            try:
                tally.count(_on_full_disk(study, stage, disk / "project"))
            except OSError:
                tally.count("")  # not even the project fits
            finally:
                subprocess.run(["umount", disk], check=True)
        yield tally.show()


def _size(directory: Path) -> int:
    """Bytes on a disk, in whole pages."""
    return sum(4096 * (path.stat().st_size // 4096 + 2) for path in directory.rglob("*"))


def _on_full_disk(study: Study, stage: str, project: Path) -> str:
    fresh(study.before[stage], project)
    ended = run(project, stage, heedless=True)
    if ended.status and ("No space is left" not in ended.text or "Traceback" in ended.text):
        return f"{stage}: {ended.text[-300:]}"
    subprocess.run(["mount", "-o", f"remount,size={_size(study.whole) * 4 + (64 << 20)}", project.parent], check=True)
    shutil.rmtree(study.place, ignore_errors=True)
    shutil.copytree(project, study.place)
    return study.try_again(stage)


def tracking_servers(study: Study) -> Iterator[Tally]:
    """The tracking server is dead, hangs up on everyone, or never answers; the training ends all the same."""
    print("tracking server:", flush=True)
    for what in ("dead", "never answers"):
        tally = Tally(what)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            if what != "dead":
                listener.listen(64)
            fresh(study.before["train"], study.place)
            uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
            tally.count(study.try_again("train", run(study.place, "train", environment={"MLFLOW_TRACKING_URI": uri})))
        yield tally.show()


FAULTS: dict[str, Callable[[Study], Iterator[Tally]]] = {
    "kills": kills_at_random,
    "changes": kills_at_changes,
    "flips": flips,
    "disks": full_disks,
    "servers": tracking_servers,
}
