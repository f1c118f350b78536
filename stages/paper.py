"""One table or figure of a paper with our numbers, from the evidence there is; also all of them on the demo."""

from collections.abc import Callable, Sequence
from functools import partial
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
from fairat.papers.published import printed_cells
from fairat.papers.reproduction import compare
from fairat.papers.setting import about, caption, equal_weights, significant, without
from fairat.papers.shown import Shown, look, record_of, wanted_by
from fairat.papers.tables import Entry, Ours, entries, paper_table, rows_of
from fairat.papers.versus import versus_table
from fairat.rendering.latex import write_latex
from fairat.rendering.markdown import write_markdown
from fairat.rendering.table import Table
from fairat.results.aggregation import COLUMNS, aggregate
from fairat.study import Study, load_study, run_key
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
    """Writes the table, and the same with the printed numbers beside ours; returns its files, and what is missing."""
    study, shown = load_study(), entries(target)
    found = look(wanted_by(entry.need for entry in shown), study)
    side = ours(study, shown, found)
    comparisons = compare(printed_cells(), side.table, study, {})
    of_target = [one for one in comparisons if (one.cell.source, one.cell.table) == (target.source, target.number)]
    files = write_formats(paper_table(target, shown, side), partial(paths.paper_table, target.name))
    files += write_formats(versus_table(target, of_target, side), partial(paths.versus_table, target.name))
    return files, found.note()


def write_formats(table: Table, path: Callable[[str], Path]) -> list[Path]:
    """Writes a table as Markdown and LaTeX; `path` takes a suffix. Returns the files."""
    files = [path(".md"), path(".tex")]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    write_markdown(files[0], table)
    write_latex(files[1], table)
    return files


def ours(study: Study, shown: Sequence[Entry], found: Shown, subject: str = "") -> Ours:
    """Our side of a table, from the evidence that may be shown."""
    files, suites = [one.path for one in found.used], dict.fromkeys(entry.need.suite for entry in shown)
    equal = equal_weights(filter(None, map(record_of, dict.fromkeys(one.key for one in found.used))))
    rows = {name: rows_of([entry for entry in shown if entry.need.suite == name]) for name in suites}
    keys = dict.fromkeys(run_key(*run) for entry in shown for run in entry.need.runs)
    return Ours(
        table=without(tidy(files), equal),
        subject=subject,
        titles={name: study.suite(name).title for name in suites},
        closing=[missing] if (missing := found.note()) else [],
        about={
            "reasons": found.reasons() | equal,
            "significant": significant(rows, files),
            **about(study, [study.resolved[key] for key in keys if key in study.resolved]),
        },
    )


def tidy(files: Sequence[Path]) -> pd.DataFrame:
    """The tidy table of some evidence, or an empty one."""
    if files:
        return aggregate(files)
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
    from fairat.papers.figures import LAYOUT, draw
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
        table = tidy([one.path for one in found.used if one.method not in absent])
        figure = draw(name, content, rows, table, study.suite(content.suite).threat.epsilon)
        runs = [study.run(content.suite, row.method, 0) for row in rows]
        said = (caption(study, runs, table, content.evaluations), LAYOUT.get(name, ""), remark)
        put_remark(figure, " ".join(filter(None, said)))
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_figure(figure, path)
    return f"{remark} {found.note()}".strip() if remark else ""


def write_demo_report() -> None:
    """Every table that the demo has rows of, in the papers' layouts, and every figure."""
    study = load_study()
    subject = study.suite(DEMO_SUITE).title
    tables, missing = demo_tables(demo_methods(study)), {}
    with whole_directory(paths.DEMO_REPORT) as beside:
        for target, shown in tables.items():
            found = look(wanted_by(entry.need for entry in shown), study)
            table = paper_table(target, shown, ours(study, shown, found, subject))
            write_formats(table, lambda suffix, name=target.name: beside / f"{name}{suffix}")
            missing[target.name] = found.note()
        for name, content in DEMO_FIGURES.items():
            files = [beside / f"{name}{suffix}" for suffix in (".pdf", ".png")]
            missing[name] = draw_figure(name, content, study, files)
        number = len(list(beside.glob("*.png")))
    console.print(f"{DEMO_REPORT}: {len(tables)} tables and {number} figures in {paths.DEMO_REPORT}")
    for name, text in missing.items():
        if text:
            console.print(f"{name}: {text}", markup=False)
