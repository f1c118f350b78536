"""Every printed number against ours: the difference, both spreads, and a verdict with one tolerance.

docs/reproduction.md has the assumptions, and which remarks on a printed cell rule out a verdict.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, median, stdev
from typing import Literal

import pandas as pd

from fairat.papers.needs import Need, need
from fairat.papers.published import PrintedCell
from fairat.rendering.notes import QUERIES, reduced
from fairat.rendering.table import evaluation_heading
from fairat.settings.suite import Suite

Verdict = Literal["within", "better", "worse", "not comparable", "not run"]
Interval = tuple[float, float, float]
"""A number, and the ends of its confidence interval over test images."""
VERDICTS: tuple[Verdict, ...] = ("within", "better", "worse", "not comparable", "not run")
TOLERANCE = 1.96
"""Standard errors of the difference: 95% of the repetitions of one and the same experiment differ by no more."""

_DOUBTED = re.compile(r"uncertain:|suspicious: (?!std )|repeated: run of|inconsistent: (worst class|overall|avg std)")
"""Remarks that say that a printed value is not what its place says: a guess, implausible, a run of cells equal to another
method's, or in contradiction to arithmetic. All others are mentioned beside the verdict."""
_NETWORKS = {"preactresnet18": "preact_resnet18", "resnet18": "resnet18", "xcit_s12": "xcit_s12"}
_WIDTH = 64
_EPSILON, _STEP = 8 / 255, 2 / 255


@dataclass(frozen=True)
class Comparison:
    """One printed cell and ours, in percent points.

    Attributes:
        ours: mean over seeds; None where nothing was run.
        std: sample standard deviation over seeds (n - 1); None for one.
        seeds: how many were run.
        tolerance: how far apart repetitions of one experiment may lie; None where nothing was run.
        reasons: why there is no verdict on our number.
    """

    cell: PrintedCell
    need: Need
    ours: float | None = None
    std: float | None = None
    seeds: int = 0
    tolerance: float | None = None
    reasons: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        """Ours minus printed."""
        return None if self.ours is None else self.ours - self.cell.value

    @property
    def verdict(self) -> Verdict:
        """`better` is a higher accuracy or a lower error, by more than the tolerance."""
        if self.difference is None or self.tolerance is None:
            return "not run"
        if self.reasons:
            return "not comparable"
        # A difference that prints as the tolerance is not beyond it because of binary noise.
        if abs(self.difference) <= self.tolerance + 1e-9:
            return "within"
        return "better" if (self.difference > 0) != self.cell.metric.endswith("_error") else "worse"

    @property
    def remarks(self) -> list[str]:
        """What is missing of ours, and what is odd about the printed cell."""
        wanted = len(self.need.seeds)
        return ([f"{self.seeds} of {wanted} seeds"] if 0 < self.seeds < wanted else []) + self.cell.remarks


def compare(
    cells: Sequence[PrintedCell], table: pd.DataFrame, suites: Mapping[str, Suite], instead: Mapping[str, str]
) -> list[Comparison]:
    """One comparison per printed cell, in their order.

    Args:
        cells: all printed ones.
        table: the tidy table of what was run, of all suites.
        suites: their settings.
        instead: suite that stands in for another, by the name of the latter.
    """
    keys = ["suite", "method", "weights", "evaluation", "corruption", "metric"]
    whole = table.loc[(table["class_name"] == "") & table["value"].notna()]
    found: dict[tuple[str, ...], dict[int, Interval]] = {}
    for *key, seed, value, low, high in whole[[*keys, "seed", "value", "low", "high"]].itertuples(index=False):
        found.setdefault(tuple(key), {})[seed] = (100 * value, 100 * low, 100 * high)
    spreads, comparisons = typical_spreads(cells), []
    for cell in cells:
        wanted = need(cell)
        suite = instead.get(wanted.suite, wanted.suite)
        key = (suite, wanted.method, wanted.weights, wanted.evaluation, wanted.corruption, wanted.metric)
        values = [found[key][seed] for seed in wanted.seeds if seed in found.get(key, {})]
        comparisons.append(
            compared(cell, wanted, values, suites[suite], spreads[_kind(cell)]) if values else Comparison(cell, wanted)
        )
    return comparisons


def compared(cell: PrintedCell, wanted: Need, values: Sequence[Interval], suite: Suite, typical: float) -> Comparison:
    """One printed cell against value, low and high of each of our seeds, in percent.

        tolerance = 1.96 * sqrt(s_ours^2 / n_ours + s_printed^2 / n_printed + 2 e^2)

    with e the standard error of one evaluation over test images, as if the two had drawn their own: an interval is 1.96 e
    to each side. A side without a spread s over seeds has that of the other side; where neither has one, the typical one.
    """
    numbers = [value for value, _, _ in values]
    std, printed = stdev(numbers) if len(numbers) > 1 else None, _spread(cell)
    s_ours = next(spread for spread in (std, printed, typical) if spread is not None)
    s_printed = next(spread for spread in (printed, std, typical) if spread is not None)
    n_printed = 1 if cell.std is None else cell.seeds or len(wanted.seeds)
    e_squared = mean(((high - low) / 2 / TOLERANCE) ** 2 for _, low, high in values)
    tolerance = TOLERANCE * sqrt(s_ours**2 / len(values) + s_printed**2 / n_printed + 2 * e_squared)
    reasons = (*filter(_DOUBTED.match, cell.remarks), *differences_in_setting(cell, wanted, suite))
    return Comparison(cell, wanted, mean(numbers), std, len(values), tolerance, reasons)


def typical_spreads(cells: Sequence[PrintedCell]) -> dict[tuple[str, str], float]:
    """The median printed deviation of each kind of number, in percent points."""
    kinds: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        if (std := _spread(cell)) is not None:
            kinds.setdefault(_kind(cell), []).append(std)
    return {kind: median(values) for kind, values in kinds.items()}


def _spread(cell: PrintedCell) -> float | None:
    """The printed deviation; None where it is doubted."""
    return None if any(remark.startswith("suspicious: std ") for remark in cell.remarks) else cell.std


def _kind(cell: PrintedCell) -> tuple[str, str]:
    """Evaluation, and overall or worst class. No deviation is printed under corruptions: they count as clean."""
    evaluation = "clean" if cell.evaluation == "corruption" else cell.evaluation
    return evaluation, "worst" if cell.metric.startswith("worst") else "overall"


def differences_in_setting(cell: PrintedCell, wanted: Need, suite: Suite) -> Iterator[str]:
    """In what the suite is not the paper's experiment, as far as its settings tell."""
    source, corruptions, network = suite.data.source.kind, suite.data.corruptions.kind, suite.architecture
    if source != cell.dataset.removesuffix("-c"):
        yield f"other images: {suite.title} ({source}), not {cell.dataset}"
    elif cell.evaluation == "corruption" and corruptions != "cifar10c":
        yield f"other corrupted images ({corruptions}), not CIFAR-10-C"
    if bool(suite.data.without_classes) != any(remark.startswith("scope:") for remark in cell.remarks):
        yield "other classes"
    if network.kind != _NETWORKS[cell.architecture]:
        yield f"another network: {network.kind}"
    elif (width := getattr(network, "width", _WIDTH)) != _WIDTH:
        yield f"a network of width {width} instead of {_WIDTH}"
    if network.kind == "xcit_s12" and not network.has_start:
        yield "trained from random weights: the checkpoint that the paper starts from is not set"
    if suite.epoch_scale != 1:
        yield f"trained for {suite.epoch_scale:.0%} of the epochs"
    if abs(suite.threat.epsilon - _EPSILON) > 1e-9:
        yield f"radius {255 * suite.threat.epsilon:g}/255 instead of 8/255"
    yield from _other_attack(wanted.evaluation, suite)


def _other_attack(evaluation: str, suite: Suite) -> Iterator[str]:
    """Other steps, or a smaller budget than the published one."""
    pgd, auto, square = suite.evaluation.pgd, suite.evaluation.autoattack, suite.evaluation.square
    heading = evaluation_heading(evaluation)
    if evaluation.startswith("pgd") and (abs(pgd.step_size - _STEP) > 1e-9 or pgd.restarts != 1):
        yield f"{heading} with steps of {255 * pgd.step_size:g}/255 and {pgd.restarts} restarts instead of 2/255 and 1"
    if evaluation == "autoattack" and reduced(auto):
        yield f"{heading} with a reduced budget"
    if evaluation == "square" and square.queries < QUERIES:
        yield f"{heading} with {square.queries:,} queries instead of {QUERIES:,}"
    images = {"autoattack": auto.images, "square": square.images}.get(evaluation)
    if images is not None:
        yield f"{heading} on {images:,} test images only"


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A row per printed cell, in percent points: whence, printed, ours, difference, tolerance, verdict, why."""
    whence = ("source", "table", "dataset", "architecture", "label", "evaluation", "corruption", "metric")
    numbers = ("ours", "std", "seeds", "difference", "tolerance", "verdict")
    return pd.DataFrame(
        {name: getattr(one.cell, name) for name in whence}
        | {"printed": one.cell.value, "printed_std": one.cell.std}
        | {"run": f"{one.need.suite}/{one.need.method}/{one.need.weights}"}
        | {name: getattr(one, name) for name in numbers}
        | {"reasons": " | ".join(one.reasons), "remarks": " | ".join(one.remarks)}
        for one in comparisons
    )
