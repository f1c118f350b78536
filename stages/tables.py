"""The tidy table of a suite -> its tables as Markdown and LaTeX, its figures as PDF and PNG."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Annotated

import pandas as pd
import typer
from fairat import paths
from fairat.console import console
from fairat.files import whole_directory
from fairat.methods.parts import ConstantMargin
from fairat.papers.figures import radii
from fairat.papers.rows import suite_rows
from fairat.papers.setting import about, caption, equal_weights, significant, without
from fairat.rendering.figures import class_accuracy, class_cfps, class_epsilon, put_remark, save_figure
from fairat.rendering.filling import Content
from fairat.rendering.latex import write_latex
from fairat.rendering.markdown import write_markdown
from fairat.rendering.table import Row
from fairat.rendering.tables import LAYOUTS
from fairat.results.aggregation import read_table
from fairat.settings.suite import Suite
from fairat.study import Run, Study, Training, load_study
from fairat.training.record import RunRecord
from matplotlib.figure import Figure

FIGURE_ROWS = 6
"""Figures 1 and 3 show so many methods at most."""


def main(suite: Annotated[str, typer.Argument(help="a suite of params.yaml")]) -> None:
    """Renders one suite."""
    study = load_study()
    runs, settings = study.runs_of(suite), study.suite(suite)
    content = suite_content(suite, study)
    # PDFs lie with the tables, for papers: DVC can show PNGs, but reports every PDF beside them as a failure.
    with whole_directory(paths.tables(suite)) as for_papers, whole_directory(paths.figures(suite)) as for_screens:
        for name, layout in LAYOUTS.items():
            table = layout(content)
            write_markdown(for_papers / f"{name}.md", table)
            write_latex(for_papers / f"{name}.tex", table)
        remark = caption(study, runs, content.table, ("clean", content.pgd))
        for name, figure in figures(suite, settings, runs, content):
            put_remark(figure, remark)
            save_figure(figure, for_papers / f"{name}.pdf")
            save_figure(figure, for_screens / f"{name}.png")
    console.print(f"{suite}: tables and figures in {paths.tables(suite)}, pictures in {paths.figures(suite)}")


def suite_content(name: str, study: Study) -> Content:
    """What fills the tables: numbers, rows, and what must be said beside them."""
    runs, suite = study.runs_of(name), study.suite(name)
    methods, records = (
        {run.method_name: run.presentation for run in runs},
        [RunRecord.load(run.directory) for run in runs],
    )
    equal, rows = equal_weights(records), suite_rows(list(methods.items()), suite.weights)
    return Content(
        table=without(read_table(paths.metrics(name)), equal),
        rows=rows,
        suites={name: suite.title},
        pgd=f"pgd{suite.evaluation.pgd.steps[0]}",
        reasons=absences(records) | equal,
        significant=significant({name: rows}, study.evidence_of(name)),
        **about(study, runs),
    )


def absences(records: Sequence[RunRecord]) -> dict[tuple[str, str, str], str]:
    """Why a (suite, method, weights) has no value, or fewer than it has seeds."""
    return {
        (record.suite, record.method, name): weights.reason
        for record in records
        for name, weights in record.weights.items()
        if not weights.present
    }


def figures(name: str, suite: Suite, runs: list[Run], content: Content) -> Iterator[tuple[str, Figure]]:
    """Figures 1, 3 and 4 of FAIR-TAT for this suite; no Figure 4 where no method attacks, for then there are no radii."""
    rows = figure_rows(content.rows)
    yield "figure1", class_cfps(content.table, rows, name, evaluation=content.pgd)
    yield "figure3", class_accuracy(content.table, rows, name, robust=content.pgd)
    if shown := class_wise(runs):
        history = pd.concat([radii(run.directory, run.method_name) for run in shown], ignore_index=True)
        labels = {run.method_name: run.presentation.label for run in shown}
        yield "figure4", class_epsilon(history, labels, suite.threat.epsilon)


def figure_rows(rows: Sequence[Row]) -> list[Row]:
    """The main method of every group, of ours and of the others, then their variants, up to `FIGURE_ROWS` in all.

    A variant has the longer label: it is the method's with a word behind. One weight set each, the first.
    """
    candidates = [row for row in rows if row.weights == rows[0].weights]
    sides: dict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in candidates:
        sides[row.group, row.ours].append(row)
    ranked = (sorted(side, key=lambda row: len(row.label)) for side in sides.values())
    chosen = [row for turn in zip_longest(*ranked) for row in turn if row][:FIGURE_ROWS]
    return [row for row in candidates if row in chosen]


def class_wise(runs: list[Run]) -> list[Training]:
    """The first seed of every method whose radii may differ between classes; of every attacking one where none may."""
    trainings = [run for run in runs if isinstance(run, Training)]
    first_seeds = list({run.method_name: run for run in reversed(trainings)}.values())[::-1]
    attacking = [run for run in first_seeds if run.method.objective.has_robust_term]
    return [run for run in attacking if not isinstance(run.method.margin, ConstantMargin)] or attacking
