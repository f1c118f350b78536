"""Every printed number against ours: the difference, how much of it is noise, and a verdict.

docs/reproduction.md has the formula, its assumptions, and which remarks on a printed cell rule out a verdict.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from statistics import NormalDist, mean, median, stdev
from typing import TYPE_CHECKING, Literal

import pandas as pd

from fairat.papers.needs import Need, need
from fairat.papers.published import PrintedCell
from fairat.rendering.table import evaluation_heading
from fairat.results.aggregation import COLUMNS

if TYPE_CHECKING:
    from fairat.settings.suite import Suite

Verdict = Literal["within", "better", "worse", "not comparable", "not run"]
VERDICTS: tuple[Verdict, ...] = ("within", "better", "worse", "not comparable", "not run")
Spread = Literal["own", "other's", "typical"]

LEVEL = 0.95
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
_RULED_OUT: dict[str, Callable[[str], bool]] = {
    "uncertain": lambda text: True,
    "suspicious": lambda text: not _is_about_std(text),
    "repeated": lambda text: text.startswith("run of"),
    "inconsistent": lambda text: text.startswith(("worst class", "overall", "avg std")),
}
"""By token, which remarks say that a printed value is not what its place says: a guess, implausible, a run of cells equal to
another method's, or in contradiction to arithmetic. All others are mentioned beside the verdict."""
_NETWORKS = {"preactresnet18": "preact_resnet18", "resnet18": "resnet18", "xcit_s12": "xcit_s12"}
_SOURCES = {"cifar10": "cifar10", "cifar10-c": "cifar10", "cifar100": "cifar100", "imagenette": "imagenette"}
_WIDTH = 64
_EPSILON, _STEP = 8 / 255, 2 / 255
_ITERATIONS, _TARGET_CLASSES, _QUERIES = 100, 9, 5000
_ALWAYS = 10**6
"""Degrees of freedom of a spread that is known."""


@dataclass(frozen=True)
class Ours:
    """Our number for a printed cell, in percent points.

    Attributes:
        mean: over seeds.
        std: sample standard deviation (n - 1); None for one seed.
        test_error: standard error over test images of one evaluation, from the bootstrap interval of the tidy table.
    """

    mean: float
    std: float | None
    seeds: int
    test_error: float


@dataclass(frozen=True)
class Noise:
    """How far two measurements of one and the same thing may lie apart, in percent points.

    Attributes:
        seeds: standard error of the difference from the spread over trainings.
        test: standard error of the difference from the choice of test images.
        degrees: of freedom (Welch and Satterthwaite).
        spread_ours, spread_printed: whose spread over seeds was taken.
    """

    seeds: float
    test: float
    degrees: float
    spread_ours: Spread
    spread_printed: Spread

    @property
    def tolerance(self) -> float:
        """Half the width of the interval in which `LEVEL` of all differences lie if nothing but noise differs."""
        from scipy.special import stdtrit

        return float(stdtrit(self.degrees, (1 + LEVEL) / 2)) * sqrt(self.seeds**2 + self.test**2)


@dataclass(frozen=True)
class Comparison:
    """One printed cell and ours.

    Attributes:
        ours, noise: None where there is no number of ours.
        reasons: why there is no verdict on our number.
    """

    cell: PrintedCell
    need: Need
    ours: Ours | None
    noise: Noise | None
    reasons: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        """Ours minus printed, in percent points."""
        return None if self.ours is None else self.ours.mean - self.cell.value

    @property
    def verdict(self) -> Verdict:
        """`better` is a higher accuracy or a lower error, by more than the tolerance."""
        if self.ours is None or self.noise is None:
            return "not run"
        if self.reasons:
            return "not comparable"
        distance = self.ours.mean - self.cell.value
        # A distance that prints as the tolerance is not beyond it because of binary noise.
        if abs(distance) <= self.noise.tolerance + 1e-9:
            return "within"
        return "better" if (distance > 0) != self.cell.metric.endswith("_error") else "worse"

    @property
    def remarks(self) -> list[str]:
        """What is odd about the printed cell, and what is missing of ours."""
        missing = []
        if self.ours and self.ours.seeds < len(self.need.seeds):
            missing = [f"{self.ours.seeds} of {len(self.need.seeds)} seeds"]
        return missing + list(_notes(self.cell))


@dataclass(frozen=True)
class Reproduction:
    """Compares printed cells with tidy tables.

    Attributes:
        cells: the printed ones.
        tables: the tidy table of every suite that has one, by suite.
        suites: settings of the suites.
        instead: suite that stands in for another, by the name of the latter.
    """

    cells: Sequence[PrintedCell]
    tables: Mapping[str, pd.DataFrame]
    suites: Mapping[str, "Suite"]
    instead: Mapping[str, str]

    def comparisons(self) -> list[Comparison]:
        """One per cell, in their order."""
        return [self.comparison(cell) for cell in self.cells]

    def comparison(self, cell: PrintedCell) -> Comparison:
        """One of the cells."""
        wanted = need(cell)
        suite = self.instead.get(wanted.suite, wanted.suite)
        ours = self._ours(suite, wanted)
        if ours is None:
            return Comparison(cell, wanted, None, None, ())
        noise = noise_of(cell, ours, len(wanted.seeds), self._typical[_kind(cell)])
        reasons = (*_doubts(cell), *differences_in_setting(cell, wanted, self.suites[suite]))
        return Comparison(cell, wanted, ours, noise, reasons)

    def _ours(self, suite: str, wanted: Need) -> Ours | None:
        key = (wanted.method, wanted.weights, wanted.evaluation, wanted.corruption, wanted.metric)
        found = self._rows.get(suite, {}).get(key, {})
        return ours_of([found[seed] for seed in wanted.seeds if seed in found], self._smallest_class(suite))

    @cached_property
    def _rows(self) -> dict[str, dict[tuple[str, ...], dict[int, tuple[float, float, float]]]]:
        """Value, low and high of every seed, by suite and address; numbers that are undefined are left out."""
        keys = ["method", "weights", "evaluation", "corruption", "metric"]
        indexed: dict[str, dict[tuple[str, ...], dict[int, tuple[float, float, float]]]] = {}
        for suite, table in self.tables.items():
            assert list(table.columns) == list(COLUMNS), "not a tidy table"
            whole = table.loc[(table["class_name"] == "") & table["value"].notna()]
            columns = [whole[name].tolist() for name in (*keys, "seed", "value", "low", "high")]
            for *key, seed, value, low, high in zip(*columns, strict=True):
                indexed.setdefault(suite, {}).setdefault(tuple(key), {})[seed] = (value, low, high)
        return indexed

    def _smallest_class(self, suite: str) -> float:
        """Test images of a class, were all of one size."""
        table = self.tables.get(suite)
        if table is None:
            return float("nan")
        clean = table.loc[table["evaluation"] == "clean"]
        classes = len(set(clean.loc[clean["metric"] == "class_accuracy", "class_name"]))
        return max(clean["images"].tolist(), default=0) / classes if classes else float("nan")

    @cached_property
    def _typical(self) -> dict[tuple[str, str], float]:
        return typical_spreads(self.cells)


def ours_of(values: Sequence[tuple[float, float, float]], images_per_class: float) -> Ours | None:
    """Our number from value, low and high of each seed, fractions; None without a seed.

    The error over test images is half the interval over its normal quantile. An accuracy observed as 0 or 1 has an
    interval of no width: there the rule of three bounds what other images could show, 3 / n of the images of a class.
    """
    if not values:
        return None
    numbers = [100 * value for value, _, _ in values]
    errors = [
        100 * ((high - low) / 2 if high > low else 3 / images_per_class if images_per_class > 0 else 0.0) / _Z
        for _, low, high in values
    ]
    std = None if len(values) == 1 else stdev(numbers)
    return Ours(mean(numbers), std, len(values), sqrt(sum(error**2 for error in errors) / len(errors)))


def noise_of(cell: PrintedCell, ours: Ours, seeds_of_table: int, typical: float) -> Noise:
    """The noise of ours minus printed.

        V = s_ours^2 / n_ours + s_printed^2 / n_printed + 2 e^2

    with e the standard error of one evaluation over test images, as if the two had drawn their own.

    Args:
        cell: the printed one.
        ours: our number.
        seeds_of_table: how many seeds are taken to be behind a printed deviation without a number.
        typical: spread over seeds where neither side has one, in percent points.
    """
    printed_std = None if _doubts_std(cell) else cell.std
    printed_seeds = (cell.seeds or seeds_of_table) if cell.std is not None else 1
    known: list[tuple[float, float, Spread]] = [(typical, _ALWAYS, "typical")]
    if printed_std is not None:
        known.insert(0, (printed_std, max(1, printed_seeds - 1), "other's"))
    of_ours = (ours.std, ours.seeds - 1, "own") if ours.std is not None else known[0]
    if printed_std is not None:
        of_printed = (printed_std, max(1, printed_seeds - 1), "own")
    else:
        of_printed = (ours.std, ours.seeds - 1, "other's") if ours.std is not None else known[-1]
    variances = (of_ours[0] ** 2 / ours.seeds, of_printed[0] ** 2 / printed_seeds)
    test = sqrt(2) * ours.test_error
    # One estimate that serves both sides is wrong on both at once: its degrees of freedom do not add up.
    shared = "other's" in (of_ours[2], of_printed[2])
    independent = (
        [(sum(variances), of_ours[1])] if shared else list(zip(variances, (of_ours[1], of_printed[1]), strict=True))
    )
    uncertainty = sum(variance**2 / degrees for variance, degrees in independent)
    degrees = min((sum(variances) + test**2) ** 2 / uncertainty, _ALWAYS) if uncertainty else _ALWAYS
    return Noise(sqrt(sum(variances)), test, degrees, of_ours[2], of_printed[2])


def typical_spreads(cells: Sequence[PrintedCell]) -> dict[tuple[str, str], float]:
    """The median printed deviation of each kind of number, in percent points; those that are doubted do not count."""
    kinds: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        if cell.std is not None and not _doubts_std(cell):
            kinds.setdefault(_kind(cell), []).append(cell.std)
    return {kind: median(values) for kind, values in kinds.items()}


def _kind(cell: PrintedCell) -> tuple[str, str]:
    """Evaluation, and overall or worst class. No deviation is printed under corruptions: they count as clean."""
    evaluation = "clean" if cell.evaluation == "corruption" else cell.evaluation
    return evaluation, "worst" if cell.metric.startswith("worst") else "overall"


def _notes(cell: PrintedCell) -> Iterator[str]:
    return (part for part in cell.note.split(" | ") if part)


def _tokens(cell: PrintedCell) -> Iterator[tuple[str, str]]:
    for note in _notes(cell):
        token, _, text = note.partition(":")
        yield token.strip(), text.strip()


def _is_about_std(text: str) -> bool:
    return text.startswith("std ")


def _doubts_std(cell: PrintedCell) -> bool:
    return any(token == "suspicious" and _is_about_std(text) for token, text in _tokens(cell))


def _doubts(cell: PrintedCell) -> list[str]:
    """Remarks that rule out a verdict on the printed value."""
    return [f"{token}: {text}" for token, text in _tokens(cell) if _RULED_OUT.get(token, lambda text: False)(text)]


def differences_in_setting(cell: PrintedCell, wanted: Need, suite: "Suite") -> list[str]:
    """In what the suite is not the paper's experiment, as far as its settings tell."""
    return [*_other_data(cell, suite), *_other_training(cell, suite), *_other_attack(wanted, suite)]


def _other_data(cell: PrintedCell, suite: "Suite") -> Iterator[str]:
    source, corruptions = suite.data.source.kind, suite.data.corruptions.kind
    if source != _SOURCES[cell.dataset]:
        yield f"other images: {suite.title} ({source}), not {cell.dataset}"
    elif cell.evaluation == "corruption" and corruptions != "cifar10c":
        yield f"other corrupted images ({corruptions}), not CIFAR-10-C"
    on_subset = any(token == "scope" for token, _ in _tokens(cell))
    if bool(suite.data.without_classes) != on_subset:
        yield "other classes"


def _other_training(cell: PrintedCell, suite: "Suite") -> Iterator[str]:
    network = suite.architecture
    width = getattr(network, "width", _WIDTH)
    if network.kind != _NETWORKS[cell.architecture]:
        yield f"another network: {network.kind}"
    elif width != _WIDTH:
        yield f"a network of width {width} instead of {_WIDTH}"
    if network.kind == "xcit_s12" and not network.has_start:
        yield "trained from random weights: the checkpoint that the paper starts from is not set"
    if suite.epoch_scale != 1:
        yield f"trained for {suite.epoch_scale:.0%} of the epochs"
    if abs(suite.threat.epsilon - _EPSILON) > 1e-9:
        yield f"radius {255 * suite.threat.epsilon:g}/255 instead of 8/255"


def _other_attack(wanted: Need, suite: "Suite") -> Iterator[str]:
    """Smaller budgets than the published ones (spec 7)."""
    pgd, auto, square = suite.evaluation.pgd, suite.evaluation.autoattack, suite.evaluation.square
    heading = evaluation_heading(wanted.evaluation)
    if wanted.evaluation.startswith("pgd") and (abs(pgd.step_size - _STEP) > 1e-9 or pgd.restarts != 1):
        yield f"{heading} with steps of {255 * pgd.step_size:g}/255 and {pgd.restarts} restarts instead of 2/255 and 1"
    reduced = auto.iterations < _ITERATIONS or auto.target_classes < _TARGET_CLASSES or auto.queries < _QUERIES
    if wanted.evaluation == "autoattack" and reduced:
        yield f"{heading} with a reduced budget"
    if wanted.evaluation == "square" and square.queries < _QUERIES:
        yield f"{heading} with {square.queries:,} queries instead of {_QUERIES:,}"
    images = {"autoattack": auto.images, "square": square.images}.get(wanted.evaluation)
    if images is not None:
        yield f"{heading} on {images:,} test images only"


def counted(comparisons: Sequence[Comparison]) -> dict[Verdict, int]:
    """How many cells have each verdict."""
    verdicts = [comparison.verdict for comparison in comparisons]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def typical_distance(comparisons: Sequence[Comparison]) -> float | None:
    """Median of |ours - printed| over the comparable cells, in percent points; None if there are none."""
    distances = [abs(one.difference) for one in comparisons if one.difference is not None and not one.reasons]
    return median(distances) if distances else None


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A row per printed cell, in percent points: whence, printed, ours, difference, noise, verdict, why."""
    return pd.DataFrame([_record(one) for one in comparisons])


def _record(one: Comparison) -> dict[str, object]:
    cell, ours, noise = one.cell, one.ours, one.noise
    names = ("source", "table", "dataset", "architecture", "label", "evaluation", "corruption", "metric")
    return {
        **{name: getattr(cell, name) for name in names},
        "printed": cell.value,
        "printed_std": cell.std,
        "run": f"{one.need.suite}/{one.need.method}/{one.need.weights}",
        "ours": ours and ours.mean,
        "std": ours and ours.std,
        "seeds": ours.seeds if ours else 0,
        "difference": one.difference,
        "seed_error": noise and noise.seeds,
        "test_error": noise and noise.test,
        "degrees_of_freedom": noise and noise.degrees,
        "tolerance": noise and noise.tolerance,
        "spread_ours": noise and noise.spread_ours,
        "spread_printed": noise and noise.spread_printed,
        "verdict": one.verdict,
        "reasons": " | ".join(one.reasons),
        "remarks": " | ".join(one.remarks),
    }
