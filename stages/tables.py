"""The tidy table of a suite -> its tables as Markdown and LaTeX, and its figures."""

from collections.abc import Sequence
from typing import Annotated

import pandas as pd
import typer

from pipeline import paths
from pipeline.aggregation import read_table
from pipeline.config import Run, Suite, load_study
from pipeline.console import console, run_stage
from pipeline.files import whole_directory
from pipeline.rendering.figures import class_accuracy, class_cfps, class_epsilon, save_figure
from pipeline.rendering.latex import write_latex
from pipeline.rendering.markdown import write_markdown
from pipeline.rendering.notes import absences, budget_notes
from pipeline.rendering.rows import suite_rows
from pipeline.rendering.tables import LAYOUTS, Content, Row

FIGURE_ROWS = 6
"""Figures show the last weights of so many methods at most."""


def main(suite: Annotated[str, typer.Argument(help="a suite of params.yaml")]) -> None:
    """Renders one suite."""
    study = load_study()
    runs, settings = study.runs_of(suite), study.suite(suite)
    content = suite_content(suite, settings, runs)
    with whole_directory(paths.tables(suite)) as beside:
        for name, layout in LAYOUTS.items():
            grid = layout(content)
            write_markdown(beside / f"{name}.md", grid)
            write_latex(beside / f"{name}.tex", grid)
    render_figures(suite, settings, runs, content)
    console.print(f"{suite}: {', '.join(LAYOUTS)} in {paths.tables(suite)}, figures in {paths.figures(suite)}")


def suite_content(name: str, suite: Suite, runs: list[Run]) -> Content:
    """What fills the tables: numbers, rows, and what must be said beside them."""
    methods = {run.method_name: run.method for run in runs}
    return Content(
        table=read_table(paths.metrics(name)),
        rows=suite_rows(list(methods.items()), suite.weights),
        suites={name: suite.title},
        notes=budget_notes(suite.evaluation),
        reasons=absences(runs),
    )


def render_figures(name: str, suite: Suite, runs: list[Run], content: Content) -> None:
    """Figures 1, 3 and 4 of FAIR-TAT for this suite."""
    rows = figure_rows(content.rows)
    with whole_directory(paths.figures(name)) as beside:
        save_figure(class_cfps(content.table, rows, name), beside / "figure1")
        save_figure(class_accuracy(content.table, rows, name), beside / "figure3")
        chosen = class_wise(runs)
        history = pd.concat([radii(run) for run in chosen], ignore_index=True)
        labels = {run.method_name: run.method.label for run in chosen}
        save_figure(class_epsilon(history, labels, suite.threat.epsilon), beside / "figure4")


def figure_rows(rows: Sequence[Row]) -> list[Row]:
    """The last weights of the first methods."""
    return [row for row in rows if row.weights == "last"][:FIGURE_ROWS]


def class_wise(runs: list[Run]) -> list[Run]:
    """One run of every method whose radii may differ between classes; of every attacking method where none does."""
    first_seed = [run for run in runs if run.seed == runs[0].seed]
    adapted = [run for run in first_seed if run.method.margin.kind != "constant"]
    return adapted or [run for run in first_seed if run.method.objective.has_robust_term]


def radii(run: Run) -> pd.DataFrame:
    """Radius of every class in every epoch of a run."""
    return pd.read_csv(run.directory / "classes.csv").assign(method=run.method_name)


if __name__ == "__main__":
    run_stage(main)
