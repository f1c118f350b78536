"""All tidy tables and the papers' numbers -> how far each printed number is reproduced."""

from typing import Annotated

import typer

from pipeline import paths
from pipeline.aggregation import read_table
from pipeline.config import Study, load_study
from pipeline.console import console, run_stage
from pipeline.errors import UserError
from pipeline.files import whole_directory, whole_file
from pipeline.papers.needs import PAPER_TARGETS, need
from pipeline.papers.published import printed_cells
from pipeline.rendering.reproduction import page, summary
from pipeline.reproduction import Reproduction, comparison_table, counted


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
    wanted = dict.fromkeys(replaced.get(suite, suite) for suite in (need(cell).suite for cell in cells))
    tables = {
        suite: read_table(paths.metrics(suite))
        for suite in wanted
        if suite in study.suites and paths.metrics(suite).exists()
    }
    comparisons = Reproduction(cells, tables, study.suites, replaced).comparisons()
    with whole_directory(paths.REPRODUCED_CELLS) as directory:
        comparison_table(comparisons).to_csv(directory / "cells.csv", index=False)
        for target in PAPER_TARGETS.values():
            if target.kind == "table":
                (directory / f"{target.name}.md").write_text(page(target, comparisons), encoding="utf-8")
    with whole_file(paths.REPRODUCTION) as beside:
        beside.write_text(summary(comparisons, paths.REPRODUCED_CELLS.name), encoding="utf-8")
    counts = ", ".join(f"{number:,} {verdict}" for verdict, number in counted(comparisons).items())
    console.print(f"{len(comparisons):,} printed cells: {counts}. {paths.REPRODUCTION}")


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
