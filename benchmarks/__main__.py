"""Runs all benchmarks of speed and writes benchmarks/results/<machine>.md: `make bench`."""

import typer

from benchmarks import evaluate, pipeline, train_step
from benchmarks.common import Report


def main() -> None:
    """Training step, evaluations and pipeline, with their default budgets."""
    report = Report()
    agree = [
        train_step.run(report, data=None, batch=None, width=64, rounds=None, compiled=False, at_once=2),
        evaluate.run(report, data=None, weights=None, width=64, images=None, epsilon=None, rounds=2, full=False),
    ]
    pipeline.run(report, rounds=3)
    typer.echo(f"Written: {report.write()}")
    if not all(agree):
        raise SystemExit("Results differ from those of the references: see the tables above.")


if __name__ == "__main__":
    typer.run(main)
