import shutil
from dataclasses import replace
from functools import cache
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from fairat import paths
from fairat.errors import UserError
from fairat.papers.needs import FIVE_SEEDS, PAPER_TARGETS, need
from fairat.papers.published import printed_cells
from fairat.papers.reproduction import (
    Comparison,
    compare,
    compared,
    comparison_table,
    typical_spreads,
)
from fairat.papers.reproduction_pages import summary
from fairat.papers.tables import Ours
from fairat.papers.versus import versus_table
from fairat.rendering.markdown import markdown
from fairat.settings.suite import Suite
from fairat.study import load_study

from stages import report
from tests.papers.toys import evaluate, train
from tests.rendering.toys import entry, tidy

study = cache(load_study)
cells = cache(printed_cells)


def cell(
    table=7, label="AT", evaluation="clean", metric="overall_accuracy", source="fairtat", dataset="cifar10", **keys
):
    wanted = {"source": source, "table": table, "label": label, "evaluation": evaluation, "metric": metric} | keys
    (one,) = (c for c in cells() if c.dataset == dataset and all(getattr(c, k) == v for k, v in wanted.items()))
    return one


def found(one, *values, width=0.02, suite="cifar10", of=None):
    """The cell against a tidy table with a value (a fraction) of each seed."""
    wanted = need(one)
    keys = {"suite": suite, "method": wanted.method, "weights": wanted.weights, "evaluation": wanted.evaluation}
    keys |= {"corruption": wanted.corruption, "metric": wanted.metric}
    table = tidy(
        entry(value, seed=seed, **keys) | {"low": value - width / 2, "high": value + width / 2}
        for seed, value in enumerate(values)
    )
    comparisons = compare(cells(), table, of or study(), {wanted.suite: suite})
    return comparisons[cells().index(one)]


def tolerance(one, *values, half=0.0, typical=9.0):
    """Of numbers in percent, with intervals of `half` to either side."""
    intervals = [(value, value - half, value + half) for value in values]
    return compared(one, need(one), intervals, (), typical).tolerance


def test_the_tolerance_is_the_formula_of_the_documentation():
    one = replace(cell(), std=0.3, seeds=5, note="")
    # Two seeds with the deviation 0.4, and e = 0.37.
    values = (83.0 - 0.2 * sqrt(2), 83.0 + 0.2 * sqrt(2))
    expected = 1.96 * sqrt(0.4**2 / 2 + 0.3**2 / 5 + 2 * 0.37**2)
    assert tolerance(one, *values, half=1.96 * 0.37) == pytest.approx(expected)


def test_one_seed_of_ours_takes_the_printed_spread():
    one = replace(cell(), std=0.3, seeds=5, note="")
    assert tolerance(one, 83.0) == pytest.approx(1.96 * 0.3 * sqrt(1 + 1 / 5))


def test_a_single_printed_run_takes_our_spread():
    one = replace(cell(), std=None, seeds=None)
    assert tolerance(one, 82.6, 83.0, 83.4) == pytest.approx(1.96 * 0.4 * sqrt(1 / 3 + 1))


def test_two_single_runs_take_the_typical_spread():
    one = replace(cell(), std=None, seeds=None)
    assert tolerance(one, 83.0, half=1.96 * 0.5, typical=0.2) == pytest.approx(1.96 * sqrt(2 * 0.2**2 + 2 * 0.5**2))


def test_a_printed_deviation_that_is_doubted_is_not_used():
    """Table 7, FAIR-TAT + TRADES, PGD overall: 1.1 may be a misprint of 0.1."""
    one = cell(label="FAIR-TAT + TRADES", evaluation="pgd")
    assert one.std == 1.1
    assert tolerance(one, 50.0, typical=0.25) == pytest.approx(1.96 * 0.25 * sqrt(1 + 1 / 5))
    assert found(one, 0.5).reasons == ()


def test_typical_spreads_are_medians_of_the_printed_ones():
    spreads = typical_spreads(cells())
    printed = [
        c.std for c in cells() if (c.evaluation, c.metric) == ("square", "overall_accuracy") and c.std is not None
    ]
    assert spreads["square", "overall"] == np.median(printed)
    assert all(0.1 <= spreads[evaluation, "overall"] <= 0.4 for evaluation in ("clean", "pgd", "autoattack", "square"))
    assert spreads["clean", "worst"] > spreads["clean", "overall"]


def test_mean_and_deviation_are_in_percent_over_seeds():
    ours = found(cell(), 0.5, 0.54)
    assert (ours.ours, ours.seeds, ours.std) == (pytest.approx(52), 2, pytest.approx(4 / sqrt(2)))


def test_repetitions_of_one_experiment_are_within_as_often_as_said():
    """Trainings that differ by noise, five printed and five of ours, on test images of their own."""
    generator = np.random.default_rng(0)
    trials, deviation, images = 1000, 0.004, 10_000
    within = 0
    for _ in range(trials):
        trained = (0.5 + deviation * generator.normal(size=(2, 5))) + generator.normal(size=(2, 1)) * sqrt(
            0.25 / images
        )
        half = 1.96 * sqrt(0.25 / images)
        ours = [(100 * value, 100 * (value - half), 100 * (value + half)) for value in trained[0]]
        one = replace(cell(), value=100 * trained[1].mean(), std=100 * trained[1].std(ddof=1), seeds=5, note="")
        comparison = compared(one, need(one), ours, (), 9.0)
        within += comparison.verdict == "within"
    assert within / trials == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("metric", "source", "distance", "verdict"),
    [
        ("overall_accuracy", "fairtat", 0.0, "within"),
        ("overall_accuracy", "fairtat", 20.0, "better"),
        ("overall_accuracy", "fairtat", -20.0, "worse"),
        ("avg_std_error", "bat", 20.0, "worse"),
        ("avg_std_error", "bat", -9.0, "better"),
    ],
)
def test_higher_accuracies_and_lower_errors_are_better(metric, source, distance, verdict):
    one = cell(table=1, source=source, metric=metric, label={"bat": "PGD-AT", "fairtat": "FRL"}[source])
    comparison = Comparison(one, need(one), one.value + distance, 0.2, 5, tolerance=1.5)
    assert comparison.verdict == verdict
    assert comparison.difference == pytest.approx(distance)


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        ({"table": 6, "label": "AT + CFA", "evaluation": "pgd", "metric": "worst_class_accuracy"}, "uncertain"),
        ({"table": 1, "label": "TRADES + EMA", "evaluation": "pgd", "dataset": "cifar100"}, "suspicious"),
        (
            {"table": 1, "label": "Ours (BAT)", "source": "bat", "dataset": "cifar100", "metric": "avg_std_error"},
            "inconsistent",
        ),
    ],
)
def test_printed_cells_that_cannot_be_right_are_not_comparable(one, reason):
    printed = cell(**one)
    suite = need(printed).suite
    comparison = found(printed, printed.value / 100, suite=suite)
    assert comparison.verdict == "not comparable"
    assert comparison.reasons[0].startswith(reason)


def test_runs_of_cells_equal_to_another_method_are_not_comparable_but_a_repeated_value_is():
    copied = next(c for c in cells() if "repeated: run of 7 rows" in c.note)
    alike = next(c for c in cells() if c.note.startswith("repeated: same value as") and c.dataset == "cifar10")
    assert found(copied, copied.value / 100).verdict == "not comparable"
    assert found(alike, alike.value / 100).verdict == "within"


@pytest.mark.parametrize("token", ["margin_ambiguous", "ocr_repair", "ocr_fused", "label_shifted", "naming", "assumed"])
def test_other_remarks_are_mentioned_only(token):
    odd = next(c for c in cells() if c.note.startswith(f"{token}:") and " | " not in c.note)
    comparison = found(odd, odd.value / 100, suite=need(odd).suite)
    assert not any(token in reason for reason in comparison.reasons)
    assert comparison.remarks[-1].startswith(token)


SMALL = {
    "title": "Digits",
    "data": {"source": {"kind": "digits"}},
    "architecture": {"kind": "preact_resnet18", "width": 8},
    "threat": {"epsilon": "24/255", "step_size": "10/255"},
    "epoch_scale": 0.06,
    "evaluation": {
        "pgd": {"step_size": "6/255"},
        "autoattack": {"images": 50, "iterations": 10},
        "square": {"images": 100, "queries": 100},
    },
}


def test_another_suite_in_the_place_of_the_papers_is_not_comparable_for_every_reason():
    one = cell(table=2, label="AT", evaluation="square", source="fairtat")
    small = study().model_copy(update={"suites": {**study().suites, "small": Suite.model_validate(SMALL)}})
    comparison = found(one, 0.5, suite="small", of=small)
    assert comparison.verdict == "not comparable"
    assert comparison.reasons == (
        "images digits instead of cifar10",
        "network width 8 instead of 64",
        "radius 24/255 instead of 8/255",
        "step size of training attacks 10/255 instead of 2/255",
        "share of the epochs 0.06 instead of 1",
        "test images of Square 100 instead of all",
        "queries of Square 100 instead of 5000",
    )


def test_seeds_that_are_not_asked_for_do_not_count_and_missing_ones_are_mentioned():
    comparison = found(cell(), *[0.83] * 2)
    assert need(comparison.cell).seeds == FIVE_SEEDS
    assert comparison.seeds == 2
    assert comparison.remarks[0] == "2 of 5 seeds"
    single = found(cell(table=1), 0.83, 0.9, 0.9)
    assert (single.seeds, single.ours) == (1, pytest.approx(83))


def test_a_number_that_is_undefined_is_not_there():
    assert found(cell(), float("nan")).verdict == "not run"


@cache
def nothing_run():
    return compare(cells(), tidy([]), study(), {})


def test_without_runs_every_cell_is_not_run():
    assert {one.verdict for one in nothing_run()} == {"not run"}
    assert summary(nothing_run(), "x").count("| not run |") == 1
    assert "| all | 1379 | 0 | 0 | 0 | 0 | 1379 | – |" in summary(nothing_run(), "x")


def versus(name, comparisons):
    target = PAPER_TARGETS[name]
    titles = {suite: settings.title for suite, settings in study().suites.items()}
    of_target = [one for one in comparisons if (one.cell.source, one.cell.table) == (target.source, target.number)]
    return versus_table(target, of_target, Ours(tidy([]), titles))


def test_every_printed_number_stands_beside_ours_once():
    tables = [versus(name, nothing_run()) for name, target in PAPER_TARGETS.items() if target.kind == "table"]
    cells_of_tables = [
        (column.label, cell)
        for table in tables
        for line in table.lines
        for column, cell in zip(table.columns, line.cells, strict=True)
    ]
    printed = [cell for kind, cell in cells_of_tables if kind == "Printed" and cell.mean is not None]
    assert len(printed) == 1379
    assert {cell.number for kind, cell in cells_of_tables if kind == "Ours"} == {"–"}
    assert "| AT " in markdown(versus("table7", nothing_run()))
    assert "48.2 ± 0.3" in markdown(versus("table7", nothing_run()))


def test_a_difference_is_signed_bold_beyond_the_tolerance_and_says_why_it_means_nothing():
    lower, other = cell(table=1), cell(table=1, label="FAIR-TAT")
    comparisons = [
        found(lower, lower.value / 100 - 0.2),
        found(other, other.value / 100, suite="demo"),
        *(one for one in nothing_run() if one.cell.source == "fairtat" and one.cell.table == 1 and one.cell not in (lower, other)),
    ]  # fmt: skip
    text = markdown(versus("table1", comparisons))
    assert "**−20.0**" in text
    assert "0.0<sup>" in text
    assert "images digits instead of cifar10" in text


def test_every_record_of_the_list_says_why():
    one = cell(table=2, label="AT", evaluation="square")
    table = comparison_table([found(one, 0.5, suite="demo"), *nothing_run()[:1]])
    assert list(table["verdict"]) == ["not comparable", "not run"]
    assert "images digits instead of cifar10" in table["reasons"].tolist()[0]
    assert table["tolerance"].notna().tolist() == [True, False]
    assert table["difference"].tolist()[0] == pytest.approx(50 - one.value)


@pytest.fixture
def project(tmp_path, monkeypatch):
    for path in (paths.PARAMS, paths.RUNS, paths.OWN):
        shutil.copy(path, tmp_path)
    (tmp_path / paths.PUBLISHED).parent.mkdir(parents=True)
    for path in (paths.PUBLISHED, paths.PUBLISHED_PARAMS):
        shutil.copy(path, tmp_path / path)
    monkeypatch.chdir(tmp_path)


def test_the_stage_works_without_runs_and_with_some(project, capsys):
    report.main()
    assert "| all | 1379 | 0 | 0 | 0 | 0 | 1379 | – |" in paths.REPRODUCTION.read_text()
    train(method="at")
    evaluate(method="at", copies=250)
    report.main()
    # Tables 1 and 7 print clean and PGD-10 accuracy of three weight sets of AT, overall and of the worst class: 24 cells.
    text = paths.REPRODUCTION.read_text()
    assert "| 1355 |" in next(line for line in text.splitlines() if line.startswith("| all | 1379 |"))
    table = pd.read_csv(paths.REPRODUCED_CELLS / "cells.csv")
    assert len(table) == 1379
    ours = table[table["ours"].notna()]
    assert set(ours["ours"]) == {75.0, 50.0}
    assert set(ours["run"]) == {f"cifar10/at/{weights}" for weights in ("last", "ema", "fawa")}
    assert "evaluations missing, 0 stale." in capsys.readouterr().out


def test_the_stage_shows_no_stale_number(project, capsys):
    train(method="at")
    evaluate(method="at", sha256="other")
    report.main()
    assert "| all | 1379 | 0 | 0 | 0 | 0 | 1379 | – |" in paths.REPRODUCTION.read_text()
    assert "evaluations missing, 1 stale." in capsys.readouterr().out


def test_the_stage_shows_another_suite_if_told_and_refuses_what_it_cannot_read(project):
    train(suite="demo", method="at")
    evaluate(suite="demo", method="at")
    report.main(["cifar10=demo"])
    assert "images digits instead of cifar10" in paths.REPRODUCTION.read_text()
    with pytest.raises(UserError) as error:
        report.main(["demo"])
    assert str(error.value) == "--instead takes SUITE=OTHER, such as cifar10=cifar10_jpeg, not 'demo'."
    with pytest.raises(UserError, match="There is no suite 'x'"):
        report.main(["cifar10=x"])
