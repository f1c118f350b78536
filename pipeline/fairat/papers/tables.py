"""The papers' tables with our numbers: rows, order, groups and columns as printed, filled from the tidy table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from fairat.papers.needs import ABLATIONS, ONE_PASS, Need, PaperTarget, need
from fairat.papers.published import PrintedCell
from fairat.papers.remarks import REMARKS
from fairat.rendering.filling import Content, fill
from fairat.rendering.table import Formula, Row, Slot, Table
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
        closing: notes that stand last, such as what is missing.
        subject: what the table shows where it is not the paper's own subject; what is said of that is left out then.
        about: what else `fairat.rendering.filling.Content` holds: notes, reasons, setting, differences, significant.
    """

    table: pd.DataFrame
    titles: Mapping[str, str]
    closing: Sequence[str] = ()
    subject: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


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
    content = content_of(shown, ours)
    if ours.subject:
        caption, remarks = f"{ours.subject}, in the layout of {title(target)}. In percent.", ()
    else:
        caption, remarks = f"{title(target)}, our numbers. {target.caption} In percent.", REMARKS[target.name]
    return fill(
        replace(layout(target, shown, content), caption=caption),
        content,
        decimals=target.decimals,
        rule="column" if target.source == "bat" else "line" if shown[0].need.corruption else "pairs",
        closing=(*remarks, *ours.closing),
    )


def content_of(shown: Sequence[Entry], ours: Ours) -> Content:
    """What fills a table of these cells."""
    suites = {entry.need.suite: ours.titles[entry.need.suite] for entry in shown}
    return Content(
        ours.table, list({(row.method, row.weights): row for row in rows_of(shown)}.values()), suites, **ours.about
    )


def rows_of(shown: Sequence[Entry]) -> list[Row]:
    """The rows as printed, each of ours with the method that it is compared with: the other of its group and weights."""
    rows = [_row(entry) for entry in {entry.cell.label: entry for entry in shown}.values()]
    bases = {(row.group, row.weights): row.method for row in rows if not row.ours and row.group}
    return [replace(row, base=bases.get((row.group, row.weights), "") if row.ours else "") for row in rows]


def layout(target: PaperTarget, shown: Sequence[Entry], content: Content) -> Table:
    """Columns and lines as printed, without numbers.

    BAT's tables of several data sets have a line for each row of each of them.
    """
    rows, suites = rows_of(shown), content.suites
    if shown[0].need.corruption:
        return Table(target.name, "", ("Corruption",), row_columns(content), _corruption_lines(shown))
    if target.source == "fairtat":
        return Table(target.name, "", ("Method",), _columns(shown, suites), row_lines(rows))
    of_first = [entry for entry in shown if entry.need.suite == shown[0].need.suite]
    columns = _columns(of_first, {shown[0].need.suite: " / ".join(suites.values())})
    if len(suites) == len(rows) > 1:  # BAT Table 4: every line is of other data
        lines = [
            replace(line, address={**line.address, "suite": suite})
            for line, suite in zip(row_lines(rows), suites, strict=True)
        ]
        return Table(target.name, "", ("Training data",), columns, lines)
    if len(suites) == 1:
        return Table(target.name, "", STUBS.get(target.name, ("Method",)), columns, row_lines(rows))
    columns = [replace(column, headings=column.headings[1:]) for column in columns]
    lines = [
        replace(line, address={**line.address, "suite": suite}, section=section)
        for suite, section in suites.items()
        for line in row_lines(rows_of([entry for entry in shown if entry.need.suite == suite]))
    ]
    return Table(target.name, "", ("Method",), columns, lines)


STUBS = {"bat_table2": ("No.", "Source loss", "Target loss")}
"""What stands before the numbers, where it is not the method alone."""

_CLEAN, _WRONG = r"x^{\Phi}_{\mathrm{clean}}", r"x^{\Phi}_{\mathrm{adv}}"


def _stubs(label: str) -> tuple[str, ...]:
    """Number, source and target loss of a row of BAT's Table 2 (its label: `No. 2: source(...), target(...)`)."""
    number, _, losses = label.partition(": ")
    source, _, target = losses.removeprefix("source").partition(", target")
    return number, _formula(source), "NA" if target.strip() == "NA" else _formula(target)


def _formula(loss: str) -> Formula:
    bare = loss.strip()
    bare = bare[1:-1] if bare.startswith("(") else bare
    bare = (
        bare.replace("KL(U, ", r"\mathrm{KL}(U \parallel ").replace("x_clean^Phi", _CLEAN).replace("x_adv^Phi", _WRONG)
    )
    return Formula(bare.replace("x_adv", r"x_{\mathrm{adv}}"))


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
        stubs = _stubs(cell.label) if cell.table == 2 else ()
        return Row(method, entry.need.weights, label, ours=method == "bat", stubs=stubs)
    return Row(
        method,
        entry.need.weights,
        label,
        _FAMILIES.get(cell.objective, "other"),
        cell.scheme == "fairtat",
        reference=cell.objective == "clean",
    )
