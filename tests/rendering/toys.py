"""Tidy tables of made-up numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from fairat.rendering.filling import Content
from fairat.rendering.table import Row
from fairat.results.aggregation import COLUMNS

Entry = dict[str, Any]
NASTY = ("tom & jerry", "50%", "a_b", "#1 {x}", "$5", "c:\\d", "~^", "[*] --", "café", "◇")
"""Class names with all ten special characters of LaTeX, and others that formats could trip over."""


def entry(value: float | None, **keys: Any) -> Entry:
    """One row of a tidy table; by default the clean overall accuracy of the last weights of `at`, seed 0."""
    row = {"suite": "demo", "method": "at", "seed": 0, "weights": "last", "evaluation": "clean", "corruption": ""}
    row |= {"metric": "overall_accuracy", "class_name": "", "value": value, "low": value, "high": value, "images": 100}
    assert row.keys() >= keys.keys(), keys
    return row | keys


def tidy(entries: Iterable[Entry]) -> pd.DataFrame:
    frame = pd.DataFrame(list(entries), columns=list(COLUMNS))
    return frame.astype({"value": float, "low": float, "high": float})


def seeds(values: Sequence[float], **keys: Any) -> list[Entry]:
    """The same number from several seeds."""
    return [entry(value, seed=seed, **keys) for seed, value in enumerate(values)]


def four(method: str, *values: float | None, **keys: Any) -> list[Entry]:
    """The four numbers of a line of Table 1; None leaves one out."""
    places = [(evaluation, metric) for evaluation in ("clean", "pgd10") for metric in ("overall", "worst_class")]
    return [
        entry(value, method=method, evaluation=evaluation, metric=f"{metric}_accuracy", **keys)
        for value, (evaluation, metric) in zip(values, places, strict=True)
        if value is not None
    ]


def of_classes(
    method: str, accuracies: Mapping[str, float], *, metric: str = "class_accuracy", half: float = 0.0, **keys: Any
) -> list[Entry]:
    """A number per class, with an interval of `half` to either side."""
    return [
        entry(value, method=method, metric=metric, class_name=name, low=value - half, high=value + half, **keys)
        for name, value in accuracies.items()
    ]


AT = Row("at", "last", "AT", "AT")
OURS = Row("fair_tat", "last", "FAIR-TAT", "AT", ours=True, base="at")
TRADES = Row("trades", "last", "TRADES", "TRADES")


def content(entries: Iterable[Entry], rows: Sequence[Row] = (AT, OURS), **fields: Any) -> Content:
    return Content(**{"table": tidy(entries), "rows": rows, "suites": {"demo": "Digits"}, **fields})
