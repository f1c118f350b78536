"""What is left to run for a table, figure or suite; with --run, that, several stages at a time."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from pipeline.config import Study, load_study
from pipeline.console import console, run_stage
from pipeline.device import choose_device, name_of
from pipeline.errors import UserError
from pipeline.papers.plan import dvc_target, stages_left, standing_of
from pipeline.papers.standing import cost_note, duration
from stages.fingerprint import digests

LOGS = Path("logs")
_WAVES = ({"train", "adopt"}, {"finetune"})
"""What must be done before the rest; evaluations are the rest."""

# `dvc repro` gives up after a few seconds while another one holds the lock: before a stage, or after hours of it.
_ONE_STAGE = (
    "import sys; from dvc.repo import Repo; Repo(_wait_for_lock=True).reproduce(targets=sys.argv[1:], single_item=True)"
)


def main(
    target: Annotated[str, typer.Argument(help="table1, bat_table1, figure1, demo_report, report, or a suite")],
    run: Annotated[bool, typer.Option("--run", help="run it, and then `dvc repro` of the target")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="stages at a time, on the same device")] = 2,
) -> None:
    """Lists what is left to train and to evaluate, and what it would cost."""
    study = load_study()
    found = standing_of(target, study, digests())
    left = stages_left(found, study)
    for stage in left:
        console.print(stage, markup=False)
    done = f"All that {target} shows is done; `dvc repro {dvc_target(target)}` renders it."
    console.print(cost_note(found, study, name_of(choose_device())) or done, markup=False)
    if run:
        run_left(left, study, jobs)
        if dvc("repro", dvc_target(target)).wait():
            raise UserError(f"`dvc repro {dvc_target(target)}` failed; what it said is above.")


def run_left(left: Sequence[str], study: Study, jobs: int) -> None:
    """Runs the stages, several at a time, each after those it needs; goes on with the others where one fails.

    Raises:
        UserError: some failed, and which; what was done is kept.
    """
    if needed := data_stages(left, study):
        console.print(f"First the data: {', '.join(needed)}")
        if dvc("repro", *needed).wait():
            raise UserError("The data could not be made; what `dvc repro` said is above.")
    failed: dict[str, str] = {}
    for _, wave in groupby(left, key=wave_of):
        ready = {stage: blocked_by(stage, failed, study) for stage in wave}
        failed |= {stage: f"needs {because}" for stage, because in ready.items() if because}
        failed |= run_wave([stage for stage, because in ready.items() if not because], study, jobs)
    if failed:
        listed = "\n".join(f"  {stage}: {reason}" for stage, reason in failed.items())
        raise UserError(
            f"{len(failed)} of {len(left)} stages were not done; type the same again after a repair:\n{listed}"
        )


def data_stages(left: Sequence[str], study: Study) -> list[str]:
    """The stages that make the images, without which none of the others starts."""
    names = dict.fromkeys((stage.partition("@")[0] == "corruptions", suite_of(stage, study)) for stage in left)
    return [f"{'corrupt' if corrupted else 'prepare'}@{suite}" for corrupted, suite in sorted(names)]


def wave_of(stage: str) -> int:
    """Its place in the order of waves."""
    kind = stage.partition("@")[0]
    return next((number for number, kinds in enumerate(_WAVES) if kind in kinds), len(_WAVES))


def suite_of(stage: str, study: Study) -> str:
    """The suite of the run."""
    return study.runs[stage.partition("@")[2]].suite


def blocked_by(stage: str, failed: Mapping[str, str], study: Study) -> str:
    """The failed stage whose weights this one needs, or nothing."""
    line = study.runs[stage.partition("@")[2]]
    needed = f"{line.suite}-{line.start}-s{line.seed}" if stage.startswith("finetune") else line.key
    return next((one for one in failed if one.partition("@")[2] == needed and wave_of(one) < wave_of(stage)), "")


def run_wave(stages: Sequence[str], study: Study, jobs: int) -> dict[str, str]:
    """Runs stages that do not need each other; says of those that failed where their output is."""
    failed = {}
    LOGS.mkdir(exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(run_one, stage, suite_of(stage, study), study, jobs): stage for stage in stages}
        try:
            for number, done in enumerate(as_completed(running), start=1):
                stage, (status, seconds) = running[done], done.result()
                if status:
                    failed[stage] = f"failed, see {log_of(stage)}"
                how = "failed" if status else "done"
                console.print(f"{number} of {len(stages)}: {stage} {how} after {duration(seconds)}", markup=False)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def run_one(stage: str, suite: str, study: Study, jobs: int) -> tuple[int, float]:
    """Runs one stage under DVC, its output in a log; gives exit status and seconds."""
    environment = dict(os.environ)
    if study.suites[suite].threads is None:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    began = time.monotonic()
    with log_of(stage).open("wb") as log:
        words = [sys.executable, "-c", _ONE_STAGE, stage]
        status = subprocess.run(words, env=with_python(environment), stdout=log, stderr=log, check=False).returncode
    return status, time.monotonic() - began


def log_of(stage: str) -> Path:
    """Where a stage's output goes."""
    return LOGS / f"{stage.replace('@', '-')}.log"


def dvc(*words: str) -> subprocess.Popen[bytes]:
    """A DVC command with this Python's environment."""
    return subprocess.Popen([sys.executable, "-m", "dvc", *words], env=with_python(dict(os.environ)))


def with_python(environment: dict[str, str]) -> dict[str, str]:
    """The environment in which `python` is the one that runs this."""
    return environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"}


if __name__ == "__main__":
    run_stage(main)
