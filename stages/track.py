"""Everything that was trained and evaluated -> MLflow: what is missing is logged, what changed is replaced."""

from typing import Annotated

import typer

from pipeline import paths
from pipeline.aggregation import read_table
from pipeline.console import console, run_stage
from pipeline.errors import UserError
from pipeline.tracking import RUNS, Counts, Tracker, trainings, without_password


def main(suite: Annotated[str | None, typer.Option(help="only this suite; by default all under runs/")] = None) -> None:
    """Rebuilds the MLflow store from runs/ and reports/metrics/."""
    suites = [suite] if suite else sorted(path.name for path in RUNS.glob("*") if path.is_dir())
    found = {name: trainings(RUNS / name) for name in suites}
    if not any(found.values()):
        where = RUNS / suite if suite else RUNS
        raise UserError(f"There is no finished training under {where}/. Train one first: `dvc repro` or `make demo`.")
    tracker, counts = Tracker(), Counts()
    for name, runs in found.items():
        path = paths.metrics(name)
        counts += tracker.log(runs, read_table(path) if path.exists() else None)
    console.print(f"MLflow ({without_password(tracker.uri)}): {counts}", soft_wrap=True)


if __name__ == "__main__":
    run_stage(main)
