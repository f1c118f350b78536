"""The layout of the paper's tables: which cell holds which number, and which number is the best.

Markdown, LaTeX and the terminal render the same `Grid`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from math import ceil
from statistics import fmean, stdev

import pandas as pd

from pipeline.errors import UserError
from pipeline.rendering.grid import OURS, Cell, Column, Gap, Grid, Line, Mark, percent

METRICS = {"overall_accuracy": "Overall", "worst_class_accuracy": "Worst"}
CORRUPTIONS = {
    "gaussian_noise": "Gaussian noise",
    "shot_noise": "Shot noise",
    "speckle_noise": "Speckle noise",
    "impulse_noise": "Impulse noise",
    "defocus_blur": "Defocus blur",
    "gaussian_blur": "Gaussian blur",
    "motion_blur": "Motion blur",
    "zoom_blur": "Zoom blur",
    "snow": "Snow",
    "fog": "Fog",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "elastic_transform": "Elastic transform",
    "pixelate": "Pixelate",
    "jpeg_compression": "JPEG compression",
    "spatter": "Spatter",
    "saturate": "Saturate",
    "frost": "Frost",
}
"""The 18 corruptions of FAIR-TAT Table 3, in its order: those of CIFAR-10-C without glass blur."""

_ADDRESS = ("suite", "method", "weights", "evaluation", "corruption", "metric")
_Address = tuple[str, ...]
_Place = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One weight set of one method, as tables and figures show it.

    Attributes:
        weights: last, ema, fawa or best.
        label: as the paper prints it, for instance `FAIR-TAT + TRADES + EMA`.
        group: rows of one group (the objective family) stand together, with a rule between groups.
        ours: whether tables mark it.
        short: where space is scarce, as in column headings; the label if empty.
    """

    method: str
    weights: str
    label: str
    group: str = ""
    ours: bool = False
    short: str = ""


@dataclass(frozen=True)
class Content:
    """What the layouts are filled with.

    Attributes:
        table: the tidy table (`pipeline.aggregation.COLUMNS`), of one suite or several.
        rows: in the order in which they are shown.
        suites: name and heading of every suite, in the order in which they stand side by side.
        notes: what the numbers do not say themselves, such as a reduced attack budget.
        reasons: why a (suite, method, weights) has no value, or fewer than it has seeds.

    Raises:
        UserError: there are no rows or no suites, or two rows are the same.
    """

    table: pd.DataFrame
    rows: Sequence[Row]
    suites: Mapping[str, str]
    notes: Sequence[str] = ()
    reasons: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rows or not self.suites:
            raise UserError(
                "A table needs at least one row and one suite, but there are none. Add a run to runs.yaml or own.yaml, and "
                "its suite under `active:`."
            )
        shown = [(row.method, row.weights) for row in self.rows]
        if repeated := [row for row in shown if shown.count(row) > 1]:
            method, weights = repeated[0]
            raise UserError(f"The {weights} weights of {method} are in two rows of a table. Leave one of them out.")


def table1(content: Content, pgd: str = "pgd10") -> Grid:
    """Clean and PGD accuracy, overall and of the worst class, for every row and suite (FAIR-TAT Table 1)."""
    caption = f"Accuracy (%) without attack and under {evaluation_heading(pgd)}, overall and of the worst class."
    return _by_evaluation("table1", caption, content, ("clean", pgd))


def table2(content: Content) -> Grid:
    """Accuracy under AutoAttack and under Square alone, overall and of the worst class (FAIR-TAT Table 2)."""
    caption = "Accuracy (%) under AutoAttack and under Square alone, overall and of the worst class."
    return _by_evaluation("table2", caption, content, ("autoattack", "square"))


def table3(content: Content) -> Grid:
    """Accuracy of the worst class under each corruption, one column per row of `content` (FAIR-TAT Table 3)."""
    caption = "Accuracy (%) of the worst class under common corruptions, over all severities."
    return _by_corruption("table3", caption, content, "worst_class_accuracy")


def table9(content: Content) -> Grid:
    """Overall accuracy under each corruption, one column per row of `content` (FAIR-TAT Table 9)."""
    caption = "Overall accuracy (%) under common corruptions, over all severities."
    return _by_corruption("table9", caption, content, "overall_accuracy")


LAYOUTS: dict[str, Callable[[Content], Grid]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "table9": table9,
}


def evaluation_heading(evaluation: str) -> str:
    """Name of an evaluation in headings: `pgd10` is PGD-10."""
    if evaluation.startswith("pgd"):
        return f"PGD-{evaluation.removeprefix('pgd')}"
    return {"autoattack": "AutoAttack"}.get(evaluation, evaluation.capitalize())


@dataclass(frozen=True)
class _Slot:
    """A column or a line before it has cells: its headings, and the part of the address that all its cells share."""

    headings: tuple[str, ...]
    address: Mapping[str, str]
    ours: bool = False
    gap: Gap = ""


@dataclass(frozen=True)
class _Statistic:
    mean: float
    std: float | None
    seeds: int
    images: frozenset[int]


def _by_evaluation(name: str, caption: str, content: Content, evaluations: Sequence[str]) -> Grid:
    columns = [
        _Slot(
            (heading, evaluation_heading(evaluation), METRICS[metric]),
            {"suite": suite, "evaluation": evaluation, "metric": metric, "corruption": ""},
        )
        for suite, heading in content.suites.items()
        for evaluation in evaluations
        for metric in METRICS
    ]
    lines, statistics = _row_slots(content.rows), _statistics(content)
    kept = _with_values(columns, lines, statistics)
    absent = [" ".join(column.headings[:2]) for column in columns if column not in kept]
    return _Plan(name, caption, "Method", content, kept, lines, absent, statistics).grid()


def _by_corruption(name: str, caption: str, content: Content, metric: str) -> Grid:
    columns = [
        replace(slot, headings=(heading, row.short or row.label), address={"suite": suite, **slot.address})
        for suite, heading in content.suites.items()
        for row, slot in zip(content.rows, _row_slots(content.rows), strict=True)
    ]
    lines = [
        _Slot((label,), {"evaluation": "corruption", "corruption": corruption, "metric": metric})
        for corruption, label in CORRUPTIONS.items()
    ]
    statistics = _statistics(content)
    kept = _with_values(lines, columns, statistics)
    absent = [line.headings[0] for line in lines if line not in kept]
    return _Plan(name, caption, "Corruption", content, columns, kept, absent, statistics).grid()


def _row_slots(rows: Sequence[Row]) -> list[_Slot]:
    """A slot per row. A rule separates groups; space separates the weight sets where a group compares ours with others."""
    compares = {group: len({row.ours for row in rows if row.group == group}) == 2 for group in {r.group for r in rows}}
    slots: list[_Slot] = []
    for previous, row in zip([None, *rows], rows, strict=False):
        gap: Gap = ""
        if previous and previous.group != row.group:
            gap = "rule"
        elif previous and previous.weights != row.weights and compares[row.group]:
            gap = "space"
        slots.append(_Slot((row.label,), {"method": row.method, "weights": row.weights}, row.ours, gap))
    return slots


def _statistics(content: Content) -> dict[_Address, _Statistic]:
    """Mean, standard deviation and number of seeds at every address that has a value."""
    table = content.table
    wanted = (
        (table["class_name"] == "") & table["metric"].isin(list(METRICS)) & table["suite"].isin(list(content.suites))
    )
    found = table.loc[wanted & table["value"].notna()]
    assert not found.duplicated(subset=[*_ADDRESS, "seed"]).any(), "the tidy table holds a value twice"
    values: dict[_Address, list[float]] = defaultdict(list)
    images: dict[_Address, set[int]] = defaultdict(set)
    for *address, value, count in zip(*(found[name].tolist() for name in (*_ADDRESS, "value", "images")), strict=True):
        assert 0 <= value <= 1, f"accuracies are fractions in [0, 1], not {value}"
        values[tuple(address)].append(value)
        images[tuple(address)].add(count)
    return {
        at: _Statistic(fmean(seeds), _std(seeds), len(seeds), frozenset(images[at])) for at, seeds in values.items()
    }


def _std(seeds: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1; spec 6)."""
    return stdev(seeds) if len(seeds) > 1 else None


def _with_values(
    slots: Sequence[_Slot], across: Sequence[_Slot], statistics: Mapping[_Address, _Statistic]
) -> list[_Slot]:
    return [slot for slot in slots if any(_address(slot, other) in statistics for other in across)]


def _address(one: _Slot, other: _Slot) -> _Address:
    whole = {**one.address, **other.address}
    return tuple(whole[part] for part in _ADDRESS)


@dataclass(frozen=True)
class _Plan:
    """Columns and lines that have values, the statistics to fill them with, and what was left out for want of values."""

    name: str
    caption: str
    stub: str
    content: Content
    columns: Sequence[_Slot]
    lines: Sequence[_Slot]
    absent: Sequence[str]
    statistics: Mapping[_Address, _Statistic]

    def grid(self) -> Grid:
        if not self.columns or not self.lines:
            raise UserError(
                f"There is nothing to put into {self.name}: the metrics of {', '.join(self.content.suites.values())} have "
                f"no value for it ({_listed(self.absent)}). Evaluate the runs first: `dvc repro` makes what is missing."
            )
        remarks = {place: self._remark(address) for place, address in self.addresses.items()}
        letters = {text: _letter(number) for number, text in enumerate(dict.fromkeys(filter(None, remarks.values())))}
        columns = range(len(self.columns))
        return Grid(
            name="-".join([self.name, *map(_identifier, self.content.suites)]),
            caption=self.caption,
            stub=self.stub,
            columns=tuple(Column(tuple(map(_plain, slot.headings)), slot.ours) for slot in self.columns),
            lines=tuple(
                Line(
                    _plain(slot.headings[0]),
                    tuple(self._cell((i, j), letters.get(remarks[i, j], "")) for j in columns),
                    slot.ours,
                    slot.gap,
                )
                for i, slot in enumerate(self.lines)
            ),
            notes=tuple(map(_plain, [*self._notes(), *self.content.notes])),
            footnotes=tuple((letter, _plain(text)) for text, letter in letters.items()),
        )

    @cached_property
    def addresses(self) -> dict[_Place, _Address]:
        """What stands where."""
        lines, columns = enumerate(self.lines), list(enumerate(self.columns))
        return {(i, j): _address(column, line) for i, line in lines for j, column in columns}

    @cached_property
    def used(self) -> dict[_Place, _Statistic]:
        """The places that have a value."""
        return {place: self.statistics[at] for place, at in self.addresses.items() if at in self.statistics}

    @cached_property
    def seeds(self) -> dict[str, int]:
        """How many seeds a suite has: the most that any of its cells has."""
        most: dict[str, int] = {}
        for place, statistic in self.used.items():
            suite = self.addresses[place][0]
            most[suite] = max(most.get(suite, 0), statistic.seeds)
        return most

    @cached_property
    def marks(self) -> dict[_Place, Mark]:
        """The best and the second best of each column, or of each line within a suite; what prints equal is equal."""
        rivals: dict[Hashable, dict[_Place, Decimal]] = {}
        for (i, j), statistic in self.used.items():
            across = j if self._methods_are_lines else (i, self.addresses[i, j][0])
            rivals.setdefault(across, {})[i, j] = percent(statistic.mean)
        marks: dict[_Place, Mark] = {}
        names: tuple[Mark, Mark] = ("best", "second")
        for numbers in rivals.values():
            if len(numbers) > 1:
                # Rounding keeps the order, so printed numbers rank like the unrounded ones, with what prints equal tied.
                ranks = dict(zip(sorted(set(numbers.values()), reverse=True), names, strict=False))
                marks |= {place: ranks[number] for place, number in numbers.items() if number in ranks}
        return marks

    @property
    def _methods_are_lines(self) -> bool:
        return "method" in self.lines[0].address

    def _cell(self, place: _Place, footnote: str) -> Cell:
        if place not in self.used:
            return Cell(footnote=footnote)
        statistic = self.used[place]
        return Cell(statistic.mean, statistic.std, self.marks.get(place, ""), footnote)

    def _remark(self, address: _Address) -> str:
        """What a footnote says of a cell: why it has no value, or fewer seeds than others; empty if nothing is amiss."""
        suite, method, weights, *_ = address
        reason = self.content.reasons.get((suite, method, weights), "")
        if address not in self.statistics:
            return reason
        seeds = self.statistics[address].seeds
        if seeds == self.seeds[suite]:
            return ""
        return f"{seeds} of {self.seeds[suite]} seeds" + (f"; {reason}" if reason else "")

    def _notes(self) -> Iterator[str]:
        """Everything a reader must know to read the numbers."""
        if self.marks:
            yield f"Bold: best of {self._rivals()}; underlined: second best."
        if any(slot.ours for slot in (*self.columns, *self.lines)):
            yield f"{OURS}: ours."
        yield from self._seed_notes()
        yield from self._image_notes()
        if any(address[-1] == "worst_class_accuracy" for address in self.addresses.values()):
            yield from self._worst_class_notes()
        if self.absent:
            yield f"Not evaluated: {_listed(self.absent)}."

    def _rivals(self) -> str:
        """Among what the best was sought. Says `all`, because a wide table is printed in several parts."""
        if self._methods_are_lines:
            return "its column"
        return f"all {len(self.content.rows)} columns in a row" + (
            " of a data set" if len(self.content.suites) > 1 else ""
        )

    def _seed_notes(self) -> Iterator[str]:
        headings, several = self.content.suites, {suite: seeds for suite, seeds in self.seeds.items() if seeds > 1}
        if len(several) == len(self.seeds) and len(set(several.values())) == 1:
            yield f"Mean ± sample standard deviation over {max(several.values())} seeds."
        elif several:
            counted = ", ".join(f"{seeds} ({headings[suite]})" for suite, seeds in several.items())
            yield f"Mean ± sample standard deviation over seeds: {counted}."

    def _image_notes(self) -> Iterator[str]:
        """Which evaluations saw only a part of the test set; of corruptions, whether methods saw different parts."""
        seen: dict[tuple[str, str], set[int]] = {}
        for place, statistic in self.used.items():
            suite, _, _, evaluation, *_ = self.addresses[place]
            seen.setdefault((suite, evaluation), set()).update(statistic.images)
        for (suite, evaluation), images in seen.items():
            heading, everything = self.content.suites[suite], _test_images(self.content.table, suite)
            varies = f" to {max(images):,} (not every method the same)" if len(images) > 1 else ""
            if evaluation == "corruption" and varies:
                yield f"{heading}: corruptions on {min(images):,}{varies} images."
            elif evaluation != "corruption" and min(images) < everything:
                name = evaluation_heading(evaluation)
                yield f"{heading}: {name} on {min(images):,}{varies} of {everything:,} test images."

    def _worst_class_notes(self) -> Iterator[str]:
        """With 20 classes or more the worst class is a mean of several (spec 6)."""
        table = self.content.table
        for suite, heading in self.content.suites.items():
            of_classes = (table["suite"] == suite) & (table["metric"] == "class_accuracy")
            if (classes := len(set(table.loc[of_classes, "class_name"]))) >= 20:
                yield f"{heading}: worst is the mean of the {ceil(classes / 10)} lowest of {classes} class accuracies."


def _test_images(table: pd.DataFrame, suite: str) -> int:
    """How many images the test set has: the most that any clean evaluation saw; 0 if there is none."""
    clean = (table["suite"] == suite) & (table["evaluation"] == "clean")
    return max(table.loc[clean, "images"].tolist(), default=0)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    tens, ones = divmod(number, 26)
    return (_letter(tens - 1) if tens else "") + "abcdefghijklmnopqrstuvwxyz"[ones]


def _identifier(text: str) -> str:
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in text)


def _plain(text: str) -> str:
    """One line of printable characters: no format can be broken by a line end inside a name."""
    return "".join(filter(str.isprintable, " ".join(text.split())))
