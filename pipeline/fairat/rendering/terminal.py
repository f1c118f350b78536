"""The tables for the terminal."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich import box
from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from fairat.rendering.grid import OURS, Cell, Column, Grid, blocks, wrapped

_STYLES = {"best": "bold", "second": "underline", "": ""}


def console_table(grid: Grid, width: int = 100) -> Group:
    """The caption, the table in parts that fit into `width` characters, the notes: print it with a rich console."""
    notes = [Text(note, style="dim") for note in grid.notes]
    notes += [Text(f"{letter} {text}", style="dim") for letter, text in grid.footnotes]
    parts = [part for block in _fitting(grid, width) for part in (_table(block), Text())]
    return Group(Text(grid.caption, style="bold"), Text(), *parts, *notes)


def _fitting(grid: Grid, width: int) -> list[Grid]:
    """Parts of one suite each, as wide as possible."""
    suites = [list(columns) for _, columns in groupby(grid.columns, key=lambda column: column.headings[0])]
    most = max(map(len, suites)) if len(suites) > 1 else len(grid.columns)
    for max_columns in range(most, 0, -1):
        parts = blocks(grid, max_columns)
        if all(_width(part) <= width for part in parts):
            return parts
    return blocks(grid, 1)


def _width(grid: Grid) -> int:
    columns = zip(*([_text(cell) for cell in line.cells] for line in grid.lines), strict=True)
    numbers = (max(cell_len(text.plain) for text in column) for column in columns)
    headings = (max(map(cell_len, heading.split("\n"))) for heading in _headings(grid.columns))
    labels = max(cell_len(_label(line.label, line.ours)) for line in grid.lines)
    return max(labels, cell_len(grid.stub)) + sum(max(pair) + 1 for pair in zip(numbers, headings, strict=True))


def _table(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.title, table.title_justify = Text(grid.columns[0].headings[0]), "left"
    table.add_column(Text(grid.stub), overflow="fold", vertical="bottom")
    for heading in _headings(grid.columns):
        table.add_column(Text(heading), justify="right", no_wrap=True, vertical="bottom")
    for line, following in zip(grid.lines, [*grid.lines[1:], None], strict=True):
        last = following is not None and following.gap == "rule"
        table.add_row(Text(_label(line.label, line.ours)), *map(_text, line.cells), end_section=last)
    return table


def _headings(columns: Sequence[Column]) -> Iterator[str]:
    """Headings below the suite's, a line each; a heading that columns share stands over the first of them."""
    previous: tuple[str, ...] = ()
    for column in columns:
        *shared, last = column.headings[1:]
        lines = ["" if column.headings[:-1] == previous else heading for heading in shared]
        yield "\n".join([*lines, *wrapped(_label(last, column.ours))])
        previous = column.headings[:-1]


def _label(label: str, ours: bool) -> str:
    return f"{label} {OURS}" if ours else label


def _text(cell: Cell) -> Text:
    text = Text(cell.number, style="")
    text.stylize(_STYLES[cell.mark])
    return text.append(f" ± {cell.spread}" if cell.spread else "").append(f" {cell.footnote}" if cell.footnote else "")
