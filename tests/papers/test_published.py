from collections import Counter

import pytest
from fairat import paths
from fairat.errors import UserError
from fairat.papers.published import printed_cells

HEADER = paths.PUBLISHED.read_text().splitlines()[0]
LINE = "fairtat,1,cifar10,preactresnet18,AT,at,plain,untargeted,constant,last,clean,,overall_accuracy,83.5,,,false,"


def test_every_printed_number_is_there():
    """The counts of reports/published/README.md."""
    cells = printed_cells()
    assert len(cells) == 1379
    counts = Counter((cell.source, cell.table) for cell in cells)
    assert counts["fairtat", 1] == 184
    assert counts["fairtat", 6] == 35
    assert counts["bat", 1] == 108
    assert sum(cell.std is not None for cell in cells if cell.table in (7, 8)) == 179


def test_columns_are_typed():
    first = printed_cells()[0]
    assert (first.label, first.value, first.std, first.seeds, first.is_ours) == ("AT", 83.5, None, None, False)
    seeds = {cell.seeds for cell in printed_cells() if cell.source == "fairtat" and cell.table == 7}
    assert seeds == {5}


def test_remarks_are_told_apart():
    second = printed_cells()[1]
    assert second.remarks == ["margin_ambiguous: see README", "inconsistent: Table 7 has 66.8"]


def test_table_9_means_the_corruptions_of_table_10_in_their_order():
    """Its printed labels are wrong from the seventh row on."""

    def of(table):
        return [cell for cell in printed_cells() if (cell.source, cell.table) == ("fairtat", table)]

    meant = list(dict.fromkeys(cell.meant_corruption for cell in of(9)))
    assert meant == list(dict.fromkeys(cell.corruption for cell in of(10)))
    printed = list(dict.fromkeys(cell.corruption for cell in of(9)))
    assert [one == other for one, other in zip(meant, printed, strict=True)] == [True] * 6 + [False] * 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", r"must have the columns source, table, .*, but has: a, b\. Restore it: `git checkout"),
        (f"{HEADER}\n{LINE.replace('83.5', 'many')}\n", r"line 2: could not convert string to float: 'many'\. Restore"),
        (
            f"{HEADER}\n{LINE.replace('fairtat', 'other')}\n",
            r"line 2: source must be one of fairtat, bat .* are 'other'",
        ),
        (None, r"There is no .*, the papers' own numbers\. Restore it: `git checkout"),
    ],
)
def test_a_damaged_file_says_what_to_do(tmp_path, text, said):
    path = tmp_path / "paper_results.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        printed_cells(path)
