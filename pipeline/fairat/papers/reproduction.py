"""Every printed number against ours: the difference, both spreads, and a verdict with one tolerance.

docs/reproduction.md has the assumptions, and which remarks on a printed cell rule out a verdict.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, median, stdev
from typing import Literal

import pandas as pd

from fairat.papers.needs import Need, need, stage_of
from fairat.papers.published import PrintedCell
from fairat.papers.setting import differences
from fairat.study import Study

Verdict = Literal["within", "better", "worse", "not comparable", "not run"]
Interval = tuple[float, float, float]
"""A number, and the ends of its confidence interval over test images."""
VERDICTS: tuple[Verdict, ...] = ("within", "better", "worse", "not comparable", "not run")
TOLERANCE = 1.96
"""Standard errors of the difference: 95% of the repetitions of one and the same experiment differ by no more."""

_DOUBTED = re.compile(r"uncertain:|suspicious: (?!std )|repeated: run of|inconsistent: (worst class|overall|avg std)")
"""Remarks that say that a printed value is not what its place says: a guess, implausible, a run of cells equal to another
method's, or in contradiction to arithmetic. All others are mentioned beside the verdict."""


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
    cells: Sequence[PrintedCell], table: pd.DataFrame, study: Study, instead: Mapping[str, str]
) -> list[Comparison]:
    """One comparison per printed cell, in their order.

    Args:
        cells: all printed ones.
        table: the tidy table of what was run, of all suites.
        study: with the settings of what was run.
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
        if not values:
            comparisons.append(Comparison(cell, wanted))
            continue
        of_setting = differences(study, suite, [wanted.method], [stage_of(wanted.evaluation)], wanted.suite)
        comparisons.append(compared(cell, wanted, values, of_setting, spreads[_kind(cell)]))
    return comparisons


def compared(
    cell: PrintedCell, wanted: Need, values: Sequence[Interval], of_setting: Sequence[str], typical: float
) -> Comparison:
    """One printed cell against value, low and high of each of our seeds, in percent.

        tolerance = 1.96 * sqrt(s_ours^2 / n_ours + s_printed^2 / n_printed + 2 e^2)

    with e the standard error of one evaluation over test images, as if the two had drawn their own: an interval is 1.96 e
    to each side. A side without a spread s over seeds has that of the other side; where neither has one, the typical one.
    `of_setting` says in what our experiment is not the paper's.
    """
    numbers = [value for value, _, _ in values]
    std, printed = stdev(numbers) if len(numbers) > 1 else None, _spread(cell)
    s_ours = next(spread for spread in (std, printed, typical) if spread is not None)
    s_printed = next(spread for spread in (printed, std, typical) if spread is not None)
    n_printed = 1 if cell.std is None else cell.seeds or len(wanted.seeds)
    e_squared = mean(((high - low) / 2 / TOLERANCE) ** 2 for _, low, high in values)
    tolerance = TOLERANCE * sqrt(s_ours**2 / len(values) + s_printed**2 / n_printed + 2 * e_squared)
    reasons = (*filter(_DOUBTED.match, cell.remarks), *of_setting)
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
