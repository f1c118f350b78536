"""One table or figure of a paper with our numbers, from the evidence there is; also all of them on the demo."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from fairat import paths
from fairat.console import console
from fairat.errors import UserError
from fairat.files import whole_directory
from fairat.papers.demo_report import demo_methods, demo_tables
from fairat.papers.figure_rows import DEMO_FIGURES, FIGURES, FigureContent
from fairat.papers.needs import DEMO_REPORT, DEMO_SUITE, PAPER_TARGETS, PaperTarget
from fairat.papers.shown import Shown, look, wanted_by
from fairat.papers.tables import Entry, Ours, entries, paper_table
from fairat.rendering.latex import write_latex
from fairat.rendering.markdown import write_markdown
from fairat.rendering.notes import budget_notes
from fairat.results.aggregation import COLUMNS, aggregate
from fairat.results.bootstrap import Bootstrap
from fairat.study import Study, load_study
from fairat.training.record import RECORD


def main(
    target: Annotated[str, typer.Argument(help="table1 to table11, bat_table1, figure1, ..., or demo_report")],
) -> None:
    """Renders a table or figure of a paper; what was not run yet is a dash, and a note counts it."""
    if target not in (*PAPER_TARGETS, DEMO_REPORT):
        raise UserError(
            f"There is no {target!r}; there are: {', '.join(PAPER_TARGETS)}, {DEMO_REPORT}. "
            "Example: python -m stages paper table1"
        )
    if target == DEMO_REPORT:
        write_demo_report()
        return
    chosen = PAPER_TARGETS[target]
    written, missing = (write_figure if chosen.kind == "figure" else write_table)(chosen)
    console.print(f"{target}: {', '.join(map(str, written))}", soft_wrap=True)
    if missing:
        console.print(f"{missing} `fairat plan {target}` says what making it would cost.", soft_wrap=True, markup=False)


def write_table(target: PaperTarget) -> tuple[list[Path], str]:
    """Writes the table; returns its files, and what is missing."""
    files = [paths.paper_table(target.name, suffix) for suffix in (".md", ".tex")]
    return files, write_cells(target, entries(target), load_study(), files)


def write_cells(
    target: PaperTarget, shown: Sequence[Entry], study: Study, files: Sequence[Path], subject: str = ""
) -> str:
    """Writes some cells in the layout of a table, as Markdown and LaTeX; returns what is missing."""
    found = look(wanted_by(entry.need for entry in shown), study)
    missing = found.note()
    grid = paper_table(target, shown, replace(ours(study, shown, found, [missing] if missing else []), subject=subject))
    markdown, latex = files
    markdown.parent.mkdir(parents=True, exist_ok=True)
    write_markdown(markdown, grid)
    write_latex(latex, grid)
    return missing


def ours(study: Study, shown: Sequence[Entry], found: Shown, closing: Sequence[str]) -> Ours:
    """Our side of a table, from the evidence that may be shown."""
    suites = {entry.need.suite: study.suite(entry.need.suite) for entry in shown}
    return Ours(
        table=tidy([one.path for one in found.used]),
        titles={name: suite.title for name, suite in suites.items()},
        notes={
            (name, evaluation): note
            for name, suite in suites.items()
            for evaluation, note in budget_notes(suite.evaluation).items()
        },
        reasons=found.reasons(),
        closing=closing,
    )


def tidy(files: Sequence[Path], replicates: int = 1) -> pd.DataFrame:
    """The tidy table of some evidence, or an empty one. Tables show no intervals: one replicate makes them cheap."""
    if files:
        return aggregate(files, Bootstrap(replicates=replicates))
    empty = pd.DataFrame(columns=list(COLUMNS))
    return empty.astype({"value": float, "low": float, "high": float, "seed": int, "images": int})


def write_figure(target: PaperTarget) -> tuple[list[Path], str]:
    """Draws the figure from the rows there are; returns its files, and what is missing.

    Raises:
        UserError: there are none.
    """
    files = [paths.paper_figure(target.name, suffix) for suffix in (".pdf", ".png")]
    missing = draw_figure(target.name, FIGURES[target.name], load_study(), files)
    if not files[0].exists():
        raise UserError(f"There is nothing to draw in {target.name}. {missing} `dvc repro {target.name}` makes it.")
    return files, missing


def draw_figure(name: str, content: FigureContent, study: Study, files: Sequence[Path]) -> str:
    """Draws into files, or nothing if no row is there; returns what is missing."""
    from fairat.papers.figures import draw
    from fairat.rendering.figures import put_remark, save_figure

    found = look(wanted_by(content.needs), study)
    absent = {one.method for one in found.left_out}
    absent |= {run[1] for run in content.histories if not (paths.run(*run) / RECORD).exists()}
    rows = [row for row in content.rows if row.method not in absent]
    left_out = ", ".join(row.label for row in content.rows if row not in rows)
    remark = f"Left out, because not run yet: {left_out}." if left_out else ""
    for path in files:
        path.unlink(missing_ok=True)
    if rows:
        table = tidy([one.path for one in found.used if one.method not in absent], Bootstrap().replicates)
        figure = draw(name, content, rows, table, study.suite(content.suite).threat.epsilon)
        if remark:
            put_remark(figure, remark)
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_figure(figure, path)
    return f"{remark} {found.note()}".strip() if remark else ""


def write_demo_report() -> None:
    """Every table that the demo has rows of, in the papers' layouts, and every figure."""
    study = load_study()
    subject = f"{study.suite(DEMO_SUITE).title}, one seed"
    tables, missing = demo_tables(demo_methods(study)), {}
    with whole_directory(paths.DEMO_REPORT) as beside:
        for target, shown in tables.items():
            files = [beside / f"{target.name}{suffix}" for suffix in (".md", ".tex")]
            missing[target.name] = write_cells(target, shown, study, files, subject)
        for name, content in DEMO_FIGURES.items():
            files = [beside / f"{name}{suffix}" for suffix in (".pdf", ".png")]
            missing[name] = draw_figure(name, content, study, files)
        number = len(list(beside.glob("*.png")))
    console.print(f"{DEMO_REPORT}: {len(tables)} tables and {number} figures in {paths.DEMO_REPORT}")
    for name, text in missing.items():
        if text:
            console.print(f"{name}: {text}", markup=False)
