"""What the pipeline itself costs: the start of a stage, DVC around it, and a `dvc repro` with nothing to do.

    python -m benchmarks.pipeline

Works on a copy of the project in a temporary directory. The outputs of the whole study are made up there (a few bytes each)
and recorded with `dvc commit`, so that DVC finds every stage up to date.
"""

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

from benchmarks.common import Report, Spent, machine, ratios, seconds
from tests.data.official import cifar10_files, pack_pickles

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
IN_VAIN = {
    "prepare": ["prepare", "no_suite"],
    "corrupt": ["corrupt", "no_suite"],
    "train": ["train", "demo/no_method/s0"],
    "evaluate": ["evaluate", "pgd", "demo/no_method/s0"],
    "aggregate": ["aggregate", "no_suite"],
    "tables": ["tables", "no_suite"],
}
"""Each stage, asked for what does not exist: it imports, reads the study, and says so."""


def command(arguments: list[str], directory: Path, *, succeeds: bool = True) -> tuple[Spent, str]:
    """Runs a program of the environment; what it took with all its children, and what it said.

    Raises:
        RuntimeError: it failed and should not have, or the other way round.
    """
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    environment["PYTHONPATH"] = str(directory / "pipeline")
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(arguments, cwd=directory, env=environment, text=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = done.stdout + done.stderr
    if (done.returncode == 0) != succeeds:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{said}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(time.perf_counter() - wall, processor), said


def copied(directory: Path) -> Path:
    """A copy of the project's files, as a repository of its own."""
    copy = directory / "project"
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    command(["git", "init", "--quiet"], copy)
    return copy


def stage(*arguments: str) -> list[str]:
    """The command line of a stage."""
    return [sys.executable, "-m", "stages", *arguments]


def make_up_outputs(copy: Path) -> int:
    """Files where DVC expects the outputs of all stages; how many stages there are. Fingerprints are the real ones."""
    from dvc.repo import Repo

    command(stage("fingerprint"), copy)
    with Repo(str(copy)) as repo:
        stages = list(repo.index.stages)
        outputs = [Path(out.fs_path) for found in stages for out in found.outs]
    for path in outputs:
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{{"made up for": "{path.name}"}}\n', encoding="utf-8")
        elif not path.exists():
            path.mkdir(parents=True)
            (path / "made-up").write_text(path.name, encoding="utf-8")
    return len(stages)


def startup(copy: Path, rounds: int, report: Report) -> None:
    """From the command to the study read, for every stage."""

    def rows() -> Iterator[list[str]]:
        for name, arguments in IN_VAIN.items():
            command(stage(*arguments), copy, succeeds=False)
            times = [command(stage(*arguments), copy, succeeds=False)[0] for _ in range(rounds)]
            yield [name, seconds(times, "wall"), seconds(times)]

    report.say("Start of a stage: imports, and the study read (target: 6 s).")
    report.table(["stage", "s on the clock", "s of processor time"], rows())


def preparation(copy: Path, report: Report) -> None:
    """CIFAR-10 after its download: an archive of the official size and format, with random pixels."""
    (copy / "data/archives").mkdir(parents=True)
    archive = pack_pickles(copy / "data/archives/random-cifar-10.tar.gz", cifar10_files(images_per_batch=10_000))
    yaml = YAML()
    params = yaml.load(copy / "params.yaml")
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    params["suites"]["cifar10"]["data"]["source"] = {"kind": "cifar10", "archive": str(archive), "md5": md5}
    yaml.dump(params, copy / "params.yaml")
    took, said = command(stage("prepare", "cifar10"), copy)
    report.say(f"`python -m stages prepare cifar10` once its archive is there (target: 20 s): {took.wall:.1f} s.")
    report.say(f"It says: {said.strip().splitlines()[-1]}\n")


def overhead(copy: Path, rounds: int, report: Report) -> None:
    """What DVC adds to a stage, with the lock file of the whole study beside it."""
    alone, under = [], []
    for _ in range(rounds):
        alone.append(command(stage("prepare", "demo"), copy)[0])
        under.append(command(["dvc", "repro", "--force", "--single-item", "prepare@demo"], copy)[0])
    report.say("One stage, `prepare@demo`, alone and under DVC.")
    row = [seconds(alone, "wall"), seconds(under, "wall"), seconds(under), ratios(under, alone, "wall")]
    report.table(["alone, s", "under DVC, s", "of processor time", "ratio"], [row])


def nothing_to_do(copy: Path, rounds: int, report: Report) -> None:
    """`dvc repro` of the demo and of the whole study, everything up to date."""

    def rows() -> Iterator[list[str]]:
        for what, arguments, target in (("the demo", ["demo"], "4"), ("the whole study", [], "15")):
            times = []
            for _ in range(rounds + 1):
                took, said = command(["dvc", "repro", *arguments], copy)
                assert "Running stage" not in said, f"a stage ran, so this was no idle run:\n{said}"
                times.append(took)
            yield [what, seconds(times[1:], "wall"), seconds(times[1:]), target]

    report.say("`dvc repro` with nothing to do.")
    report.table(["of", "s on the clock", "s of processor time", "target, s"], rows())


def run(report: Report, *, rounds: int) -> None:
    """All parts."""
    with tempfile.TemporaryDirectory() as directory:
        copy = copied(Path(directory))
        report.say(f"## Pipeline\n\n{machine(cuda=False)}\n")
        startup(copy, rounds, report)
        preparation(copy, report)
        count = make_up_outputs(copy)
        took, _ = command(["dvc", "commit", "--force", "--quiet"], copy)
        report.say(f"The study has {count} stages; `dvc commit` of all took {took.wall:.0f} s.\n")
        nothing_to_do(copy, rounds, report)
        overhead(copy, rounds, report)


def main(rounds: Annotated[int, typer.Option(help="timed rounds")] = 3) -> None:
    """Times the start of stages and `dvc repro` with nothing to do."""
    run(Report(), rounds=rounds)


if __name__ == "__main__":
    typer.run(main)
