"""Fills a table from the tidy table: the number of each cell, which is the best, and what must be said beside them."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from itertools import chain, product
from math import ceil, isnan
from string import ascii_lowercase
from typing import Literal

import pandas as pd

from fairat.errors import Hint, UserError
from fairat.rendering.table import (
    OURS,
    STAR,
    Address,
    Cell,
    Formula,
    Mark,
    Row,
    Slot,
    Table,
    evaluation_heading,
    percent,
)
from fairat.results.aggregation import MEAN, over_seeds

_LETTERS = tuple(map("".join, product(("", *ascii_lowercase), ascii_lowercase)))
"""Of footnotes: a, b, ..., z, aa, ab, ..."""
NOT_THE_PAPERS = "Not the papers' settings."
"""The first words of a caption whose numbers are of another experiment."""


Rule = Literal["pairs", "line", "column"]
"""What a table marks, see `_marks`."""


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
        setting: what captions say of the experiment, such as its network and radius; asked for the evaluations shown.
        differences: in what the experiment is not the papers' own, likewise.
        significant: the numbers of rows of ours that differ from their base's by more than chance explains.
        given: the cells, where they are not computed from the tidy table.

    Raises:
        UserError: there are no rows or no suites, or two rows are the same.
    """

    table: pd.DataFrame
    rows: Sequence[Row]
    suites: Mapping[str, str]
    pgd: str = "pgd10"
    notes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    reasons: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    setting: Callable[[Sequence[str]], str] = lambda evaluations: ""
    differences: Callable[[Sequence[str]], Sequence[str]] = lambda evaluations: ()
    significant: Set[Address] = frozenset()
    given: Mapping[Address, Cell] | None = None

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
        if self.given is not None:
            return dict(self.given)
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

    def experiment(self, evaluations: Sequence[str]) -> Iterator[str]:
        """The note that lists in what the experiment is not the papers' own, if it is not."""
        if differences := self.differences(evaluations):
            yield f"{NOT_THE_PAPERS.removesuffix('.')}: {'; '.join(differences)}."

    def test_images(self, suite: str) -> int:
        """How many images the test set has: the most that any clean evaluation saw; 0 if there is none."""
        clean = (self.table["suite"] == suite) & (self.table["evaluation"] == "clean")
        return max(self.table.loc[clean, "images"].tolist(), default=0)

    def images(self, suite: str) -> str:
        """On how many images a suite was evaluated, in words; empty where it was not."""
        of_one = ~self.table["corruption"].isin(["", MEAN])
        corrupted = self.table.loc[(self.table["suite"] == suite) & of_one, "images"]
        if number := self.test_images(suite):
            return f"{number:,} test images"
        return f"{corrupted.max():,} images under each corruption" if len(corrupted) else ""


def fill(
    table: Table,
    content: Content,
    *,
    omit: Literal["", "columns", "lines"] = "",
    decimals: int = 1,
    rule: Rule = "pairs",
    marks: Mapping[Address, Mark] | None = None,
    remarks: Mapping[Address, str] | None = None,
    counts: bool = True,
    closing: Sequence[str] = (),
) -> Table:
    """The table with its caption, cells, notes and footnotes.

    Args:
        table: columns and lines, still without cells; its caption says what the numbers are.
        content: the numbers.
        omit: what is left out where it has no value at all.
        decimals: of the percentages.
        rule: which numbers are marked.
        marks: of cells, instead of those of the rule; such a table explains itself by its closing notes.
        remarks: what footnotes say of cells, instead of why they have no value or few seeds.
        counts: whether the caption says on how many images and from how many seeds.
        closing: notes that stand last.

    Raises:
        UserError: there is no value at all.
    """
    table, absent = _without_empty(table, content, omit)
    places = [[_address(line, column) for column in table.columns] for line in table.lines]
    found = {place: content.cells.get(place, Cell()) for place in chain(*places)}
    seeds = {
        suite: max(cell.seeds for place, cell in found.items() if place.suite == suite) for suite in content.suites
    }
    if remarks is None:
        remarks = {place: _remark(place, content, seeds[place.suite]) for place in found}
    letters = dict(zip(dict.fromkeys(filter(None, remarks.values())), _LETTERS, strict=False))
    ranks: Mapping[Address, Set[Mark]] = {place: {mark} for place, mark in (marks or {}).items()}
    if marks is None:
        ranks = _marks(found, content, rule, decimals)
    notes = _notes(table, content, found, seeds, _legend(ranks, rule), absent) if marks is None else ()

    def finished(place: Address) -> Cell:
        letter = letters.get(remarks.get(place, ""), "")
        marked = frozenset(ranks.get(place, ()))
        return replace(found[place], marks=marked, footnote=letter, decimals=decimals)

    return replace(
        table,
        name=re.sub("[^A-Za-z0-9]", "-", "-".join([table.name, *content.suites])),
        caption=_plain(" ".join(_caption(table.caption, content, found, seeds if counts else {}))),
        lines=[replace(line, cells=tuple(map(finished, row))) for line, row in zip(table.lines, places, strict=True)],
        notes=[_plain(note) for note in (*notes, *closing)],
        footnotes=[(letter, _plain(text)) for text, letter in letters.items()],
    )


def _without_empty(table: Table, content: Content, omit: Literal["", "columns", "lines"]) -> tuple[Table, str]:
    """The table without the columns or lines that have no value, and their names.

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
    return replace(table, columns=columns, lines=lines), absent


def _caption(subject: str, content: Content, found: Mapping[Address, Cell], seeds: Mapping[str, int]) -> Iterator[str]:
    """What the numbers are, of which experiment, on how many images and from how many seeds."""
    evaluations = list(dict.fromkeys(place.evaluation for place in found))
    if content.differences(evaluations):
        yield NOT_THE_PAPERS
    yield subject
    if setting := content.setting(evaluations):
        yield setting
    counts = {}
    for suite, number in seeds.items():
        images, heading = content.images(suite), content.suites[suite]
        counts[heading] = f"{images}, {number} seed{'s' * (number != 1)}" if images else "nothing evaluated yet"
    if len(set(counts.values())) == 1:
        yield f"{next(iter(counts.values())).capitalize()}."
    elif counts:
        yield f"{'; '.join(f'{heading}: {count}' for heading, count in counts.items())}."


def _address(one: Slot, other: Slot) -> Address:
    """What a line and a column say together; where both name a suite, the first is right."""
    return Address(**{**other.address, **one.address})


def _with_values(
    slots: Sequence[Slot], across: Sequence[Slot], content: Content, omit: bool
) -> tuple[list[Slot], list[str]]:
    """The slots that have a value with any of those across, or all, and the headings of the others."""
    absent = [slot for slot in slots if omit and not any(_address(slot, other) in content.cells for other in across)]
    kept = [slot for slot in slots if slot not in absent]
    shown = [replace(slot, headings=tuple(map(_plain, slot.headings)), section=_plain(slot.section)) for slot in kept]
    return shown, [" ".join(slot.headings[:2]) for slot in absent]


def _marks(found: Mapping[Address, Cell], content: Content, rule: Rule, decimals: int) -> dict[Address, set[Mark]]:
    """The marks of each number; what prints equal is equal, what has no rival unmarked, and so is a reference row.

    `pairs`, as FAIR-TAT: of each base and the rows of ours compared with it, the best is bold; the best of a column is
    underlined; a difference from the base by more than chance has a star. `line`, as its tables of corruptions: the best of
    a line is underlined. `column`, as BAT: the lowest of a column is bold.
    """
    rows = {(row.method, row.weights): row for row in content.rows if not row.reference}
    marks: dict[Address, set[Mark]] = {}
    rivals: dict[tuple[Mark, Address], dict[Address, Decimal]] = {}
    for place, cell in found.items():
        row = rows.get((place.method, place.weights))
        if cell.mean is None or row is None:
            continue
        number, printed = place._replace(method="", weights=""), percent(cell.mean, decimals)
        rivals.setdefault(("bold" if rule == "column" else "underlined", number), {})[place] = printed
        base = number._replace(method=row.base or row.method, weights=row.weights)
        if rule == "pairs" and found.get(place._replace(method=base.method), Cell()).mean is not None:
            rivals.setdefault(("bold", base), {})[place] = printed
        if rule == "pairs" and place in content.significant:
            marks.setdefault(place, set()).add("significant")
    for (mark, _), numbers in rivals.items():
        best = (min if rule == "column" else max)(numbers.values())
        if len(numbers) > 1 and min(numbers.values()) != max(numbers.values()):
            for place, number in numbers.items():
                if number == best:
                    marks.setdefault(place, set()).add(mark)
    return marks


def _legend(marks: Mapping[Address, Set[Mark]], rule: Rule) -> Iterator[str]:
    """What the marks that the table uses mean."""
    used = set().union(*marks.values())
    if "bold" in used:
        yield (
            "Bold: the lowest of its column."
            if rule == "column"
            else "Bold: the best of a base and the rows of ours beside it."
        )
    if "underlined" in used:
        yield f"Underlined: the best of {'a line' if rule == 'line' else 'its column'}."
    if "significant" in used:
        yield f"{STAR}: differs from its base; the 95% interval of the difference leaves out zero (paired bootstrap)."


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
    table: Table,
    content: Content,
    found: Mapping[Address, Cell],
    seeds: Mapping[str, int],
    legend: Iterable[str],
    absent: str,
) -> Iterator[str]:
    """Everything a reader must know to read the numbers."""
    yield from content.experiment(list(dict.fromkeys(place.evaluation for place in found)))
    yield from legend
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
    plain = "".join(filter(str.isprintable, " ".join(unicodedata.normalize("NFC", text).split())))
    return Formula(plain) if isinstance(text, Formula) else plain
