"""A study small enough to be killed hundreds of times, its stages as processes, and what each leaves."""

import hashlib
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from fairat import paths
from fairat.console import run_app, stoppable
from fairat.results.evidence import read_evidence
from fairat.tools.warm import LIBRARIES

import stages

SUITE, KEY = "tiny", "tiny/fair_tat/s0"
PARAMS = """
methods:
  fair_tat:
    {label: FAIR-TAT, objective: {kind: at}, targets: {kind: cfps}, margin: {kind: robust_accuracy, begin_epoch: 1}}
suites:
  tiny:
    title: Tiny
    data: {source: {kind: digits}, images_per_class: {train: 12, test: 4}, validation_fraction: 0.25}
    architecture: {kind: preact_resnet18, width: 2}
    threat: {epsilon: 8/255, step_size: 4/255, num_steps: 2}
    recipe: {epochs: 6, batch_size: 30, augmentation: {crop_padding: 1, padding: zero}}
    threads: 1
    averaging: {start_epoch: 1, threshold: 0.0}
    weights: [last, ema]
    evaluation:
      pgd: {steps: [2, 4], step_size: 2/255, batch_size: 16}
      autoattack: {iterations: 3, target_classes: 1, queries: 10, block_size: 20}
      square: {queries: 20, block_size: 20}
      corruptions: {batch_size: 400}
      steps: {num_steps: 4, step_size: 2/255, batch_size: 16}
"""
COMMANDS: dict[str, tuple[str, ...]] = {
    "prepare": ("prepare", SUITE),
    "corrupt": ("corrupt", SUITE),
    "train": ("train", KEY),
    **{name: ("evaluate", name, KEY) for name in paths.EVALUATIONS},
    "aggregate": ("aggregate", SUITE),
}
"""The stages in the order of the graph, and what follows `python -m stages`."""


def outputs(stage: str) -> list[Path]:
    """What a stage leaves."""
    if stage in paths.EVALUATIONS:
        return [paths.evidence(SUITE, 0, stage, "fair_tat")]
    return {
        "prepare": [paths.dataset(SUITE)],
        "corrupt": [paths.corrupted(SUITE)],
        "train": [paths.run(SUITE, "fair_tat", 0)],
        "aggregate": [paths.metrics(SUITE), paths.headline(SUITE)],
    }[stage]


def outcome(stage: str) -> str:
    """A hash of what a stage left, without what the clock says."""
    digest = hashlib.sha256()
    for output in outputs(stage):
        for path in sorted(output.rglob("*")) if output.is_dir() else [output]:
            digest.update(path.name.encode())
            if stage in paths.EVALUATIONS:
                digest.update(read_evidence(path)[0].to_csv().encode())
            elif path.name not in ("run.json", "history.csv"):
                digest.update(path.read_bytes())
    return digest.hexdigest()


def make(directory: Path) -> None:
    """An empty project: its settings and fingerprints."""
    directory.mkdir(parents=True)
    (directory / "params.yaml").write_text(PARAMS, encoding="utf-8")
    runs = f"runs: {{{KEY}: {{suite: tiny, start: data/tiny}}}}\nstepped: {{{KEY}: }}\n"
    (directory / "runs.yaml").write_text(runs, encoding="utf-8")
    (directory / "own.yaml").write_text("# nothing\n", encoding="utf-8")
    for name in ("pgd/tiny", "autoattack/tiny", "square/tiny", "corruptions/tiny", f"steps/{KEY}", f"train/{KEY}"):
        path = directory / paths.FINGERPRINTS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("code", encoding="utf-8")


def import_libraries() -> None:
    """What every stage needs, so that a fork begins at once."""
    torch.set_num_threads(1)
    for name in (*LIBRARIES, *(f"stages.{command[0]}" for command in COMMANDS.values())):
        import_module(name)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status, or minus the signal; what it printed; seconds that it took."""

    status: int
    text: str
    seconds: float


def run(
    directory: Path,
    stage: str,
    *,
    kill_after: float | None = None,
    kill_at: int | None = None,
    environment: dict | None = None,
    heedless: bool = False,
) -> Ended:
    """Runs a stage in a process of its own.

    Args:
        directory: of the project.
        stage: a key of `COMMANDS`.
        kill_after: seconds after which it is killed.
        kill_at: the number of the change of the file system before which it is killed, counted from 1.
        environment: variables beside those of this process.
        heedless: whether it begins without a look at the space on the disk.
    """
    log = directory / "log.txt"
    log.touch()
    began = time.monotonic()
    process = os.fork()
    if not process and heedless:
        for name in ("train", "evaluate"):
            vars(import_module(f"stages.{name}"))["require_space"] = lambda directory, needed: None
    if not process:
        _become(directory, stage, log, kill_at, environment or {})
    if kill_after is not None:
        deadline = began + kill_after
        while time.monotonic() < deadline and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.002)
        os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return Ended(os.waitstatus_to_exitcode(status), log.read_text(encoding="utf-8"), time.monotonic() - began)


def _become(directory: Path, stage: str, log: Path, kill_at: int | None, environment: dict[str, str]) -> None:
    """The stage, as `python -m stages` runs it; never returns."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(directory)
    os.environ.update({"DEVICE": "cpu", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", **environment})
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    if kill_at is not None:
        sys.addaudithook(_Killer(directory.resolve(), kill_at))
    name, *arguments = COMMANDS[stage]
    status = 1
    try:
        run_app(lambda: stoppable(import_module(f"{stages.__name__}.{name}").main)(*arguments))
        status = 0
    except SystemExit as error:
        status = int(error.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class _Killer:
    """Kills its own process before a change of the file system below a directory."""

    def __init__(self, directory: Path, number: int) -> None:
        self.directory, self.left = str(directory), number

    def __call__(self, event: str, arguments: tuple) -> None:
        if self._changes(event, arguments):
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

    def _changes(self, event: str, arguments: tuple) -> bool:
        if event == "open":
            path, mode, flags = arguments
            writes = (
                any(letter in mode for letter in "wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
            )
            return bool(writes) and self._inside(path)
        names = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link")
        return event in names and self._inside(arguments[0])

    def _inside(self, path: object) -> bool:
        return isinstance(path, str | bytes) and os.path.abspath(os.fsdecode(path)).startswith(self.directory)  # noqa: PTH100


def leftovers(directory: Path) -> list[str]:
    """Unfinished files, below a directory."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*.part"))


def fresh(template: Path, directory: Path) -> Path:
    """A copy of a project."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(template, directory, symlinks=True)
    return directory


def inside(directory: Path, call: Callable[[], str]) -> str:
    """What a call gives in a directory."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        return call()
    finally:
        os.chdir(before)
