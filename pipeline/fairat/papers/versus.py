"""A table of a paper with the printed numbers beside ours."""

from collections.abc import Sequence
from dataclasses import replace

from fairat.papers.needs import PaperTarget
from fairat.papers.reproduction import Comparison
from fairat.papers.tables import Entry, Ours, content_of, layout, title
from fairat.rendering.filling import fill
from fairat.rendering.table import Address, Cell, Slot, Table

KINDS = ("Printed", "Ours", "Difference")
_NOTES = (
    "Difference: ours - printed, in percent points. Bold: beyond the tolerance, which is 1.96 standard errors of the "
    "difference, from the spread over seeds and the choice of test images (docs/reproduction.md).",
)


def versus_table(target: PaperTarget, comparisons: Sequence[Comparison], ours: Ours) -> Table:
    """Printed, ours and their difference for every number of a table; footnotes say why a difference means nothing.

    Args:
        target: one of the tables of `PAPER_TARGETS`.
        comparisons: of its cells, in the order of the paper.
        ours: our side; its numbers are those of the comparisons.
    """
    shown = [Entry(one.cell, one.need) for one in comparisons]
    content = replace(content_of(shown, ours), given=_cells(comparisons))
    table = layout(target, shown, content)
    caption = f"{title(target)}, printed and ours. {target.caption} In percent."
    return fill(
        replace(table, name=f"{target.name}_vs_paper", caption=caption, columns=_threefold(table.columns)),
        content,
        decimals=target.decimals,
        marks={_place(one, "Difference"): "bold" for one in comparisons if one.verdict in ("better", "worse")},
        remarks={
            _place(one, "Difference"): "; ".join(one.reasons) if one.ours is not None else "not run"
            for one in comparisons
        },
        closing=(*content.experiment([one.need.evaluation for one in comparisons]), *_NOTES, *ours.closing),
    )


def _place(one: Comparison, kind: str) -> Address:
    """The cell of one number: what it is of, and in the place of a class, which of the three it is."""
    need = one.need
    return Address(need.suite, need.method, need.weights, need.evaluation, need.metric, need.corruption, kind)


def _cells(comparisons: Sequence[Comparison]) -> dict[Address, Cell]:
    cells = {}
    for one in comparisons:
        printed_std = None if one.cell.std is None else one.cell.std / 100
        cells[_place(one, "Printed")] = Cell(one.cell.value / 100, printed_std, one.seeds)
        if one.ours is not None and one.difference is not None:
            cells[_place(one, "Ours")] = Cell(one.ours / 100, None if one.std is None else one.std / 100, one.seeds)
            cells[_place(one, "Difference")] = Cell(one.difference / 100, None, one.seeds, signed=True)
    return cells


def _threefold(columns: Sequence[Slot]) -> list[Slot]:
    """Each column three times, below its own heading."""
    return [
        replace(
            column,
            headings=(column.headings[0], " ".join(column.headings[1:]), kind),
            address={**column.address, "class_name": kind},
            ours=column.ours and kind == "Ours",
        )
        for column in columns
        for kind in KINDS
    ]
