"""Rows have the names and the order of the papers."""

from fairat.papers.rows import row, suite_rows
from fairat.study import load_study

from tests.rendering.test_tables import printed


def methods(*names):
    known = load_study().methods
    return [(name, known[name]) for name in names]


def test_rows_have_the_order_names_and_marks_of_the_printed_table_1():
    ours = suite_rows(
        methods("at", "fair_tat", "trades", "fair_tat_trades", "fat", "fair_tat_fat"), ("last", "ema", "fawa")
    )
    published = printed(1).groupby("method", sort=False)["is_ours"].first().iloc[:18]
    assert [row.label for row in ours] == list(published.index)
    assert [row.ours for row in ours] == [bool(mark) for mark in published]


def test_methods_of_no_family_come_last_as_in_the_printed_tables():
    rows = suite_rows(methods("clean", "at", "bat", "trades"), ("last",))
    assert [row.label for row in rows] == ["AT", "TRADES", "Clean Training", "BAT + TRADES"]


def test_only_fawa_together_with_cfas_margin_is_called_cfa():
    ((_, at), (_, constant)) = methods("at", "at_constant")
    assert row("at", at, "fawa").label == "AT + CFA"
    assert row("at_constant", constant, "fawa").label == "AT (constant margin) + FAWA"
    assert row("at_constant", constant, "fawa").short == "AT const. + FAWA"
    assert row("at", at, "best").label == "AT (best epoch)"


def test_only_evaluated_weight_sets_have_rows():
    assert [row.weights for row in suite_rows(methods("at"), ("best", "last"))] == ["last", "best"]
