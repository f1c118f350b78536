"""Fills a layout: the number of each cell, which is the best, and what must be said beside them."""

import unicodedata
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from math import ceil

from fairat.errors import UserError
from fairat.rendering.content import Address, Content, Statistic, evaluation_heading
from fairat.rendering.grid import OURS, Cell, Column, Gap, Grid, Line, Mark, percent

_Place = tuple[int, int]


@dataclass(frozen=True)
class Slot:
    """A column or a line before it has cells: its headings, and the part of the address that all its cells share."""

    headings: tuple[str, ...]
    address: Mapping[str, str]
    ours: bool = False
    gap: Gap = ""


def with_values(content: Content, slots: Sequence[Slot], across: Sequence[Slot]) -> list[Slot]:
    """The slots that have a value with any of those across."""
    return [slot for slot in slots if any(_address(slot, other) in content.statistics for other in across)]


def _address(one: Slot, other: Slot) -> Address:
    return Address(**{**one.address, **other.address})


@dataclass(frozen=True)
class Layout:
    """Columns and lines that have values, and what was left out for want of values.

    Attributes:
        name: of the layout, without the suite.
        stub: heading of the line labels.
        absent: headings of what was left out.
        decimals: FAIR-TAT prints one, BAT two.
        lowest_is_best: for errors; of accuracies the highest is.
        closing: notes that stand last.
    """

    name: str
    caption: str
    stub: str
    content: Content
    columns: Sequence[Slot]
    lines: Sequence[Slot]
    absent: Sequence[str]
    decimals: int = 1
    lowest_is_best: bool = False
    closing: Sequence[str] = ()

    def grid(self) -> Grid:
        """The filled table.

        Raises:
            UserError: there is no value at all.
        """
        if not self.columns or not self.lines:
            raise UserError(
                f"There is nothing to put into {self.name}: the metrics of {', '.join(self.content.suites.values())} have "
                f"no value for it ({_listed(self.absent)}). Evaluate the runs first: `dvc repro` makes what is missing."
            )
        return Grid(
            name="-".join(map(_identifier, [self.name, *self.content.suites])),
            caption=self.caption,
            stub=self.stub,
            columns=tuple(Column(tuple(map(_plain, slot.headings)), slot.ours) for slot in self.columns),
            lines=tuple(
                Line(_plain(slot.headings[0]), self._cells(i), slot.ours, slot.gap) for i, slot in enumerate(self.lines)
            ),
            notes=tuple(map(_plain, self._notes())),
            footnotes=tuple((letter, _plain(text)) for text, letter in self._letters.items()),
        )

    def _cells(self, line: int) -> tuple[Cell, ...]:
        return tuple(self._cell((line, column)) for column in range(len(self.columns)))

    def _cell(self, place: _Place) -> Cell:
        footnote = self._letters.get(self._remarks[place], "")
        if place not in self._used:
            return Cell(footnote=footnote)
        used = self._used[place]
        return Cell(used.mean, used.std, self._marks.get(place, ""), footnote, self.decimals)

    @cached_property
    def _addresses(self) -> dict[_Place, Address]:
        """What stands where."""
        lines, columns = enumerate(self.lines), list(enumerate(self.columns))
        return {(i, j): _address(column, line) for i, line in lines for j, column in columns}

    @cached_property
    def _used(self) -> dict[_Place, Statistic]:
        """The places that have a value."""
        found = {place: self.content.statistics.get(address) for place, address in self._addresses.items()}
        return {place: statistic for place, statistic in found.items() if statistic and statistic.seeds}

    @cached_property
    def _seeds(self) -> dict[str, int]:
        """How many seeds a suite has: the most that any of its cells has."""
        most: dict[str, int] = {}
        for place, statistic in self._used.items():
            suite = self._addresses[place].suite
            most[suite] = max(most.get(suite, 0), statistic.seeds)
        return most

    @cached_property
    def _marks(self) -> dict[_Place, Mark]:
        """The best and the second best of each column, or of each line, within a suite; what prints equal is equal.

        A number without rivals has no mark.
        """
        rivals: dict[Hashable, dict[_Place, Decimal]] = {}
        for (i, j), statistic in self._used.items():
            across = (j if self._methods_are_lines else i, self._addresses[i, j].suite)
            rivals.setdefault(across, {})[i, j] = percent(statistic.mean, self.decimals)
        marks: dict[_Place, Mark] = {}
        names: tuple[Mark, Mark] = ("best", "second")
        for numbers in rivals.values():
            if len(numbers) > 1:
                # Rounding keeps the order, so printed numbers rank like the unrounded ones, with what prints equal tied.
                ranks = dict(zip(sorted(set(numbers.values()), reverse=not self.lowest_is_best), names, strict=False))
                marks |= {place: ranks[number] for place, number in numbers.items() if number in ranks}
        return marks

    @property
    def _methods_are_lines(self) -> bool:
        return "method" in self.lines[0].address

    @cached_property
    def _letters(self) -> dict[str, str]:
        """The letter of each footnote, in the order in which a reader meets them."""
        remarks = dict.fromkeys(filter(None, self._remarks.values()))
        return {text: _letter(number) for number, text in enumerate(remarks)}

    @cached_property
    def _remarks(self) -> dict[_Place, str]:
        return {place: self._remark(address) for place, address in self._addresses.items()}

    def _remark(self, address: Address) -> str:
        """What a footnote says of a cell: why it has no value, or fewer seeds than others; empty if nothing is amiss."""
        reason = self.content.reasons.get((address.suite, address.method, address.weights), "")
        statistic = self.content.statistics.get(address)
        if statistic is None:
            return reason or "not evaluated"
        if statistic.seeds == 0:
            return "undefined: the class has no images"
        if statistic.seeds == self._seeds[address.suite]:
            return ""
        return f"{statistic.seeds} of {self._seeds[address.suite]} seeds" + (f"; {reason}" if reason else "")

    def _notes(self) -> Iterator[str]:
        """Everything a reader must know to read the numbers."""
        if self._marks:
            yield f"Bold: best of {self._rivals()}; underlined: second best."
        if any(slot.ours for slot in (*self.columns, *self.lines)):
            yield f"{OURS}: ours."
        yield from self._seed_notes()
        yield from self._image_notes()
        if any(address.metric == "worst_class_accuracy" for address in self._addresses.values()):
            yield from self._worst_class_notes()
        shown = dict.fromkeys((address.suite, address.evaluation) for address in self._addresses.values())
        yield from (self.content.notes[place] for place in shown if place in self.content.notes)
        if self.absent:
            yield f"Not evaluated: {_listed(self.absent)}."
        yield from self.closing

    def _rivals(self) -> str:
        """Among what the best was sought. Says `all`, because a wide table is printed in several parts."""
        if self._methods_are_lines:
            return "its column"
        of_suite = " of a data set" if len(self.content.suites) > 1 else ""
        return f"all {len(self.content.rows)} columns in a row{of_suite}"

    def _seed_notes(self) -> Iterator[str]:
        several = {suite: seeds for suite, seeds in self._seeds.items() if seeds > 1}
        if len(several) == len(self._seeds) and len(set(several.values())) == 1:
            yield f"Mean ± sample standard deviation over {max(several.values())} seeds."
        elif several:
            counted = ", ".join(f"{seeds} ({self.content.suites[suite]})" for suite, seeds in several.items())
            yield f"Mean ± sample standard deviation over seeds: {counted}."

    def _image_notes(self) -> Iterator[str]:
        """Which evaluations saw only a part of the test set; of corruptions, whether methods saw different parts."""
        seen: dict[tuple[str, str], set[int]] = {}
        for place, statistic in self._used.items():
            address = self._addresses[place]
            seen.setdefault((address.suite, address.evaluation), set()).update(statistic.images)
        for (suite, evaluation), images in seen.items():
            heading, everything = self.content.suites[suite], self.content.test_images(suite)
            varies = f" to {max(images):,} (not every method the same)" if len(images) > 1 else ""
            if evaluation == "corruption" and varies:
                yield f"{heading}: corruptions on {min(images):,}{varies} images."
            elif evaluation != "corruption" and min(images) < everything:
                name = evaluation_heading(evaluation)
                yield f"{heading}: {name} on {min(images):,}{varies} of {everything:,} test images."

    def _worst_class_notes(self) -> Iterator[str]:
        """With 20 classes or more the worst class is a mean of several."""
        for suite, heading in self.content.suites.items():
            if (classes := len(self.content.classes(suite))) >= 20:
                yield f"{heading}: worst is the mean of the {ceil(classes / 10)} lowest of {classes} class accuracies."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    tens, ones = divmod(number, 26)
    return (_letter(tens - 1) if tens else "") + "abcdefghijklmnopqrstuvwxyz"[ones]


def _identifier(text: str) -> str:
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in text)


def _plain(text: str) -> str:
    """One line of printable characters: no format can be broken by a line end inside a name.

    Letters and their accents are one character each, as LaTeX wants them.
    """
    return "".join(filter(str.isprintable, " ".join(unicodedata.normalize("NFC", text).split())))
