"""What is left to run for a table, figure or suite; with --run, that, several stages at a time."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path

from fairat.console import console
from fairat.dependencies import digests
from fairat.device import choose_device, name_of
from fairat.errors import UserError
from fairat.papers.plan import Stage, dvc_target, stages_left, standing_of
from fairat.papers.standing import cost_note, duration
from fairat.study import load_study

LOGS = Path("logs")
# `dvc repro` gives up after a few seconds while another one holds the lock: before a stage, or after hours of it.
_ONE_STAGE = (
    "import sys; from dvc.repo import Repo; Repo(_wait_for_lock=True).reproduce(targets=sys.argv[1:], single_item=True)"
)


def main(
    target: str,
    run: bool = False,
    jobs: int = 2,
) -> None:
    """Lists what is left to train and to evaluate, and what it would cost."""
    study = load_study()
    found = standing_of(target, study, digests())
    left = stages_left(found, study)
    for stage in left:
        console.print(stage.name, markup=False)
    done = f"All that {target} shows is done; `dvc repro {dvc_target(target)}` renders it."
    console.print(cost_note(found, study, name_of(choose_device())) or done, markup=False)
    if run:
        run_left(left, jobs)
        if dvc("repro", dvc_target(target)).wait():
            raise UserError(f"`dvc repro {dvc_target(target)}` failed; what it said is above.")


def run_left(left: Sequence[Stage], jobs: int) -> None:
    """Runs the stages, several at a time, each after those it needs; goes on with the others where one fails.

    Raises:
        UserError: some failed, and which; what was done is kept.
    """
    if needed := data_stages(left):
        console.print(f"First the data: {', '.join(needed)}")
        if dvc("repro", *needed).wait():
            raise UserError("The data could not be made; what `dvc repro` said is above.")
    failed: dict[Stage, str] = {}
    for _, wave in groupby(left, key=lambda stage: stage.wave):
        without = {one.run.key: one for one in failed}
        ready: list[Stage] = []
        for stage in wave:
            if stage.needed_run in without:
                failed[stage] = f"needs {without[stage.needed_run].name}"
            else:
                ready.append(stage)
        failed |= run_wave(ready, jobs)
    if failed:
        listed = "\n".join(f"  {stage.name}: {reason}" for stage, reason in failed.items())
        raise UserError(
            f"{len(failed)} of {len(left)} stages were not done; type the same again after a repair:\n{listed}"
        )


def data_stages(left: Sequence[Stage]) -> list[str]:
    """The stages that make the images, without which none of the others starts."""
    makers = {(stage.kind == "corruptions", stage.run.suite_name) for stage in left}
    return [f"{'corrupt' if corrupted else 'prepare'}@{suite}" for corrupted, suite in sorted(makers)]


def run_wave(stages: Sequence[Stage], jobs: int) -> dict[Stage, str]:
    """Runs stages that do not need each other; says of those that failed where their output is."""
    failed = {}
    LOGS.mkdir(exist_ok=True)
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(run_one, stage, jobs): stage for stage in stages}
        try:
            for number, done in enumerate(as_completed(running), start=1):
                stage, (status, seconds) = running[done], done.result()
                if status:
                    failed[stage] = f"failed, see {log_of(stage)}"
                how = "failed" if status else "done"
                console.print(f"{number} of {len(stages)}: {stage.name} {how} after {duration(seconds)}", markup=False)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    return failed


def run_one(stage: Stage, jobs: int) -> tuple[int, float]:
    """Runs one stage under DVC, its output in a log; gives exit status and seconds."""
    environment = dict(os.environ)
    if stage.run.suite.threads is None:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    began = time.monotonic()
    with log_of(stage).open("wb") as log:
        words = [sys.executable, "-c", _ONE_STAGE, stage.name]
        status = subprocess.run(words, env=with_python(environment), stdout=log, stderr=log, check=False).returncode
    return status, time.monotonic() - began


def log_of(stage: Stage) -> Path:
    """Where a stage's output goes."""
    return LOGS / f"{stage.kind}-{stage.run.key}.log"


def dvc(*words: str) -> subprocess.Popen[bytes]:
    """A DVC command with this Python's environment."""
    return subprocess.Popen([sys.executable, "-m", "dvc", *words], env=with_python(dict(os.environ)))


def with_python(environment: dict[str, str]) -> dict[str, str]:
    """The environment in which `python` is the one that runs this."""
    return environment | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"}
