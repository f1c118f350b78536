"""A table in plain text, cell by cell, before any format: numbers in percent, marks, headings, parts that fit a page."""

import textwrap
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import chain, groupby, pairwise
from math import ceil
from typing import Literal

MISSING = "–"
MINUS = "−"
OURS = "◇"
"""Marks the rows of the paper's own method, as in FAIR-TAT Table 1."""

Mark = Literal["", "best", "second"]
Gap = Literal["", "space", "rule"]


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        mean: over seeds, a fraction in [0, 1]; None where there is no value.
        std: sample standard deviation over seeds; None for fewer than two.
        footnote: the letter of a footnote, or empty.
        decimals: FAIR-TAT prints one, BAT two.
    """

    mean: float | None = None
    std: float | None = None
    mark: Mark = ""
    footnote: str = ""
    decimals: int = 1

    @property
    def number(self) -> str:
        """The mean in percent, with a true minus sign; a dash where there is none."""
        return MISSING if self.mean is None else str(percent(self.mean, self.decimals)).replace("-", MINUS)

    @property
    def spread(self) -> str:
        """The standard deviation in percent points; empty where there is none."""
        return "" if self.std is None else str(percent(self.std, self.decimals))

    @property
    def text(self) -> str:
        """`83.5`, or `83.5 ± 0.2` over several seeds."""
        return f"{self.number} ± {self.spread}" if self.spread else self.number


@dataclass(frozen=True)
class Column:
    """Headings of one column, outermost first; neighbours share equal headings. The outermost is the suite's."""

    headings: tuple[str, ...]
    ours: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a table; `gap` is what stands between it and the line above."""

    label: str
    cells: tuple[Cell, ...]
    ours: bool = False
    gap: Gap = ""


@dataclass(frozen=True)
class Grid:
    """A table, cell by cell, in plain text; renderers escape what their format needs.

    Attributes:
        name: letters, digits and hyphens, for instance `table1-cifar10`.
        stub: heading of the line labels.
        footnotes: letter and text, in the order of the letters.
    """

    name: str
    caption: str
    stub: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    footnotes: tuple[tuple[str, str], ...] = ()

    @property
    def page_columns(self) -> int:
        """How many columns fit on a page: 9, as in the paper's Table 3; 6 where cells hold a spread as well."""
        return 6 if any(cell.spread for line in self.lines for cell in line.cells) else 9


def percent(fraction: float, decimals: int = 1) -> Decimal:
    """A fraction in percent, rounded half up as people round: 0.83465 is 83.5, and with two decimals 83.47."""
    # Binary noise goes first: 100 * 0.83465 is not 83.465.
    rounded = Decimal(repr(round(100 * float(fraction), 9))).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return rounded + 0  # no -0.0


def blocks(grid: Grid, max_columns: int) -> list[Grid]:
    """The table in parts of at most that many columns, to stand one below the other.

    Nothing is split if it fits; otherwise every suite starts a part of its own, its parts are of like size, and the
    columns of one evaluation stay together (even where `max_columns` is less).
    """
    if len(grid.columns) <= max_columns:
        return [grid]
    parts = []
    for _, suite in groupby(range(len(grid.columns)), key=lambda index: grid.columns[index].headings[0]):
        units = [list(unit) for _, unit in groupby(suite, key=lambda index: _unit(grid.columns[index], index))]
        per_part = max(1, max_columns // max(map(len, units)))
        num_parts = ceil(len(units) / per_part)
        ends = [len(units) * part // num_parts for part in range(num_parts + 1)]
        parts += [list(chain.from_iterable(units[start:end])) for start, end in pairwise(ends)]
    return [_selected(grid, part) for part in parts]


def wrapped(heading: str) -> list[str]:
    """A narrow column's heading in lines: broken at spaces only, and not after a plus."""
    width = max(8, *map(len, heading.split() or [""]))
    kept = heading.replace("+ ", "+\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(kept, width, break_long_words=False, break_on_hyphens=False) or [""]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def spans(grid: Grid, level: int) -> list[tuple[str, int]]:
    """The headings of one level, each with the number of neighbouring columns that share it and all those above it."""
    above = (column.headings[: level + 1] for column in grid.columns)
    return [(headings[-1], len(list(same))) for headings, same in groupby(above)]


def _unit(column: Column, index: int) -> Hashable:
    """What columns have in common that must stay together: the evaluation; nothing, where a column is a method."""
    return column.headings[:-1] if len(column.headings) > 2 else index


def _selected(grid: Grid, part: Sequence[int]) -> Grid:
    lines = (replace(line, cells=tuple(line.cells[index] for index in part)) for line in grid.lines)
    return replace(grid, columns=tuple(grid.columns[index] for index in part), lines=tuple(lines))
