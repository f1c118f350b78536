"""The papers' figures with our numbers."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from pipeline import paths
from pipeline.papers.figure_rows import FigureContent, FigureRow
from pipeline.rendering.content import Row
from pipeline.rendering.figures import class_accuracy, class_cfps, class_epsilon, source_and_target


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
        case "figure3" | "bat_figure4":
            return class_accuracy(table, shown, content.suite, robust=content.evaluations[1])
        case "figure4":
            history = pd.concat([_radii(content.suite, row) for row in rows], ignore_index=True)
            return class_epsilon(history, {row.method: row.label for row in rows}, base_epsilon)
        case "bat_figure2":
            return source_and_target(table, [_with_share(row, table) for row in shown], content.suite, targets="pgd20")
    raise AssertionError(f"no figure {name}")


def _with_share(row: Row, table: pd.DataFrame) -> Row:
    """The row with the share of images that no step broke in its label: they count with the number of all steps (spec 6)."""
    of_row = (table["method"] == row.method) & (table["weights"] == row.weights) & (table["evaluation"] == "steps")
    (share,) = table.loc[of_row & (table["metric"] == "overall_accuracy"), "value"]
    return replace(row, label=f"{row.label} ({share:.0%} unbroken)")


def _radii(suite: str, row: FigureRow) -> pd.DataFrame:
    """Radius of every class in every epoch of the first seed."""
    table = pd.read_csv(
        paths.run(suite, row.method, 0) / "classes.csv",
        usecols=["epoch", "class_name", "epsilon"],
        dtype={"class_name": str},
        keep_default_na=False,  # a class may be called NA, or 007
    )
    return table.assign(method=row.method)
