"""Fills a table from the tidy table: the number of each cell, which is the best, and what must be said beside them."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from itertools import chain, product
from math import ceil, isnan
from string import ascii_lowercase
from typing import Literal

import pandas as pd

from fairat.errors import Hint, UserError
from fairat.rendering.table import OURS, Address, Cell, Mark, Row, Slot, Table, evaluation_heading, percent
from fairat.results.aggregation import over_seeds

_LETTERS = tuple(map("".join, product(("", *ascii_lowercase), ascii_lowercase)))
"""Of footnotes: a, b, ..., z, aa, ab, ..."""


@dataclass(frozen=True)
class Content:
    """What tables are filled with.

    Attributes:
        table: the tidy table (`fairat.results.aggregation.COLUMNS`), of one suite or several.
        rows: in the order in which they are shown.
        suites: name and heading of every suite, in the order in which they stand side by side.
        pgd: the PGD evaluation that is shown, `pgd` and its number of steps.
        notes: what the numbers of a (suite, evaluation) do not say themselves, such as a reduced attack budget.
        reasons: why a (suite, method, weights) has no value, or fewer than it has seeds.

    Raises:
        UserError: there are no rows or no suites, or two rows are the same.
    """

    table: pd.DataFrame
    rows: Sequence[Row]
    suites: Mapping[str, str]
    pgd: str = "pgd10"
    notes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rows or not self.suites:
            raise UserError(
                "A table needs at least one row and one suite, but there are none. Add a run to runs.yaml or own.yaml."
            )
        shown = [(row.method, row.weights) for row in self.rows]
        if repeated := [row for row in shown if shown.count(row) > 1]:
            method, weights = repeated[0]
            raise UserError(f"The {weights} weights of {method} are in two rows of a table. Leave one of them out.")

    @cached_property
    def cells(self) -> dict[Address, Cell]:
        """Every number of the suites over its seeds; without a mean where it is undefined, as for a class without images."""
        found, keys = self.table.loc[self.table["suite"].isin(list(self.suites))], list(Address._fields)
        assert not found.duplicated([*keys, "seed"]).any(), "the tidy table holds a value twice"
        images = found.groupby(keys, sort=False, observed=True)["images"].agg(["min", "max"]).reset_index()
        numbers = over_seeds(found).merge(images)[[*keys, "mean", "std", "seeds", "min", "max"]]
        return {
            Address(*place): Cell(None if isnan(mean) else mean, std if seeds > 1 else None, seeds, (least, most))
            for *place, mean, std, seeds, least, most in numbers.itertuples(index=False)
        }

    def classes(self, suite: str) -> list[str]:
        """The classes of a suite, in their order."""
        of_classes = (self.table["suite"] == suite) & (self.table["metric"] == "class_accuracy")
        return list(dict.fromkeys(self.table.loc[of_classes, "class_name"]))

    def test_images(self, suite: str) -> int:
        """How many images the test set has: the most that any clean evaluation saw; 0 if there is none."""
        clean = (self.table["suite"] == suite) & (self.table["evaluation"] == "clean")
        return max(self.table.loc[clean, "images"].tolist(), default=0)


def fill(
    table: Table,
    content: Content,
    *,
    omit: Literal["", "columns", "lines"] = "",
    decimals: int = 1,
    lowest_is_best: bool = False,
    marks: Mapping[Address, Mark] | None = None,
    closing: Sequence[str] = (),
) -> Table:
    """The table with its cells, notes and footnotes.

    Args:
        table: columns and lines, still without cells.
        content: the numbers.
        omit: what is left out where it has no value at all.
        decimals: of the percentages.
        lowest_is_best: for errors; of accuracies the highest is.
        marks: of cells, where not the best are marked; such a table explains itself by its closing notes.
        closing: notes that stand last.

    Raises:
        UserError: there is no value at all.
    """
    columns, absent_columns = _with_values(table.columns, table.lines, content, omit == "columns")
    lines, absent_lines = _with_values(table.lines, table.columns, content, omit == "lines")
    absent = ", ".join(dict.fromkeys(absent_columns + absent_lines))
    if not columns or not lines:
        raise UserError(
            f"There is nothing to put into {table.name}: the metrics of {', '.join(content.suites.values())} have "
            f"no value for it ({absent}). Evaluate the runs first.",
            Hint.MAKE,
        )
    table = replace(table, columns=columns, lines=lines)
    places = [[_address(line, column) for column in columns] for line in lines]
    found = {place: content.cells.get(place, Cell()) for place in chain(*places)}
    seeds = {
        suite: max(cell.seeds for place, cell in found.items() if place.suite == suite) for suite in content.suites
    }
    remarks = {place: _remark(place, content, seeds[place.suite]) for place in found}
    letters = dict(zip(dict.fromkeys(filter(None, remarks.values())), _LETTERS, strict=False))
    ranks = _best(found, decimals, lowest_is_best) if marks is None else marks
    notes = _notes(table, content, found, seeds, bool(ranks), absent) if marks is None else ()

    def finished(place: Address) -> Cell:
        letter = letters.get(remarks[place], "")
        return replace(found[place], mark=ranks.get(place, ""), footnote=letter, decimals=decimals)

    return replace(
        table,
        name=re.sub("[^A-Za-z0-9]", "-", "-".join([table.name, *content.suites])),
        lines=[replace(line, cells=tuple(map(finished, row))) for line, row in zip(lines, places, strict=True)],
        notes=[_plain(note) for note in (*notes, *closing)],
        footnotes=[(letter, _plain(text)) for text, letter in letters.items()],
    )


def _address(one: Slot, other: Slot) -> Address:
    """What a line and a column say together; where both name a suite, the first is right."""
    return Address(**{**other.address, **one.address})


def _with_values(
    slots: Sequence[Slot], across: Sequence[Slot], content: Content, omit: bool
) -> tuple[list[Slot], list[str]]:
    """The slots that have a value with any of those across, or all, and the headings of the others."""
    absent = [slot for slot in slots if omit and not any(_address(slot, other) in content.cells for other in across)]
    shown = [replace(slot, headings=tuple(map(_plain, slot.headings))) for slot in slots if slot not in absent]
    return shown, [" ".join(slot.headings[:2]) for slot in absent]


def _best(found: Mapping[Address, Cell], decimals: int, lowest_is_best: bool) -> dict[Address, Mark]:
    """The best and the second best row of each number of a suite; what prints equal is equal, what has no rival unmarked."""
    rivals: dict[Address, dict[Address, Decimal]] = {}
    for place, cell in found.items():
        if cell.mean is not None:
            number = place._replace(method="", weights="")
            rivals.setdefault(number, {})[place] = percent(cell.mean, decimals)
    marks: dict[Address, Mark] = {}
    names: tuple[Mark, Mark] = ("best", "second")
    for numbers in rivals.values():
        if len(numbers) > 1:
            # Rounding keeps the order, so printed numbers rank like the unrounded ones, with what prints equal tied.
            ranks = dict(zip(sorted(set(numbers.values()), reverse=not lowest_is_best), names, strict=False))
            marks |= {place: ranks[number] for place, number in numbers.items() if number in ranks}
    return marks


def _remark(place: Address, content: Content, most_seeds: int) -> str:
    """What a footnote says of a cell: why it has no value, or fewer seeds than others; empty if nothing is amiss."""
    reason = content.reasons.get((place.suite, place.method, place.weights), "")
    if place not in content.cells:
        return reason or "not evaluated"
    seeds = content.cells[place].seeds
    if seeds == 0:
        return "undefined: the class has no images"
    return "" if seeds == most_seeds else f"{seeds} of {most_seeds} seeds" + (f"; {reason}" if reason else "")


def _notes(
    table: Table, content: Content, found: Mapping[Address, Cell], seeds: Mapping[str, int], ranked: bool, absent: str
) -> Iterator[str]:
    """Everything a reader must know to read the numbers."""
    if ranked:
        rivals = "its column"
        if "method" not in table.lines[0].address:
            # All, because a wide table is printed in several parts.
            rivals = f"all {len(content.rows)} columns in a row{' of a data set' if len(content.suites) > 1 else ''}"
        yield f"Bold: best of {rivals}; underlined: second best."
    if any(slot.ours for slot in (*table.columns, *table.lines)):
        yield f"{OURS}: ours."
    shown = {suite: most for suite, most in seeds.items() if most}
    if len(numbers := set(shown.values())) == 1 and (most := max(numbers)) > 1:
        yield f"Mean ± sample standard deviation over {most} seeds."
    elif several := [f"{most} ({content.suites[suite]})" for suite, most in shown.items() if most > 1]:
        yield f"Mean ± sample standard deviation over seeds: {', '.join(several)}."
    yield from _image_notes(content, found)
    for suite, heading in content.suites.items():
        # With 20 classes or more the worst class is a mean of several.
        classes = len(content.classes(suite))
        if classes >= 20 and any(place.metric == "worst_class_accuracy" for place in found):
            yield f"{heading}: worst is the mean of the {ceil(classes / 10)} lowest of {classes} class accuracies."
    evaluations = dict.fromkeys((place.suite, place.evaluation) for place in found)
    yield from (content.notes[place] for place in evaluations if place in content.notes)
    if absent:
        yield f"Not evaluated: {absent}."


def _image_notes(content: Content, found: Mapping[Address, Cell]) -> Iterator[str]:
    """Which evaluations saw only a part of the test set; of corruptions, whether methods saw different parts."""
    seen: dict[tuple[str, str], set[int]] = {}
    for place, cell in found.items():
        if cell.seeds:
            seen.setdefault((place.suite, place.evaluation), set()).update(cell.images)
    for (suite, evaluation), images in seen.items():
        heading, everything = content.suites[suite], content.test_images(suite)
        varies = f" to {max(images):,} (not every method the same)" if len(images) > 1 else ""
        if evaluation == "corruption" and varies:
            yield f"{heading}: corruptions on {min(images):,}{varies} images."
        elif evaluation != "corruption" and min(images) < everything:
            name = evaluation_heading(evaluation)
            yield f"{heading}: {name} on {min(images):,}{varies} of {everything:,} test images."


def _plain(text: str) -> str:
    """One line of printable characters: no format can be broken by a line end inside a name.

    Letters and their accents are one character each, as LaTeX wants them.
    """
    return "".join(filter(str.isprintable, " ".join(unicodedata.normalize("NFC", text).split())))
