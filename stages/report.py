"""The evidence of every printed cell and the papers' numbers -> how far each printed number is reproduced."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from fairat import paths
from fairat.console import console, run_stage
from fairat.errors import UserError
from fairat.files import whole_directory, whole_file
from fairat.papers.needs import PAPER_TARGETS, need
from fairat.papers.published import PrintedCell, printed_cells
from fairat.papers.reproduction import Reproduction, comparison_table, counted
from fairat.papers.reproduction_pages import page, summary
from fairat.papers.shown import Wanted, look, wanted_by
from fairat.results.aggregation import aggregate
from fairat.study import Study, load_study


def main(
    instead: Annotated[
        list[str] | None,
        typer.Option(help="SUITE=OTHER: show the numbers of another suite, which are marked not comparable"),
    ] = None,
) -> None:
    """Compares every printed cell with what was evaluated so far."""
    study = load_study()
    cells = printed_cells()
    replaced = _replacements(study, instead or [])
    found = look(wanted_evidence(cells, study, replaced), study)
    comparisons = Reproduction(cells, tidy_tables(found.used), study.suites, replaced).comparisons()
    with whole_directory(paths.REPRODUCED_CELLS) as directory:
        comparison_table(comparisons).to_csv(directory / "cells.csv", index=False)
        for target in PAPER_TARGETS.values():
            if target.kind == "table":
                (directory / f"{target.name}.md").write_text(page(target, comparisons), encoding="utf-8")
    with whole_file(paths.REPRODUCTION) as beside:
        beside.write_text(summary(comparisons, paths.REPRODUCED_CELLS.name), encoding="utf-8")
    counts = ", ".join(f"{number:,} {verdict}" for verdict, number in counted(comparisons).items())
    console.print(f"{len(comparisons):,} printed cells: {counts}. {paths.REPRODUCTION}")
    if missing := found.note():
        console.print(missing, markup=False)


def wanted_evidence(cells: Sequence[PrintedCell], study: Study, instead: Mapping[str, str]) -> list[Wanted]:
    """The evidence of every printed cell; of a suite that stands in for another, of the runs that it has."""
    wanted = wanted_by(map(need, cells))
    replaced = [one._replace(suite=instead.get(one.suite, one.suite)) for one in wanted]
    return [one for one in dict.fromkeys(replaced) if one.key in study.runs]


def tidy_tables(evidence: Sequence[Wanted]) -> dict[str, pd.DataFrame]:
    """The tidy table of each suite."""
    files: dict[str, list[Path]] = {}
    for one in evidence:
        files.setdefault(one.suite, []).append(one.path)
    return {suite: aggregate(paths_of_suite) for suite, paths_of_suite in files.items()}


def _replacements(study: Study, pairs: list[str]) -> dict[str, str]:
    replaced = {}
    for pair in pairs:
        suite, sign, other = pair.partition("=")
        if not sign:
            raise UserError(f"--instead takes SUITE=OTHER, such as cifar10=cifar10_jpeg, not {pair!r}.")
        study.suite(other)
        replaced[suite] = other
    return replaced


if __name__ == "__main__":
    run_stage(main)
