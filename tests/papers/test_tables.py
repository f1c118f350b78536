"""Filled with the papers' own numbers, our tables are the papers' tables."""

from dataclasses import replace

import pandas as pd
import pytest
from fairat.papers.demo_report import demo_tables
from fairat.papers.needs import PAPER_TARGETS, TABLE_SUITES
from fairat.papers.remarks import REMARKS
from fairat.papers.tables import Ours, entries, paper_table
from fairat.rendering.latex import latex
from fairat.rendering.markdown import markdown

from tests.papers.toys import TITLES, printed_as_ours, tidy

TABLES = [name for name, target in PAPER_TARGETS.items() if target.kind == "table"]
SIDEWAYS = ("table3", "table4", "table9", "table10")
SHAPES = {
    "table1": (23, 8),
    "table2": (22, 6),
    "table3": (18, 9),
    "table4": (18, 9),
    "table5": (9, 4),
    "table6": (12, 4),
    "table7": (23, 4),
    "table8": (22, 4),
    "table9": (18, 9),
    "table10": (18, 9),
    "table11": (2, 4),
    "bat_table1": (18, 6),
    "bat_table2": (6, 6),
    "bat_table3": (2, 6),
    "bat_table4": (2, 6),
}
"""reports/published/README.md; BAT Table 1 has its three data sets below one another."""


def table_of(name, **changes):
    target = PAPER_TARGETS[name]
    return paper_table(target, entries(target), replace(printed_as_ours(target), **changes))


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_stands_in_our_table_with_the_printed_decimals(name):
    target = PAPER_TARGETS[name]
    table = table_of(name)
    assert (len(table.lines), len(table.columns)) == SHAPES[name]
    shown = sorted(cell.number for line in table.lines for cell in line.cells if cell.mean is not None)
    assert shown == sorted(f"{entry.cell.value:.{target.decimals}f}" for entry in entries(target))


@pytest.mark.parametrize("name", TABLES)
def test_rows_bear_the_printed_labels_in_the_printed_order(name):
    table = table_of(name)
    printed = list(dict.fromkeys(entry.cell.label for entry in entries(PAPER_TARGETS[name])))
    found = [one.headings[-1] for one in table.columns] if name in SIDEWAYS else [line.label for line in table.lines]
    if name == "bat_table2":
        assert [line.headings[0] for line in table.lines] == [label.partition(":")[0] for label in printed]
        return
    if name == "bat_table1":
        found = found[:6]
        assert [line.label for line in table.lines] == 3 * found
        assert list(dict.fromkeys(line.section for line in table.lines)) == [TITLES[one] for one in TABLE_SUITES[name]]
    assert [label.replace("λ", "lambda").replace("Φ", "Phi") for label in found] == printed


@pytest.mark.parametrize("name", [name for name in TABLES if name not in (*SIDEWAYS, "bat_table1", "bat_table4")])
def test_every_number_stands_in_its_row_and_column(name):
    table = table_of(name)
    by_place = {}
    for entry in entries(PAPER_TARGETS[name]):
        by_place.setdefault(entry.cell.label, {})[entry.need.suite, entry.need.evaluation, entry.need.metric] = entry
    for line, row in zip(table.lines, by_place.values(), strict=True):
        values = [
            entry.cell.value / 100
            for suite in dict.fromkeys(key[0] for key in row)
            for key, entry in row.items()
            if key[0] == suite
        ]
        assert [cell.mean for cell in line.cells if cell.mean is not None] == pytest.approx(values)


def test_table_9_stands_under_the_corruptions_it_was_measured_on():
    """The printed `contrast 83.4` is pixelate, `fog 41.0` is contrast."""
    table = table_of("table9")
    lines = {line.label: [cell.mean for cell in line.cells] for line in table.lines}
    cells = [cell for cell in PAPER_TARGETS["table9"].cells if cell.corruption == "fog"]
    assert lines["Contrast"] == [cell.value / 100 for cell in cells]
    assert "Glass blur" not in lines
    assert any("wrong from the seventh row on" in note for note in table.notes)


def test_the_rows_of_the_papers_own_methods_are_marked():
    """FAIR-TAT marks nine rows of Table 1 and none of Table 6, where six are its own."""
    marked = {
        name: [line.label for line in table_of(name).lines if line.ours] for name in ("table1", "table6", "bat_table1")
    }
    assert marked["table1"] == [cell.label for cell in PAPER_TARGETS["table1"].cells[::8] if cell.is_ours]
    assert len(marked["table6"]) == 9, "with its three ablations"
    assert marked["bat_table1"] == ["Ours (BAT)"] * 3
    assert [one.headings[-1] for one in table_of("table9").columns if not one.ours] == []


def test_groups_are_parted_as_in_the_paper():
    gaps = {line.label: line.gap for line in table_of("table1").lines}
    assert [label for label, gap in gaps.items() if gap == "rule"] == ["TRADES", "FAT", "FRL"]
    assert [label for label, gap in gaps.items() if gap == "space"][:2] == ["AT + EMA", "AT + CFA"]


def test_bat_makes_the_lowest_error_of_a_column_bold():
    errors = table_of("bat_table3")
    for column in range(len(errors.columns)):
        cells = [line.cells[column] for line in errors.lines]
        assert {cell.mean for cell in cells if cell.marks == {"bold"}} == {
            min(cell.mean for cell in cells if cell.mean is not None)
        }
        assert all(cell.marks <= {"bold"} for cell in cells)


def test_fair_tat_makes_the_better_of_a_pair_bold_and_underlines_the_best_robust_row_of_a_column():
    """FAIR-TAT Table 1: AT 83.5 and FAIR-TAT 88.2 clean; Clean Training has 94 and no mark."""
    lines = {line.label: line.cells for line in table_of("table1").lines}
    assert "bold" in lines["FAIR-TAT"][0].marks
    assert "bold" not in lines["AT"][0].marks
    assert not any(cell.marks for cell in lines["Clean Training"])
    assert not any("bold" in cell.marks for cell in lines["FRL"])
    for column in range(8):
        robust = [cells[column] for label, cells in lines.items() if label != "Clean Training"]
        assert {cell.mean for cell in robust if "underlined" in cell.marks} == {
            max(cell.mean for cell in robust if cell.mean is not None)
        }


def test_tables_of_corruptions_underline_the_best_of_a_line():
    for line in table_of("table4").lines:
        best = max(cell.mean for cell in line.cells if cell.mean is not None)
        assert [cell.marks == {"underlined"} for cell in line.cells] == [cell.mean == best for cell in line.cells]


def test_rows_of_different_data_are_not_ranked():
    assert {cell.marks for line in table_of("bat_table4").lines for cell in line.cells} == {frozenset()}


def test_bat_table_2_has_the_papers_columns_in_mathematics():
    table = table_of("bat_table2")
    assert table.stubs == ("No.", "Source loss", "Target loss")
    number, source, target = table.lines[5].headings
    assert (number, source) == ("No. 6", r"x, x_{\mathrm{adv}}")
    assert target == (
        r"\mathrm{KL}(U \parallel f(x^{\Phi}_{\mathrm{clean}})) + \mathrm{KL}(U \parallel f(x^{\Phi}_{\mathrm{adv}}))"
    )
    assert table.lines[0].headings[2] == "NA"
    assert r"No. 2 & $x^{\Phi}_{\mathrm{clean}}, x^{\Phi}_{\mathrm{adv}}$ & " in latex(table)


def test_five_seeds_have_a_mean_and_a_deviation():
    cell = table_of("table7").lines[0].cells[0]
    assert cell.text == "83.5 ± 0.0"
    assert "Mean ± sample standard deviation over 5 seeds." in table_of("table7").notes
    assert table_of("table1").lines[0].cells[0].text == "83.5"


def test_what_was_not_run_is_a_dash_and_nothing_is_invented():
    target = PAPER_TARGETS["table7"]
    half = [entry for entry in entries(target) if entry.need.method in ("at", "fair_tat")]
    ours = replace(printed_as_ours(target), table=tidy(half), closing=("17 are missing.",))
    table = paper_table(target, entries(target), ours)
    assert (len(table.lines), len(table.columns)) == (23, 4)
    with_numbers = [line.label for line in table.lines if any(cell.mean is not None for cell in line.cells)]
    assert with_numbers == list(dict.fromkeys(entry.cell.label for entry in half))
    dashes = {cell.text for line in table.lines[6:] for cell in line.cells}
    assert dashes == {"–"}
    assert table.notes[-1] == "17 are missing."
    assert table.footnotes == [("a", "not evaluated")]


def test_a_table_without_any_number_is_all_dashes():
    table = table_of("bat_table1", table=tidy([]))
    assert {cell.text for line in table.lines for cell in line.cells} == {"–"}


def test_fewer_seeds_than_others_are_told():
    target = PAPER_TARGETS["table7"]
    some, others = tidy(entries(target)[:4]), tidy(entries(target)[4:8], seeds=3)
    table = paper_table(target, entries(target), replace(printed_as_ours(target), table=pd.concat([some, others])))
    assert table.footnotes == [("a", "3 of 5 seeds"), ("b", "not evaluated")]


@pytest.mark.parametrize("name", TABLES)
def test_markdown_and_latex_hold_every_remark(name):
    table = table_of(name)
    assert set(REMARKS[name]) <= set(table.notes)
    assert table.caption in markdown(table).replace("\\", "")
    assert r"\bottomrule" in latex(table)


def test_the_demo_stands_in_the_papers_layout_and_says_that_it_is_the_demo():
    target, shown = next((one, cells) for one, cells in demo_tables(["at", "fair_tat"]).items() if one.name == "table1")
    table = paper_table(target, shown, Ours(tidy(shown), TITLES, subject="Digits"))
    assert table.caption == "Digits, in the layout of FAIR-TAT Table 1. In percent. 10,000 test images, 1 seed."
    assert [line.label for line in table.lines] == [
        "AT",
        "FAIR-TAT",
        "AT + EMA",
        "FAIR-TAT + EMA",
        "AT + CFA",
        "FAIR-TAT + CFA",
    ]
    assert [column.headings for column in table.columns[:2]] == [
        ("Digits", "Clean", "Overall"),
        ("Digits", "Clean", "Worst Class"),
    ]
    assert not set(REMARKS["table1"]) & set(table.notes)


def test_the_demo_leaves_out_other_data_and_tables_it_has_no_row_of():
    names = [target.name for target in demo_tables(["at_constant"])]
    assert names == ["table6", "bat_table1"]


def test_the_demo_shows_the_same_numbers_once():
    """On one seed, Tables 7 and 8 are Tables 1 and 2."""
    names = {target.name for target in demo_tables(["at", "fair_tat", "trades"])}
    assert {"table1", "table2", "table5"} <= names
    assert not {"table7", "table8"} & names


@pytest.mark.parametrize(
    ("name", "method"), [("table5", "fair_tat_one_pass"), ("table6", "fair_tat_constant_one_pass")]
)
def test_an_ablation_table_has_fair_tat_with_one_clean_pass_below_fair_tat(name: str, method: str) -> None:
    labels = [line.label for line in table_of(name).lines]
    added = [label for label in labels if "one clean pass" in label]
    assert added == [f"FAIR-TAT (CTS, one clean pass){weights}" for weights in ("", " + EMA", " + CFA")]
    for label in added:
        assert labels[labels.index(label) - 1] == label.replace(", one clean pass", "")
    needed = {entry.need.method for entry in entries(PAPER_TARGETS[name]) if entry.cell.label in added}
    assert needed == {method}
    others = [cell.label for cell in PAPER_TARGETS[name].cells]
    assert [label for label in labels if label not in added] == list(dict.fromkeys(others))
