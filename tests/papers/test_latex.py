"""The papers' tables are LaTeX that pdflatex takes, complete or not."""

import re
from dataclasses import replace

import pytest
from fairat.papers.needs import PAPER_TARGETS, PaperTarget
from fairat.papers.published import printed_cells
from fairat.papers.reproduction import compare
from fairat.papers.tables import entries, paper_table
from fairat.papers.versus import versus_table
from fairat.rendering.latex import escaped, latex
from fairat.rendering.table import Table
from fairat.study import load_study
from fairat.tools import pdf as paper_pdf

from tests.papers.toys import printed_as_ours, tidy
from tests.tex import missing_from, needs_tex, text_of

TABLES = [target for target in PAPER_TARGETS.values() if target.kind == "table"]
STUDY = load_study()
HARMFUL = re.compile(r"[^\x00-\x7F\u00C0-\u017F]")
"""What stops pdflatex, or may: everything but ASCII and accented Latin letters."""


def tables_of(target: PaperTarget, complete: bool) -> list[Table]:
    """The table, and the same beside the printed numbers: with these in the place of ours, or without any number."""
    ours = printed_as_ours(target)
    if not complete:
        ours = replace(ours, table=tidy([]), closing=("Not complete. Missing or stale: 21 of 22 evaluations.",))
    comparisons = compare(printed_cells(), ours.table, STUDY, {})
    of_target = [one for one in comparisons if (one.cell.source, one.cell.table) == (target.source, target.number)]
    return [paper_table(target, entries(target), ours), versus_table(target, of_target, ours)]


def source(target: PaperTarget, complete: bool) -> str:
    return latex(tables_of(target, complete)[0])


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "empty"])
@pytest.mark.parametrize("target", TABLES, ids=lambda target: target.name)
def test_no_character_of_a_table_stops_pdflatex(target, complete):
    for table in tables_of(target, complete):
        assert set(HARMFUL.findall(latex(table))) == set()


def test_no_character_of_a_label_or_title_of_the_study_stops_pdflatex():
    texts = [suite.title for suite in STUDY.suites.values()]
    texts += [text for method in STUDY.methods.values() for text in (method.label, method.short)]
    assert set(HARMFUL.findall(escaped("".join(texts)))) == set()


def test_the_greek_letters_of_bat_are_mathematics():
    table1, table2 = (source(PAPER_TARGETS[name], complete=True) for name in ("bat_table1", "bat_table2"))
    assert r"TRADES (1/$\lambda$ = 6) &" in table1
    assert r"$x^{\Phi}_{\mathrm{clean}}$" in table2
    assert r"No. 5 is BAT. $\Phi$ marks the boundary points" in table2


@pytest.mark.slow
@needs_tex
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "empty"])
def test_all_tables_compile_fit_the_page_and_print_every_label_and_number(tmp_path, complete):
    assert len(TABLES) == 15
    tables = [table for target in TABLES for table in tables_of(target, complete)]
    parts = [tmp_path / f"{table.name}.tex" for table in tables]
    for table, part in zip(tables, parts, strict=True):
        part.write_text(latex(table), encoding="utf-8")
    log, refused = paper_pdf.build(parts, tmp_path / "tables.pdf")
    assert refused == {}
    assert paper_pdf.unfit(log) == []
    assert "Missing character" not in log
    text = text_of(tmp_path / "tables.pdf")
    assert {table.name: missing for table in tables if (missing := missing_from(text, table))} == {}
