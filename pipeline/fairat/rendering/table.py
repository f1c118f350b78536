"""A table, cell by cell, in plain text before any format: addresses, numbers in percent, marks, parts that fit a page."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import chain, groupby, pairwise
from math import ceil
from typing import Literal, NamedTuple

MISSING = "–"
MINUS = "−"
OURS = "◇"
"""Marks the rows of a paper's own method."""
STAR = "*"
"""Marks a difference from the base whose interval leaves out zero."""

Mark = Literal["bold", "underlined", "significant"]
Gap = Literal["", "space", "rule"]


@dataclass(frozen=True)
class Row:
    """One weight set of one method, as tables and figures show it.

    Attributes:
        weights: last, ema, fawa or best.
        label: as papers print it.
        group: rows of one group (the objective family) stand together, with a rule between groups.
        ours: whether tables mark it.
        short: where space is scarce, as in column headings; the label if empty.
        base: of a row of ours, the method whose row with the same weights it is compared with.
        reference: a row that tables show for comparison only, and never mark: Clean Training.
        stubs: the cells before its numbers; the label alone if empty.
    """

    method: str
    weights: str
    label: str
    group: str = ""
    ours: bool = False
    short: str = ""
    base: str = ""
    reference: bool = False
    stubs: tuple[str, ...] = ()


class Formula(str):
    """Text that is mathematics of LaTeX, for the mode that dollar signs begin."""


class Address(NamedTuple):
    """Which number stands in a cell: the keys of the tidy table but for the seed."""

    suite: str
    method: str
    weights: str
    evaluation: str
    metric: str
    corruption: str = ""
    class_name: str = ""


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        mean: over seeds, a fraction in [0, 1]; errors and differences may be negative; None where there is no value.
        std: sample standard deviation over seeds (n - 1); None for fewer than two.
        seeds: how many have a value.
        images: fewest and most images that a seed's value was computed from.
        footnote: the letter of a footnote, or empty.
        signed: whether a plus sign stands before what is above zero, as before a difference.
    """

    mean: float | None = None
    std: float | None = None
    seeds: int = 0
    images: tuple[int, int] = (0, 0)
    marks: frozenset[Mark] = frozenset()
    footnote: str = ""
    decimals: int = 1
    signed: bool = False

    @property
    def number(self) -> str:
        """The mean in percent, with a true minus sign; a dash where there is none."""
        if self.mean is None:
            return MISSING
        text = str(number := percent(self.mean, self.decimals)).replace("-", MINUS)
        return f"+{text}" if self.signed and number > 0 else text

    @property
    def spread(self) -> str:
        """The standard deviation in percent points; empty where there is none."""
        return "" if self.std is None else str(percent(self.std, self.decimals))

    @property
    def text(self) -> str:
        """`83.5`, or `83.5 ± 0.2` over several seeds."""
        return f"{self.number} ± {self.spread}" if self.spread else self.number

    @property
    def superscript(self) -> str:
        """What stands above the number's end: the star of a significant difference, the letter of a footnote."""
        star = STAR if "significant" in self.marks else ""
        return f"{self.footnote}{star}"


@dataclass(frozen=True)
class Slot:
    """A column or a line.

    Attributes:
        headings: outermost first, a column's from its suite on; neighboring columns share equal ones. Of a line, what stands
            before its numbers.
        address: the part of the address that all its cells share.
        gap: what stands between a line and the line above.
        section: of a line, the heading above it and above those that follow with the same one; empty without.
        cells: of a line, once the table is filled.
    """

    headings: tuple[str, ...]
    address: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    gap: Gap = ""
    section: str = ""
    cells: tuple[Cell, ...] = ()

    @property
    def label(self) -> str:
        """The innermost heading."""
        return self.headings[-1]


@dataclass(frozen=True)
class Table:
    """Lines by columns of cells; `fairat.rendering.filling.fill` fills it, and writers escape what their format needs.

    Attributes:
        name: once filled, letters, digits and hyphens, for instance `table1-cifar10`.
        stubs: headings of what stands before the numbers.
        footnotes: letter and text, in the order of the letters.
    """

    name: str
    caption: str
    stubs: tuple[str, ...]
    columns: Sequence[Slot]
    lines: Sequence[Slot]
    notes: Sequence[str] = ()
    footnotes: Sequence[tuple[str, str]] = ()

    def parts(self, max_columns: int | None = None) -> list["Table"]:
        """The table in parts of at most that many columns, to stand one below the other; by default what fits on a page.

        Nothing is split if it fits; otherwise every suite starts a part of its own, its parts are of like size, and the
        columns of one evaluation stay together (even where `max_columns` is less).
        """
        # 9 columns, as in FAIR-TAT's Table 3; 6 where cells hold a spread as well.
        most = max_columns or (6 if any(cell.spread for line in self.lines for cell in line.cells) else 9)
        if len(self.columns) <= most:
            return [self]
        parts = []
        for _, suite in groupby(enumerate(self.columns), key=lambda numbered: numbered[1].headings[0]):
            units = [[index for index, _ in unit] for _, unit in groupby(suite, key=_unit)]
            per_part = max(1, most // max(map(len, units)))
            num_parts = ceil(len(units) / per_part)
            ends = [len(units) * part // num_parts for part in range(num_parts + 1)]
            parts += [self._selected(list(chain(*units[start:end]))) for start, end in pairwise(ends)]
        return parts

    def _selected(self, part: Sequence[int]) -> "Table":
        lines = [replace(line, cells=tuple(line.cells[index] for index in part)) for line in self.lines]
        return replace(self, columns=[self.columns[index] for index in part], lines=lines)

    def spans(self, level: int) -> list[tuple[str, int]]:
        """The headings of one level, each with the number of neighboring columns that share it and all those above it."""
        above = (column.headings[: level + 1] for column in self.columns)
        return [(headings[-1], len(list(same))) for headings, same in groupby(above)]


def _unit(numbered: tuple[int, Slot]) -> object:
    """What columns have in common that must stay together: the evaluation; nothing, where a column is a method."""
    index, column = numbered
    return column.headings[:-1] if len(column.headings) > 2 else index


def percent(fraction: float, decimals: int = 1) -> Decimal:
    """A fraction in percent, rounded half up as people round: 0.83465 is 83.5, and with two decimals 83.47."""
    assert -1 <= fraction <= 1, f"fractions lie in [-1, 1], not {fraction}"
    # Binary noise goes first: 100 * 0.83465 is not 83.465.
    rounded = Decimal(repr(round(100 * float(fraction), 9))).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return rounded + 0  # no -0.0


def marked(label: str, ours: bool) -> str:
    """A label, with the mark of a paper's own method."""
    return f"{label} {OURS}" if ours else label


def sections(lines: Sequence[Slot]) -> Iterator[tuple[str, list[Slot]]]:
    """The lines below each heading, in their order."""
    for section, of_section in groupby(lines, key=lambda line: line.section):
        yield section, list(of_section)


def wrapped(heading: str) -> list[str]:
    """A narrow column's heading in lines: broken at spaces only, and not after a plus."""
    width = max(8, *map(len, heading.split() or [""]))
    kept = heading.replace("+ ", "+\N{NO-BREAK SPACE}")
    lines = textwrap.wrap(kept, width, break_long_words=False, break_on_hyphens=False) or [""]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def evaluation_heading(evaluation: str) -> str:
    """Name of an evaluation in headings: `pgd10` is PGD-10."""
    if evaluation.startswith("pgd"):
        return f"PGD-{evaluation.removeprefix('pgd')}"
    return {"autoattack": "AutoAttack"}.get(evaluation, evaluation.capitalize())
