from decimal import Decimal
from itertools import chain

import pytest
from fairat.rendering.table import MISSING, Cell, Slot, Table, percent, wrapped
from hypothesis import given
from hypothesis import strategies as st


def table(columns, spread=None):
    """One line; column `number` holds `number` percent."""
    line = Slot(("AT",), cells=tuple(Cell(number / 100, spread) for number in range(len(columns))))
    return Table("name", "caption", ("Method",), tuple(map(Slot, columns)), (line,))


def numbers(part):
    return [round(100 * cell.mean) for cell in part.lines[0].cells]


@pytest.mark.parametrize(
    ("fraction", "one", "two"),
    [
        (0.83465, "83.5", "83.47"),
        (0.00035, "0.0", "0.04"),
        (0.0005, "0.1", "0.05"),
        (1, "100.0", "100.00"),
        (0, "0.0", "0.00"),
        (1 / 3, "33.3", "33.33"),
        (0.99996, "100.0", "100.00"),
        (-0.0125, "-1.3", "-1.25"),
        (-0.00001, "0.0", "0.00"),
    ],
)
def test_fractions_are_printed_in_percent_rounded_half_up_with_one_decimal_or_two(fraction, one, two):
    assert str(percent(fraction)) == Cell(fraction).number.replace("−", "-") == one
    assert str(percent(fraction, 2)) == Cell(fraction, decimals=2).number.replace("−", "-") == two


@given(st.integers(0, 10_000))
def test_every_count_of_ten_thousand_images_is_printed_exactly_with_two_decimals(count):
    assert percent(count / 10_000, 2) == Decimal(count) / 100


@given(st.floats(0, 1), st.floats(0, 1))
def test_rounding_keeps_the_order(one, other):
    assert (percent(one) <= percent(other)) or one > other


def test_a_cell_prints_its_spread_only_where_there_is_one():
    assert Cell(0.8, 0.0123).text == "80.0 ± 1.2"
    assert Cell(0.8, 0.0123, decimals=2).text == "80.00 ± 1.23"
    assert Cell(0.8).text == "80.0"
    assert Cell().text == MISSING == "–"


def test_a_table_that_fits_is_not_split():
    whole = table([("A", str(number)) for number in range(9)])
    assert whole.parts(9) == [whole]


def test_a_wide_table_is_split_evenly():
    whole = table([("A", str(number)) for number in range(10)])
    assert [numbers(part) for part in whole.parts(9)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_every_suite_starts_a_part_of_its_own():
    whole = table([("A", "x"), ("A", "y"), ("B", "x"), ("B", "y")])
    assert [numbers(part) for part in whole.parts(3)] == [[0, 1], [2, 3]]


def test_the_columns_of_an_evaluation_stay_together():
    whole = table([("A", evaluation, metric) for evaluation in "pqr" for metric in "xy"])
    assert [numbers(part) for part in whole.parts(5)] == [[0, 1], [2, 3, 4, 5]]
    assert [numbers(part) for part in whole.parts(1)] == [[0, 1], [2, 3], [4, 5]]


@given(st.integers(1, 40), st.integers(1, 12))
def test_parts_hold_every_column_once_and_in_order(count, most):
    parts = table([("A", str(number)) for number in range(count)]).parts(most)
    assert list(chain.from_iterable(map(numbers, parts))) == list(range(count))
    assert max(len(numbers(part)) for part in parts) <= most


def test_cells_with_a_spread_leave_room_for_fewer_columns():
    seven = [("A", str(number)) for number in range(7)]
    assert [len(part.columns) for part in table(seven).parts()] == [7]
    assert [len(part.columns) for part in table(seven, spread=0.01).parts()] == [3, 4]


@pytest.mark.parametrize(
    ("heading", "lines"),
    [
        ("FAIR-TAT", ["FAIR-TAT"]),
        ("FAIR-TAT + EMA", ["FAIR-TAT", "+ EMA"]),
        ("Worst", ["Worst"]),
        ("", [""]),
        ("AT + EMA", ["AT + EMA"]),
    ],
)
def test_headings_break_before_a_plus_and_never_inside_a_word(heading, lines):
    assert wrapped(heading) == lines


def test_neighbors_share_headings_only_under_the_same_suite():
    whole = table([("A", "clean", "x"), ("A", "pgd", "x"), ("B", "pgd", "x"), ("B", "pgd", "y")])
    assert whole.spans(0) == [("A", 2), ("B", 2)]
    assert whole.spans(1) == [("clean", 1), ("pgd", 1), ("pgd", 2)]
