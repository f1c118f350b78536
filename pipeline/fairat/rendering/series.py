"""The class-wise numbers of rows as figures draw them: in percent, each with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import pandas as pd
from jaxtyping import Float

from fairat.errors import Hint, UserError
from fairat.rendering.table import Row
from fairat.results.aggregation import over_seeds

_COUNTS = ("class_attack_steps",)
"""Metrics that are no fractions, and so not in percent."""


@dataclass(frozen=True)
class Series:
    """The values of one row, in percent unless they are counts: mean over seeds, and the ends of the interval.

    Attributes:
        number: position among the rows asked for; decides the color, so that a row looks the same in every panel.
        seeds: the interval is the bootstrap's for one, the mean ± sample standard deviation for several.
    """

    label: str
    number: int
    seeds: int
    classes: tuple[str, ...]
    mean: Float[np.ndarray, " class"]
    low: Float[np.ndarray, " class"]
    high: Float[np.ndarray, " class"]


def class_series(table: pd.DataFrame, rows: Sequence[Row], suite: str, evaluation: str, metric: str) -> list[Series]:
    """The series of the rows that have a value; of a metric of all classes, the only class is the empty name.

    Raises:
        UserError: no row has a value.
    """
    found = defined_series(table, rows, suite, evaluation, metric)
    if not found:
        names = ", ".join(row.label for row in rows) or "no rows"
        raise UserError(
            f"There is nothing to draw: {suite} has no {metric} under {evaluation} for any of the rows asked for ({names}). "
            "Evaluate the runs first.",
            Hint.MAKE,
        )
    return found


def defined_series(table: pd.DataFrame, rows: Sequence[Row], suite: str, evaluation: str, metric: str) -> list[Series]:
    """The same, but none where no row has a value: false positive scores are undefined where no prediction is wrong."""
    wanted = (table["suite"] == suite) & (table["evaluation"] == evaluation) & (table["metric"] == metric)
    values = table.loc[wanted]
    classes = tuple(dict.fromkeys(values["class_name"]))
    found = []
    for number, row in enumerate(rows):
        of_row = values.loc[(values["method"] == row.method) & (values["weights"] == row.weights)]
        if of_row["value"].notna().any():
            found.append(_one_series(of_row, row.label, number, classes))
    return found


def errors(accuracies: Series) -> Series:
    """What is missing to 100 %: `error = 1 - accuracy`, so that the ends of the interval change places."""
    return replace(accuracies, mean=100 - accuracies.mean, low=100 - accuracies.high, high=100 - accuracies.low)


def _one_series(values: pd.DataFrame, label: str, number: int, classes: tuple[str, ...]) -> Series:
    unit, most = (1, inf) if values["metric"].iloc[0] in _COUNTS else (100, 100)
    numbers = over_seeds(values).set_index("class_name").loc[list(classes)]
    seeds, mean = int(numbers["seeds"].max()), unit * numbers["mean"].to_numpy()
    if seeds == 1:
        defined = values.loc[values["value"].notna()].set_index("class_name").reindex(list(classes))
        return Series(label, number, seeds, classes, mean, *(unit * defined[end].to_numpy() for end in ("low", "high")))
    spread = unit * numbers["std"].to_numpy()
    return Series(label, number, seeds, classes, mean, (mean - spread).clip(0), (mean + spread).clip(max=most))
