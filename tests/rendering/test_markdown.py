from dataclasses import replace

import pytest
from fairat.rendering.markdown import escaped, markdown, write_markdown
from fairat.rendering.table import Address
from fairat.rendering.tables import LAYOUTS

from tests.rendering.toys import AT, OURS, content, entry, four, seeds

table1, table9 = LAYOUTS["table1"], LAYOUTS["table9"]


def test_a_small_table_reads_as_written_here():
    entries = [*four("at", 0.83465, 0.673, 0.479, None), *four("fair_tat", 0.8, 0.737, 0.4812, 0.2)]
    rows, better = (
        (AT, replace(OURS, label="FAIR-TAT_2")),
        Address("demo", "fair_tat", "last", "pgd10", "overall_accuracy"),
    )
    assert markdown(table1(content(entries, rows, significant={better}))) == (
        "**Accuracy (%) without attack and under PGD-10, overall and of the worst class. 100 test images, 1 seed.**\n"
        "\n"
        "Digits\n"
        "\n"
        "| Method        |    Clean<br>Overall | Clean<br>Worst Class |                PGD-10<br>Overall | PGD-10<br>Worst Class |\n"
        "| :------------ | ------------------: | -------------------: | -------------------------------: | --------------------: |\n"
        "| AT            | <ins>**83.5**</ins> |                 67.3 |                             47.9 |         –<sup>a</sup> |\n"
        "| FAIR-TAT\\_2 ◇ |                80.0 |  <ins>**73.7**</ins> | <ins>**48.1**</ins><sup>\\*</sup> |                  20.0 |\n"
        "\n"
        "- Bold: the best of a base and the rows of ours beside it.\n"
        "- Underlined: the best of its column.\n"
        "- \\*: differs from its base; the 95% interval of the difference leaves out zero (paired bootstrap).\n"
        "- ◇: ours.\n"
        "- <sup>a</sup> not evaluated\n"
    )


def test_spreads_stand_beside_the_mark_not_inside():
    text = markdown(table1(content([*seeds([0.4, 0.5]), *seeds([0.6, 0.6], method="fair_tat")])))
    assert " <ins>**60.0**</ins> ± 0.0 |" in text
    assert " 45.0 ± 7.1 |" in text


def test_suites_side_by_side_stand_in_the_headings():
    entries = [entry(0.5, suite="cifar10"), entry(0.4, suite="cifar100")]
    text = markdown(table1(content(entries, (AT,), suites={"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"})))
    assert "| CIFAR-10<br>Clean<br>Overall | CIFAR-100<br>Clean<br>Overall |" in text


def test_every_line_of_a_part_has_as_many_cells_as_its_head():
    rows = [replace(AT, method=f"m{number}", label=f"a|b_{number}") for number in range(20)]
    entries = [entry(0.5, method=row.method, evaluation="corruption", corruption="fog") for row in rows]
    parts = [part for part in markdown(table9(content(entries, rows))).split("\n\n") if part.startswith("|")]
    assert len(parts) == 3
    for part in parts:
        bars = {line.replace("\\|", "").count("|") for line in part.splitlines()}
        assert len(bars) == 1


@pytest.mark.parametrize("character", r"\`*_{}[]<>&#|~$")
def test_markdown_of_its_own_syntax_is_shown_as_given(character):
    assert escaped(f"a{character}b") == f"a\\{character}b"


def test_a_file_is_written_as_returned(tmp_path):
    table = table1(content([entry(0.5)], (AT,)))
    write_markdown(tmp_path / "table1.md", table)
    assert (tmp_path / "table1.md").read_bytes() == markdown(table).encode()
