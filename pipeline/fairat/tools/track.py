"""Everything that was trained and evaluated -> MLflow: what is missing is logged, what changed is replaced."""

from fairat import paths
from fairat.console import console
from fairat.errors import UserError
from fairat.results.aggregation import read_table
from fairat.tracking import RUNS, Tracker, trainings, without_password


def main(suite: str | None = None) -> None:
    """Brings MLflow up to date with runs/ and reports/metrics/; all of it, if it is empty."""
    suites = [suite] if suite else sorted(path.name for path in RUNS.glob("[!.]*") if path.is_dir())
    found = {name: runs for name in suites if (runs := trainings(name))}
    if not found:
        where = RUNS / suite if suite else RUNS
        raise UserError(f"There is no finished training under {where}. Train one first: `dvc repro` or `make demo`.")
    for name, runs in found.items():
        path = paths.metrics(name)
        tracker = Tracker(name)
        outcome = tracker.log(runs, read_table(path) if path.exists() else None)
        said = ", ".join(f"{count} {what}" for what, count in outcome.items())
        console.print(f"{name}: {said} in MLflow ({without_password(tracker.uri)})", soft_wrap=True)
        console.print(f"  {tracker.page}", soft_wrap=True)
