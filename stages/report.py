"""The evidence of every printed cell and the papers' numbers -> how far each printed number is reproduced."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import pandas as pd
import typer
from fairat import paths
from fairat.console import console
from fairat.errors import UserError
from fairat.files import whole_directory, whole_file
from fairat.papers.needs import need
from fairat.papers.published import printed_cells
from fairat.papers.reproduction import VERDICTS, compare, comparison_table
from fairat.papers.reproduction_pages import summary
from fairat.papers.setting import caption
from fairat.papers.shown import Wanted, look, wanted_by
from fairat.results.aggregation import COLUMNS, aggregate
from fairat.study import Run, Study, load_study


def main(
    instead: Annotated[
        list[str] | None,
        typer.Option(help="SUITE=OTHER: show the numbers of another suite, which are marked not comparable"),
    ] = None,
) -> None:
    """Compares every printed cell with what was evaluated so far."""
    study, cells = load_study(), printed_cells()
    replaced = _replacements(study, instead or [])
    wanted = [one._replace(suite=replaced.get(one.suite, one.suite)) for one in wanted_by(map(need, cells))]
    # A suite that stands in for another need not have all its runs.
    found = look([one for one in dict.fromkeys(wanted) if one.key in study.runs], study)
    files = [one.path for one in found.used]
    table = aggregate(files) if files else pd.DataFrame(columns=list(COLUMNS))
    comparisons = compare(cells, table, study, replaced)
    with whole_directory(paths.REPRODUCED_CELLS) as directory:
        comparison_table(comparisons).to_csv(directory / "cells.csv", index=False)
    with whole_file(paths.REPRODUCTION) as beside:
        beside.write_text(
            summary(comparisons, paths.PAPER_TABLES.name, experiments(study, found.used)), encoding="utf-8"
        )
    verdicts = Counter(one.verdict for one in comparisons)
    counts = ", ".join(f"{verdicts[verdict]:,} {verdict}" for verdict in VERDICTS)
    console.print(f"{len(comparisons):,} printed cells: {counts}. {paths.REPRODUCTION}")
    if missing := found.note():
        console.print(missing, markup=False)


def experiments(study: Study, used: Sequence[Wanted]) -> list[str]:
    """A sentence on each suite whose evidence is used."""
    return [
        f"{study.suites[name].title}: {caption(study, runs, pd.DataFrame(), ['pgd10', 'pgd20'])}"
        for name, runs in _runs_of(study, used).items()
    ]


def _runs_of(study: Study, used: Sequence[Wanted]) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {}
    for key in dict.fromkeys(one.key for one in used):
        run = study.named(key)
        runs.setdefault(run.suite_name, []).append(run)
    return runs


def _replacements(study: Study, pairs: list[str]) -> dict[str, str]:
    replaced = {}
    for pair in pairs:
        suite, sign, other = pair.partition("=")
        if not sign:
            raise UserError(f"--instead takes SUITE=OTHER, such as cifar10=cifar10_jpeg, not {pair!r}.")
        study.suite(other)
        replaced[suite] = other
    return replaced
