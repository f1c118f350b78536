"""What the tables and figures of one or several suites are filled with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from fairat.errors import UserError
from fairat.results.aggregation import over_seeds

_ERRORS = tuple(f"{kind}_{name}_error" for kind in ("average", "worst") for name in ("standard", "boundary", "robust"))
_METRICS = ("overall_accuracy", "worst_class_accuracy", "class_accuracy", *_ERRORS)


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


class Address(NamedTuple):
    """Which number stands in a cell: the keys of the tidy table but for the seed."""

    suite: str
    method: str
    weights: str
    evaluation: str
    corruption: str
    metric: str
    class_name: str


class Statistic(NamedTuple):
    """A number over seeds.

    Attributes:
        mean: a fraction in [0, 1].
        std: sample standard deviation (n - 1); None for fewer than two seeds.
        seeds: how many seeds have a value; 0 where none is defined, as for a class without images.
        images: fewest and most images that a seed's value was computed from.
    """

    mean: float
    std: float | None
    seeds: int
    images: tuple[int, int]


@dataclass(frozen=True)
class Content:
    """What the layouts are filled with.

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
                "A table needs at least one row and one suite, but there are none. Add a run to runs.yaml or own.yaml, and "
                "its suite under `active:`."
            )
        shown = [(row.method, row.weights) for row in self.rows]
        if repeated := [row for row in shown if shown.count(row) > 1]:
            method, weights = repeated[0]
            raise UserError(f"The {weights} weights of {method} are in two rows of a table. Leave one of them out.")

    @cached_property
    def statistics(self) -> dict[Address, Statistic]:
        """Every accuracy of the suites, and every error of BAT's, by its address."""
        wanted = self.table["suite"].isin(list(self.suites)) & self.table["metric"].isin(_METRICS)
        found = self.table.loc[wanted]
        keys = list(Address._fields)
        assert not found.duplicated([*keys, "seed"]).any(), "the tidy table holds a value twice"
        # A boundary error is a difference: below zero where an attack rights more predictions than it breaks.
        lowest = found["metric"].str.endswith("_boundary_error").map({True: -1.0, False: 0.0})
        assert (found["value"].dropna() >= lowest[found["value"].notna()]).all(), "fractions lie in [0, 1]"
        assert (found["value"].dropna() <= 1).all(), "accuracies are fractions in [0, 1]"
        images = found.groupby(keys, sort=False, observed=True)["images"].agg(["min", "max"]).reset_index()
        numbers = over_seeds(found).merge(images, on=keys, validate="one_to_one")
        columns = (numbers[name].tolist() for name in (*keys, "mean", "std", "seeds", "min", "max"))
        return {
            Address(*address): Statistic(mean, std if seeds > 1 else None, seeds, (least, most))
            for *address, mean, std, seeds, least, most in zip(*columns, strict=True)
        }

    def classes(self, suite: str) -> list[str]:
        """The classes of a suite, in their order."""
        of_classes = (self.table["suite"] == suite) & (self.table["metric"] == "class_accuracy")
        return list(dict.fromkeys(self.table.loc[of_classes, "class_name"]))

    def test_images(self, suite: str) -> int:
        """How many images the test set has: the most that any clean evaluation saw; 0 if there is none."""
        clean = (self.table["suite"] == suite) & (self.table["evaluation"] == "clean")
        return max(self.table.loc[clean, "images"].tolist(), default=0)


def evaluation_heading(evaluation: str) -> str:
    """Name of an evaluation in headings: `pgd10` is PGD-10."""
    if evaluation.startswith("pgd"):
        return f"PGD-{evaluation.removeprefix('pgd')}"
    return {"autoattack": "AutoAttack"}.get(evaluation, evaluation.capitalize())
