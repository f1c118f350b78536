"""The papers' tables with our numbers: rows, order, groups and columns as printed, filled from the tidy table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from fairat.papers.needs import ABLATIONS, ONE_PASS, Need, PaperTarget, need
from fairat.papers.published import PrintedCell
from fairat.papers.remarks import REMARKS
from fairat.rendering.content import Content, Row, evaluation_heading
from fairat.rendering.filling import Layout, Slot
from fairat.rendering.grid import Grid
from fairat.rendering.tables import CORRUPTIONS, METRICS, row_slots

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
        notes: see `fairat.rendering.content.Content`.
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


def paper_table(target: PaperTarget, shown: Sequence[Entry], ours: Ours) -> Grid:
    """A table as the paper prints it, with our numbers; cells without one hold a dash.

    Args:
        target: one of the tables of `PAPER_TARGETS`.
        shown: its cells, or some of them, or the same of another suite.
        ours: the numbers.
    """
    rows = _rows(shown)
    suites = dict.fromkeys(entry.need.suite for entry in shown)
    content = Content(
        table=ours.table,
        rows=list({(row.method, row.weights): row for row in rows}.values()),
        suites={suite: ours.titles[suite] for suite in suites},
        notes=ours.notes,
        reasons=ours.reasons,
    )
    stub, columns, lines = _slots(target, shown, content, rows)
    return Layout(
        name=target.name,
        caption=_caption(target, ours.subject),
        stub=stub,
        content=content,
        columns=columns,
        lines=lines,
        absent=(),
        decimals=target.decimals,
        lowest_is_best=target.source == "bat",
        closing=(*(() if ours.subject else REMARKS[target.name]), *ours.closing),
    ).grid()


def _caption(target: PaperTarget, subject: str) -> str:
    paper = {"fairtat": "FAIR-TAT", "bat": "BAT"}[target.source]
    name = f"{paper} {target.kind.capitalize()} {target.number}"
    if subject:
        return f"{subject}, in the layout of {name}. In percent."
    return f"{name}, our numbers. {target.caption} In percent."


def _slots(
    target: PaperTarget, shown: Sequence[Entry], content: Content, rows: Sequence[Row]
) -> tuple[str, list[Slot], list[Slot]]:
    """Heading of the line labels, columns, lines."""
    if shown[0].need.corruption:
        return "Corruption", _side_by_side(content), _corruption_lines(shown)
    if _a_suite_a_line(shown):
        lines = [
            Slot((entry.cell.label,), {"suite": entry.need.suite, "method": entry.need.method, "weights": "last"})
            for entry in {entry.cell.label: entry for entry in shown}.values()
        ]
        shared = " / ".join(content.suites.values())
        return "Training data", [_error_column(entry.need, shared) for entry in _per_metric(shown)], lines
    columns = [_column(one, content) for suite in content.suites for one in _measured(shown, suite)]
    return "Method", columns, row_slots(rows)


def _a_suite_a_line(shown: Sequence[Entry]) -> bool:
    """BAT Table 4: every line is of other data."""
    return len({entry.need.suite for entry in shown}) == len({entry.cell.label for entry in shown}) > 1


def _per_metric(shown: Sequence[Entry]) -> list[Entry]:
    return list({entry.need.metric: entry for entry in shown}.values())


def _measured(shown: Sequence[Entry], suite: str) -> list[Need]:
    """One need for each column of a suite, in the order of the paper."""
    of_suite = (entry.need for entry in shown if entry.need.suite == suite)
    return list({(one.evaluation, one.metric): one for one in of_suite}.values())


def _column(one: Need, content: Content) -> Slot:
    heading = content.suites[one.suite]
    if one.metric not in METRICS:
        column = _error_column(one, heading)
        return Slot(column.headings, {**column.address, "suite": one.suite})
    address = {"suite": one.suite, "evaluation": one.evaluation, "metric": one.metric}
    headings = (heading, evaluation_heading(one.evaluation), METRICS[one.metric])
    return Slot(headings, {**address, "corruption": "", "class_name": ""})


def _error_column(one: Need, heading: str) -> Slot:
    """A column of BAT's errors: which error above, average or worst below, as in its tables."""
    kind, name, _ = one.metric.split("_")
    address = {"evaluation": one.evaluation, "metric": one.metric, "corruption": "", "class_name": ""}
    return Slot((heading, f"{name.capitalize()} error", kind.capitalize()), address)


def _side_by_side(content: Content) -> list[Slot]:
    """A column for each row of the content: the corruption tables stand on their side."""
    (suite,) = content.suites
    return [
        Slot((content.suites[suite], row.label), {"suite": suite, **slot.address}, row.ours)
        for row, slot in zip(content.rows, row_slots(content.rows), strict=True)
    ]


def _corruption_lines(shown: Sequence[Entry]) -> list[Slot]:
    """The corruptions that the numbers are of, in the order of FAIR-TAT Table 3, whatever Table 9 prints."""
    printed = {entry.need.corruption for entry in shown}
    shared = {"evaluation": "corruption", "metric": shown[0].need.metric, "class_name": ""}
    return [Slot((label,), {**shared, "corruption": name}) for name, label in CORRUPTIONS.items() if name in printed]


def _rows(shown: Sequence[Entry]) -> list[Row]:
    """One row per printed label, in their order."""
    first = {entry.cell.label: entry for entry in shown}
    return [
        Row(entry.need.method, entry.need.weights, _label(label), _group(entry.cell), _ours(entry))
        for label, entry in first.items()
    ]


def _label(label: str) -> str:
    """The printed label, with its Greek letters."""
    return label.replace("^Phi", "^Φ").replace("lambda", "λ")


def _group(cell: PrintedCell) -> str:
    return "" if cell.source == "bat" else _FAMILIES.get(cell.objective, "other")


def _ours(entry: Entry) -> bool:
    """The papers' own method. Some of FAIR-TAT's tables leave out its mark; ours all have it."""
    return entry.cell.scheme == "fairtat" if entry.cell.source == "fairtat" else entry.need.method == "bat"
