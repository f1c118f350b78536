from dataclasses import replace
from io import StringIO

import pytest
from fairat.rendering.tables import LAYOUTS
from fairat.rendering.terminal import console_table
from rich.cells import cell_len
from rich.console import Console

from tests.rendering.test_latex import everything
from tests.rendering.toys import AT, OURS, content, entry, four

table1, table9 = LAYOUTS["table1"], LAYOUTS["table9"]


def printed(table, width, **options):
    file = StringIO()
    console = Console(file=file, width=width, highlight=False, **options)
    console.print(console_table(table, width))
    return file.getvalue()


def test_a_small_table_reads_as_written_here():
    entries = [*four("at", 0.83465, 0.673, 0.479, None), *four("fair_tat", 0.8, 0.737, 0.4812, 0.2)]
    lines = [line.rstrip() for line in printed(table1(content(entries)), 80).splitlines()]
    assert lines == [
        "Accuracy (%) without attack and under PGD-10, overall and of the worst class.",
        "100 test images, 1 seed.",
        "",
        "Digits",
        "             Clean Worst  PGD-10 Worst",
        "Method     Overall Class Overall Class",
        "──────────────────────────────────────",
        "AT            83.5  67.3    47.9    –a",
        "FAIR-TAT ◇    80.0  73.7    48.1  20.0",
        "",
        "Bold: the best of a base and the rows of ours beside it.",
        "Underlined: the best of its column.",
        "◇: ours.",
        "a not evaluated",
    ]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("num_seeds", [1, 2])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(layout, width, num_seeds):
    table = layout(everything(count=8, num_seeds=num_seeds))
    text = printed(table, width)
    assert max(map(cell_len, text.splitlines())) <= width
    for line in table.lines:
        for cell in line.cells:
            assert cell.text in text
    assert "…" not in text


def test_parts_have_every_column_once():
    rows = [replace(AT, method=f"m{number}", label=f"method-{number:02}") for number in range(20)]
    entries = [entry(0.5, method=row.method, evaluation="corruption", corruption="fog") for row in rows]
    text = printed(table9(content(entries, rows)), 80)
    assert [text.count(row.label) for row in rows] == [1] * 20
    assert text.count("Fog") == 3


def test_the_better_of_a_pair_is_bold_and_the_best_of_a_column_underlined():
    entries = [
        *four("at", 0.8, None, 0.1, None),
        *four("fair_tat", 0.7, None, 0.2, None),
        *four("m", 0.75, None, 0.3, None),
    ]
    text = printed(
        table1(content(entries, (AT, OURS, replace(AT, method="m")))), 80, force_terminal=True, color_system="standard"
    )
    assert "\x1b[1;4m80.0\x1b[0m" in text
    assert "\x1b[1m20.0\x1b[0m" in text
    assert "\x1b[4m30.0\x1b[0m" in text


def test_names_are_no_markup():
    assert "[bold]x[/]" in printed(table1(content([entry(0.5)], [replace(AT, label="[bold]x[/]")])), 80)
