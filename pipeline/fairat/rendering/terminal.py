"""The tables for the terminal."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from fairat.rendering.table import Cell, Mark, Slot, Table, marked, sections, wrapped

_STYLES: dict[Mark, str] = {"bold": "bold", "underlined": "underline"}


def console_table(table: Table, width: int = 100) -> Group:
    """The caption, the table in parts that fit into `width` characters, the notes: print it with a rich console."""
    notes = [*table.notes, *(f"{letter} {text}" for letter, text in table.footnotes)]
    parts = [part for block in _fitting(table, width) for part in (_rich(block), Text())]
    return Group(Text(table.caption, style="bold"), Text(), *parts, *(Text(note, style="dim") for note in notes))


def _fitting(table: Table, width: int) -> list[Table]:
    """Parts of one suite each, as wide as possible."""
    console = Console(width=10**4)
    suites = [len(list(columns)) for _, columns in groupby(table.columns, key=lambda column: column.headings[0])]
    for max_columns in range(max(suites), 1, -1):
        parts = table.parts(max_columns)
        if all(Measurement.get(console, console.options, _rich(part)).maximum <= width for part in parts):
            return parts
    return table.parts(1)


def _rich(table: Table) -> RichTable:
    rich = RichTable(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    rich.title, rich.title_justify = Text(table.columns[0].headings[0]), "left"
    for stub in table.stubs:
        rich.add_column(Text(stub), overflow="fold", vertical="bottom")
    for heading in _headings(table.columns):
        rich.add_column(Text(heading), justify="right", no_wrap=True, vertical="bottom")
    widths = [
        max(len(cell.superscript) for cell in column)
        for column in zip(*(line.cells for line in table.lines), strict=True)
    ]
    for section, lines in sections(table.lines):
        if section:
            rich.add_section()
            rich.add_row(Text(section, style="italic"))
        for line, following in zip(lines, [*lines[1:], None], strict=True):
            last = following is not None and following.gap == "rule"
            label, *others = line.headings
            cells = map(_text, line.cells, widths)
            rich.add_row(Text(marked(label, line.ours)), *map(Text, others), *cells, end_section=last)
    return rich


def _headings(columns: Sequence[Slot]) -> Iterator[str]:
    """Headings below the suite's, a line each; a heading that columns share stands over the first of them."""
    previous: tuple[str, ...] = ()
    for column in columns:
        above = [] if column.headings[:-1] == previous else column.headings[1:-1]
        yield "\n".join([*above, *wrapped(marked(column.label, column.ours))])
        previous = column.headings[:-1]


def _text(cell: Cell, width: int) -> Text:
    """The number, and what stands above it in as many characters as the widest of its column needs."""
    text = Text(cell.text)
    for mark in cell.marks & _STYLES.keys():
        text.stylize(_STYLES[mark], 0, len(cell.number))
    return text.append(cell.superscript.ljust(width))
