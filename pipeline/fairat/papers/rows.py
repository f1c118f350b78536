"""Which rows a suite's tables have: every weight set of every method, in the order and with the names of the papers."""

from collections.abc import Sequence
from dataclasses import replace

from fairat.methods.cfa import RobustAccuracyMargin
from fairat.methods.method import Method, bases
from fairat.rendering.table import Row
from fairat.settings.presentation import Presentation

WEIGHTS_ORDER = ("last", "ema", "fawa", "best")
OTHER = "other"


def suite_rows(methods: Sequence[tuple[str, Presentation]], weights: Sequence[str]) -> list[Row]:
    """Rows group by group, in a group weight set by weight set, then method by method as given (FAIR-TAT Table 1).

    A published network has one set of weights, `last`.

    Groups stand in the order of their first methods, but `other`, which is no family, last.
    """
    base_of = bases({name: method for name, method in methods if isinstance(method, Method)})
    groups = sorted(dict.fromkeys(method.group for _, method in methods), key=lambda group: group == OTHER)
    return [
        replace(row(name, method, weight_set), base=base_of.get(name) or "")
        for group in groups
        for weight_set in WEIGHTS_ORDER
        if weight_set in weights
        for name, method in methods
        if method.group == group and (isinstance(method, Method) or weight_set == "last")
    ]


def row(name: str, method: Presentation, weights: str) -> Row:
    """One row; "+ CFA" is FAWA together with CFA's margin, as the papers use it."""
    with_cfa = isinstance(method, Method) and isinstance(method.margin, RobustAccuracyMargin)
    fawa = " + CFA" if with_cfa else " + FAWA"
    suffix = {"last": "", "ema": " + EMA", "fawa": fawa, "best": " (best epoch)"}[weights]
    short = (method.short or method.label) + suffix
    reference = isinstance(method, Method) and not method.objective.has_robust_term
    return Row(name, weights, method.label + suffix, method.group, method.ours, short, reference=reference)
