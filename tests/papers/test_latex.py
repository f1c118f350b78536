"""The papers' tables are LaTeX that pdflatex takes, complete or not."""

import re
import shutil
from dataclasses import replace

import pytest
from fairat.papers.needs import PAPER_TARGETS, PaperTarget
from fairat.papers.tables import entries, paper_table
from fairat.rendering.latex import escaped, latex
from fairat.study import load_study
from fairat.tools import pdf as paper_pdf

from tests.papers.toys import printed_as_ours, tidy

TABLES = [target for target in PAPER_TARGETS.values() if target.kind == "table"]
HARMFUL = re.compile(r"[^\x00-\x7F\u00C0-\u017F]")
"""What stops pdflatex, or may: everything but ASCII and accented Latin letters."""


def source(target: PaperTarget, complete: bool) -> str:
    """A table with the printed numbers in the place of ours, or without any number."""
    ours = printed_as_ours(target)
    if not complete:
        ours = replace(ours, table=tidy([]), closing=("Not complete. Missing or stale: 21 of 22 evaluations.",))
    return latex(paper_table(target, entries(target), ours))


@pytest.mark.parametrize("complete", [True, False], ids=["complete", "empty"])
@pytest.mark.parametrize("target", TABLES, ids=lambda target: target.name)
def test_no_character_of_a_table_stops_pdflatex(target, complete):
    assert set(HARMFUL.findall(source(target, complete))) == set()


def test_no_character_of_a_label_or_title_of_the_study_stops_pdflatex():
    study = load_study()
    texts = [suite.title for suite in study.suites.values()]
    texts += [text for method in study.methods.values() for text in (method.label, method.short)]
    assert set(HARMFUL.findall(escaped("".join(texts)))) == set()


def test_the_greek_letters_of_bat_are_mathematics():
    table1, table2 = (source(PAPER_TARGETS[name], complete=True) for name in ("bat_table1", "bat_table2"))
    assert r"TRADES (1/$\lambda$ = 6) &" in table1
    assert r"$x^{\Phi}_{\mathrm{clean}}$" in table2
    assert r"No. 5 is BAT. $\Phi$ marks the boundary points" in table2


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(paper_pdf.ENGINE), reason=f"no {paper_pdf.ENGINE} here")
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "empty"])
def test_all_tables_compile_and_fit_the_page(tmp_path, complete):
    assert len(TABLES) == 15
    parts = [tmp_path / f"{target.name}.tex" for target in TABLES]
    for target, part in zip(TABLES, parts, strict=True):
        part.write_text(source(target, complete), encoding="utf-8")
    log = paper_pdf.build(parts, tmp_path / "tables.pdf")
    assert paper_pdf.unfit(log) == []
    assert "Missing character" not in log
