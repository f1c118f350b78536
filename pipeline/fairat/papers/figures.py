"""The papers' figures with our numbers."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from fairat import paths
from fairat.papers.figure_rows import FigureContent, FigureRow
from fairat.rendering.content import Row
from fairat.rendering.figures import class_cfps, class_epsilon, class_errors, clean_class_accuracy, source_and_target


def draw(
    name: str, content: FigureContent, rows: Sequence[FigureRow], table: pd.DataFrame, base_epsilon: float
) -> Figure:
    """One figure of a paper.

    Args:
        name: a figure of `PAPER_TARGETS`.
        content: what it shows when nothing is missing.
        rows: those of its rows that are there, at least one.
        table: the tidy table of its evidence.
        base_epsilon: the radius of the suite, in units of [0, 1] images.
    """
    shown = [Row(row.method, row.weights, row.label, ours=row.ours) for row in rows]
    match name:
        case "figure1":
            return class_cfps(table, shown, content.suite, evaluation="pgd10")
        case "figure3":
            return clean_class_accuracy(table, shown, content.suite)
        case "figure4":
            history = pd.concat([_radii(content.suite, row) for row in rows], ignore_index=True)
            return class_epsilon(history, {row.method: row.label for row in rows}, base_epsilon)
        case "bat_figure2":
            (network,) = shown
            return source_and_target(table, network, content.suite, robust="pgd20", targets="pgd10")
        case "bat_figure4":
            return class_errors(table, shown, content.suite, robust="pgd20")
    raise AssertionError(f"no figure {name}")


def _radii(suite: str, row: FigureRow) -> pd.DataFrame:
    """Radius of every class in every epoch of the first seed."""
    table = pd.read_csv(
        paths.run(suite, row.method, 0) / "classes.csv",
        usecols=["epoch", "class_name", "epsilon"],
        dtype={"class_name": str},
        keep_default_na=False,  # a class may be called NA, or 007
    )
    return table.assign(method=row.method)
