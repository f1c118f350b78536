"""Everything that was trained and evaluated -> MLflow: what is missing is logged, what changed is replaced."""

from fairat import paths, tracking
from fairat.console import console
from fairat.errors import UserError
from fairat.results.aggregation import read_table


def main(suite: str | None = None) -> None:
    """Brings MLflow up to date with runs/ and reports/metrics/; all of it, if it is empty."""
    suites = [suite] if suite else sorted(path.name for path in tracking.RUNS.glob("[!.]*") if path.is_dir())
    suites = [name for name in suites if tracking.finished(name)]
    if not suites:
        where = tracking.RUNS / suite if suite else tracking.RUNS
        raise UserError(f"There is no finished training under {where}. Train one first: `dvc repro` or `make demo`.")
    for name in suites:
        path = paths.metrics(name)
        outcome = tracking.log_suite(name, read_table(path) if path.exists() else None)
        said = ", ".join(f"{count} {state}" for state, count in outcome.items())
        where = tracking.without_password(tracking.tracking_uri())
        console.print(f"{name}: {said} in MLflow ({where})\n  {tracking.page(name)}", soft_wrap=True)
