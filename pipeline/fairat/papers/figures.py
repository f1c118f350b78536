"""The papers' figures with our numbers."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from fairat import paths
from fairat.papers.figure_rows import FigureContent
from fairat.rendering.figures import class_cfps, class_epsilon, class_errors, clean_class_accuracy, source_and_target
from fairat.rendering.table import Row
from fairat.training.record import RunRecord


def draw(name: str, content: FigureContent, rows: Sequence[Row], table: pd.DataFrame, base_epsilon: float) -> Figure:
    """One figure of a paper.

    Args:
        name: a figure of `PAPER_TARGETS`.
        content: what it shows when nothing is missing.
        rows: those of its rows that are there, at least one.
        table: the tidy table of its evidence.
        base_epsilon: the radius of the suite, in units of [0, 1] images.
    """
    match name:
        case "figure1":
            return class_cfps(table, rows, content.suite, evaluation="pgd10")
        case "figure3":
            return clean_class_accuracy(table, rows, content.suite)
        case "figure4":
            runs = {row.method: paths.run(content.suite, row.method, 0) for row in rows}
            history = pd.concat([radii(run, method) for method, run in runs.items()], ignore_index=True)
            return class_epsilon(history, {row.method: row.label for row in rows}, base_epsilon)
        case "bat_figure2":
            (network,) = rows
            return source_and_target(table, network, content.suite, robust="pgd20", targets="pgd10")
        case "bat_figure4":
            return class_errors(table, rows, content.suite, robust="pgd20")
    raise AssertionError(f"no figure {name}")


LAYOUT = {
    "figure1": "Left: without attack; right: under PGD-10.",
    "bat_figure4": "Above: without attack; below: under PGD-20.",
}
"""Which panel is what, where a figure has two of one kind."""


def radii(run: Path, method: str) -> pd.DataFrame:
    """Radius of every class in every epoch of a run.

    Raises:
        UserError: the run is not there, or its file is damaged.
    """
    RunRecord.load(run).verify(run, "classes.csv")
    table = pd.read_csv(
        run / "classes.csv",
        usecols=["epoch", "class_name", "epsilon"],
        dtype={"class_name": str},
        keep_default_na=False,  # a class may be called NA, or 007
    )
    return table.assign(method=method)
