"""The PDF of all tables and figures, made by a real TeX where there is one."""

from dataclasses import replace

import pytest
from fairat.errors import UserError
from fairat.methods.method import Method
from fairat.papers.significance import significance_table
from fairat.rendering.latex import write_latex
from fairat.rendering.table import Cell, Slot, Table
from fairat.rendering.tables import LAYOUTS
from fairat.results.significance import Block, Comparison, Difference
from fairat.tools import pdf as paper_pdf

from tests.rendering.test_latex import everything
from tests.tex import missing_from, needs_tex, squeezed, text_of


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / paper_pdf.REPORTS


def significance():
    methods = {
        "at": Method.model_validate({"label": "AT", "objective": {"kind": "at"}}),
        "ours": Method.model_validate(
            {"label": "FAIR_TAT 100%", "objective": {"kind": "at"}, "targets": {"kind": "cfps"}}
        ),
    }
    found = Difference(0.2, 0.25, -0.01, 0.11)
    evaluations = ("clean", "pgd10", "autoattack", "square")
    comparisons = [
        Comparison("demo", "ours", "at", Block(weights, evaluation), "worst_class_accuracy", 5, 10_000, found)
        for weights in ("last", "ema", "fawa")
        for evaluation in evaluations
    ]
    return significance_table("significance", "Digits & more", methods, comparisons, evaluations)


def write_everything(reports):
    """All layouts, on one and on five seeds, the differences, and a figure in a folder with a strange name."""
    for seeds in (1, 2):
        for name, layout in LAYOUTS.items():
            write_latex(
                reports / "tables" / f"suite_{seeds}" / f"{name}.tex", layout(everything(count=8, num_seeds=seeds))
            )
    write_latex(reports / "significance" / "demo" / "significance.tex", significance())
    from matplotlib.figure import Figure

    (reports / "figures" / "a_b 100%").mkdir(parents=True)
    Figure((7, 9)).savefig(reports / "figures" / "a_b 100%" / "figure1.pdf")


@pytest.mark.slow
@needs_tex
def test_every_generated_table_and_figure_fits_the_pages_of_one_document(reports):
    write_everything(reports)
    parts = paper_pdf.generated()
    assert len(parts) == 2 * len(LAYOUTS) + 2
    log, refused = paper_pdf.build(parts, paper_pdf.OUTPUT)
    assert refused == {}
    assert paper_pdf.unfit(log) == []
    text = text_of(paper_pdf.OUTPUT)
    for layout in LAYOUTS.values():
        assert [one for one in missing_from(text, layout(everything(count=8))) if "~" not in one] == []
    assert paper_pdf.OUTPUT.read_bytes().startswith(b"%PDF")
    assert all(f"part{number}{part.suffix}" in log for number, part in enumerate(parts))


def wide_note(text):
    cells = (Cell(0.5),)
    return Table("x", "Caption.", ("Row",), (Slot(("Suite", "Number")),), (Slot(("AT",), cells=cells),), notes=(text,))


@pytest.mark.slow
@needs_tex
@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (wide_note("unbreakable" * 20), r"Overfull \hbox"),
        (replace(wide_note(""), notes=("A note of one line.",) * 90), "Float too large"),
    ],
)
def test_what_does_not_fit_is_found(reports, table, complaint):
    write_latex(reports / "tables" / "demo" / "table1.tex", table)
    assert complaint in "".join(paper_pdf.unfit(paper_pdf.build(paper_pdf.generated(), paper_pdf.OUTPUT)[0]))


@pytest.mark.slow
@needs_tex
def test_the_report_does_not_contain_itself(reports, capsys):
    write_latex(reports / "tables" / "demo" / "table1.tex", wide_note("A note."))
    paper_pdf.main()
    paper_pdf.main()
    assert capsys.readouterr().out == "1 tables and figures in reports/report.pdf\n" * 2


@pytest.mark.slow
@needs_tex
def test_a_table_that_tex_refuses_costs_its_own_page(reports, capsys):
    for name, note in (("table1", "The first note."), ("table2", "猫"), ("table3", "The last note.")):
        write_latex(reports / "tables" / "demo" / f"{name}.tex", wide_note(note))
    paper_pdf.main()
    said = " ".join(capsys.readouterr().out.split())
    assert "pdflatex refuses reports/tables/demo/table2.tex: LaTeX Error: Unicode character 猫" in said
    assert "need LuaLaTeX" in said
    assert "2 tables and figures in reports/report.pdf" in said
    text = text_of(paper_pdf.OUTPUT)
    for words in ("The first note.", "pdflatex refuses table2.tex.", "The last note."):
        assert squeezed(words) in text


def test_without_tex_the_user_is_told_what_to_install(reports, monkeypatch):
    monkeypatch.setenv("PATH", "")
    write_latex(reports / "tables" / "demo" / "table1.tex", wide_note("A note."))
    with pytest.raises(UserError) as error:
        paper_pdf.main()
    assert str(error.value) == (
        "There is no pdflatex here, which reports/report.pdf needs. Install TeX Live with the packages of Debian's "
        "texlive-latex-recommended, or use the .tex files in a document of your own."
    )


def test_without_tables_the_user_is_told_how_to_make_some(reports):
    with pytest.raises(UserError) as error:
        paper_pdf.main()
    assert str(error.value) == (
        "There are no tables below reports yet. Make some: `dvc repro tables@demo`, or `make demo`."
    )
