"""The papers' tables with our numbers: rows, order, groups and columns as printed, filled from the tidy table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from fairat.papers.needs import ABLATIONS, ONE_PASS, Need, PaperTarget, need
from fairat.papers.published import PrintedCell
from fairat.papers.remarks import REMARKS
from fairat.rendering.filling import Content, fill
from fairat.rendering.table import Row, Slot, Table
from fairat.rendering.tables import CORRUPTIONS, METRICS, accuracy_column, corruption_lines, row_columns, row_lines

PAPERS = {"fairtat": "FAIR-TAT", "bat": "BAT"}
_FAMILIES = {"at": "AT", "trades": "TRADES", "fat": "FAT"}


@dataclass(frozen=True)
class Entry:
    """A printed cell, and what ours is computed from; of a row that is not printed, the cell beside it with another label."""

    cell: PrintedCell
    need: Need


@dataclass(frozen=True)
class Ours:
    """Our side of a table.

    Attributes:
        table: the tidy table (`fairat.results.aggregation.COLUMNS`); it may lack numbers.
        titles: the headings of the suites.
        notes: see `fairat.rendering.filling.Content`.
        reasons: why a (suite, method, weights) has no value.
        closing: notes that stand last, such as what is missing.
        subject: what the table shows where it is not the paper's own subject; what is said of that is left out then.
    """

    table: pd.DataFrame
    titles: Mapping[str, str]
    notes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    closing: Sequence[str] = ()
    subject: str = ""


def entries(target: PaperTarget) -> list[Entry]:
    """The cells of a table in the order of the paper; in its ablations, FAIR-TAT with one clean pass below FAIR-TAT."""
    found = []
    for cell in target.cells:
        found.append(printed := Entry(cell, need(cell)))
        if target.name in ABLATIONS and (method := ONE_PASS.get(printed.need.method)):
            label = cell.label.replace("(CTS)", "(CTS, one clean pass)")
            found.append(Entry(replace(cell, label=label), replace(printed.need, method=method)))
    return found


def title(target: PaperTarget) -> str:
    """What the paper calls it."""
    return f"{PAPERS[target.source]} {target.kind.capitalize()} {target.number}"


def paper_table(target: PaperTarget, shown: Sequence[Entry], ours: Ours) -> Table:
    """A table as the paper prints it, with our numbers; cells without one hold a dash.

    Args:
        target: one of the tables of `PAPER_TARGETS`.
        shown: its cells, or some of them, or the same of another suite.
        ours: the numbers.
    """
    rows = [_row(entry) for entry in {entry.cell.label: entry for entry in shown}.values()]
    suites = {entry.need.suite: ours.titles[entry.need.suite] for entry in shown}
    different = list({(row.method, row.weights): row for row in rows}.values())
    content = Content(ours.table, different, suites, notes=ours.notes, reasons=ours.reasons)
    if shown[0].need.corruption:
        stub, columns, lines = "Corruption", row_columns(content), _corruption_lines(shown)
    elif len(suites) == len(rows) > 1:
        # BAT Table 4: every line is of other data.
        lines = [
            replace(line, address={**line.address, "suite": suite})
            for line, suite in zip(row_lines(rows), suites, strict=True)
        ]
        one_suite = [entry for entry in shown if entry.need.suite == shown[0].need.suite]
        stub, columns = "Training data", _columns(one_suite, dict.fromkeys(suites, " / ".join(suites.values())))
    else:
        stub, columns, lines = "Method", _columns(shown, suites), row_lines(rows)
    if ours.subject:
        caption, remarks = f"{ours.subject}, in the layout of {title(target)}. In percent.", ()
    else:
        caption, remarks = f"{title(target)}, our numbers. {target.caption} In percent.", REMARKS[target.name]
    return fill(
        Table(target.name, caption, stub, columns, lines),
        content,
        decimals=target.decimals,
        lowest_is_best=target.source == "bat",
        closing=(*remarks, *ours.closing),
    )


def _columns(shown: Sequence[Entry], headings: Mapping[str, str]) -> list[Slot]:
    """A column for each number of each suite, in the order of the paper."""
    needs = {(one.suite, one.evaluation, one.metric): one for one in (entry.need for entry in shown)}
    return [
        _column(one, heading) for suite, heading in headings.items() for one in needs.values() if one.suite == suite
    ]


def _column(one: Need, heading: str) -> Slot:
    """BAT's errors: which error above, average or worst below, as in its tables."""
    if one.metric in METRICS:
        return accuracy_column(one.suite, heading, one.evaluation, one.metric)
    kind, name, _ = one.metric.split("_")
    headings = (heading, f"{name.capitalize()} error", kind.capitalize())
    return Slot(headings, {"suite": one.suite, "evaluation": one.evaluation, "metric": one.metric})


def _corruption_lines(shown: Sequence[Entry]) -> list[Slot]:
    """The corruptions that the numbers are of, in the order of FAIR-TAT Table 3, whatever Table 9 prints."""
    printed = {entry.need.corruption for entry in shown}
    return corruption_lines(shown[0].need.metric, [name for name in CORRUPTIONS if name in printed])


def _row(entry: Entry) -> Row:
    """The row of a printed label, with its Greek letters.

    The papers' own method is marked: some of FAIR-TAT's tables leave out its mark; ours all have it.
    """
    cell, method = entry.cell, entry.need.method
    label = cell.label.replace("^Phi", "^Φ").replace("lambda", "λ")
    if cell.source == "bat":
        return Row(method, entry.need.weights, label, ours=method == "bat")
    return Row(method, entry.need.weights, label, _FAMILIES.get(cell.objective, "other"), cell.scheme == "fairtat")
