"""Which runs the tables need, from the printed cells; a list by hand is the reference."""

import pytest
from fairat.papers.figure_rows import DEMO_FIGURES, FIGURES
from fairat.papers.needs import PAPER_TARGETS, TABLE_SUITES, Need, need, needs, stage_of
from fairat.papers.published import printed_cells
from fairat.rendering.tables import CORRUPTIONS
from fairat.study import load_study

AVERAGED = {"last", "ema", "fawa"}
MAIN_ROWS = {
    "at": AVERAGED,
    "fair_tat": AVERAGED,
    "trades": {"last", "ema"},
    "trades_cfa": {"fawa"},
    "fair_tat_trades": AVERAGED,
    "fat": AVERAGED,
    "fair_tat_fat": AVERAGED,
    "frl": {"last", "ema"},
    "bat": {"last"},
    "wat": {"last"},
}
"""Run and weight sets of Tables 1, 2, 7 and 8."""
UNTRAINED = {"clean": {"last"}}
OURS_ONLY = dict.fromkeys(("fair_tat", "fair_tat_trades", "fair_tat_fat"), AVERAGED)
BASELINES = {name: rows for name, rows in MAIN_ROWS.items() if name in ("at", "trades", "trades_cfa", "fat")}
BAT_ROWS = {
    name: {"last"} for name in ("pgd_at", "trades_original_1", "trades_original_6", "frl_005", "frl_007", "bat")
}
EXPECTED = {
    "table1": MAIN_ROWS | UNTRAINED,
    "table2": MAIN_ROWS,
    "table3": OURS_ONLY,
    "table4": BASELINES,
    "table5": {"fair_tat": AVERAGED, "fair_tat_uniform": AVERAGED},
    "table6": dict.fromkeys(("at_constant", "fair_tat_uniform_constant", "fair_tat_constant"), AVERAGED),
    "table7": MAIN_ROWS | UNTRAINED,
    "table8": MAIN_ROWS,
    "table9": OURS_ONLY,
    "table10": BASELINES,
    "table11": {"xcit_at": {"last"}, "xcit_fair_tat": {"last"}},
    "bat_table1": BAT_ROWS,
    "bat_table2": {name: {"last"} for name in ("bat_no1", "bat_no2", "bat_no3", "bat_no4", "bat", "bat_no6")},
    "bat_table3": {"fat_bat": {"last"}, "gairat": {"last"}},
    "bat_table4": {"pgd_at": {"last"}},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_table_needs_the_runs_and_weights_of_the_specification(name):
    found: dict[str, set[str]] = {}
    for one in needs(PAPER_TARGETS[name].cells):
        found.setdefault(one.method, set()).add(one.weights)
    assert found == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_table_needs_its_suites_and_five_seeds_where_the_paper_has_them(name):
    all_needs = needs(PAPER_TARGETS[name].cells)
    assert tuple(dict.fromkeys(one.suite for one in all_needs)) == TABLE_SUITES[name]
    five = name in ("table5", "table6", "table7", "table8")
    assert {one.seeds for one in all_needs} == {(0, 1, 2, 3, 4) if five else (0,)}


def test_every_printed_cell_needs_a_run_that_the_study_has_with_weights_that_its_suite_evaluates():
    study = load_study()
    for cell in printed_cells():
        one = need(cell)
        for suite, method, seed in one.runs:
            assert f"{suite}/{method}/s{seed}" in study.runs, one
        assert one.weights in study.suites[one.suite].weights, one


def test_every_printed_cell_needs_a_number_that_the_suite_measures():
    study = load_study()
    for one in needs(printed_cells()):
        steps = study.suites[one.suite].evaluation.pgd.steps
        assert one.evaluation in {"clean", "autoattack", "square", "corruption", *(f"pgd{number}" for number in steps)}
        assert (one.corruption in CORRUPTIONS) == (one.evaluation == "corruption")


def test_no_two_printed_cells_of_a_table_are_the_same_number():
    for target in PAPER_TARGETS.values():
        assert len(needs(target.cells)) == len(target.cells), target.name


def test_fair_tat_is_measured_by_pgd_10_and_bat_by_pgd_20():
    """A16 in docs/deviations.md."""
    used = {(cell.source, need(cell).evaluation) for cell in printed_cells() if cell.evaluation == "pgd"}
    assert used == {("fairtat", "pgd10"), ("bat", "pgd20")}


def test_the_six_errors_of_bat_are_those_of_the_tidy_table():
    found = {need(cell).metric for cell in printed_cells() if cell.source == "bat"}
    words = ("standard", "boundary", "robust")
    assert found == {f"{kind}_{name}_error" for kind in ("average", "worst") for name in words}


def test_clean_predictions_come_from_the_evidence_of_pgd():
    assert [stage_of(name) for name in ("clean", "pgd10", "corruption", "square")] == [
        "pgd",
        "pgd",
        "corruptions",
        "square",
    ]
    one = Need("cifar10", "at", "last", (0, 1), "clean", "overall_accuracy")
    assert list(map(str, one.evidence)) == ["results/pgd/cifar10/at/s0.parquet", "results/pgd/cifar10/at/s1.parquet"]


def test_there_is_a_target_for_every_table_and_figure_asked_for():
    tables = [f"table{number}" for number in range(1, 12)] + [f"bat_table{number}" for number in range(1, 5)]
    assert list(PAPER_TARGETS) == [*tables, "figure1", "figure3", "figure4", "bat_figure2", "bat_figure4"]
    assert all(PAPER_TARGETS[name].cells for name in tables)
    assert set(FIGURES) == set(DEMO_FIGURES) == set(PAPER_TARGETS) - set(tables)


@pytest.mark.parametrize("figures", [FIGURES, DEMO_FIGURES], ids=["study", "demo"])
def test_every_row_of_a_figure_is_a_run_of_the_study(figures):
    study = load_study()
    for name, content in figures.items():
        for row in content.rows:
            key = f"{content.suite}/{row.method}/s0"
            assert key in study.runs, name
            assert "steps" not in content.evaluations or key in study.stepped, name
