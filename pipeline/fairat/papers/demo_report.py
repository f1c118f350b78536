"""The papers' tables and figures on the demo: the same code, the digits of scikit-learn, the rows whose methods it has."""

from collections.abc import Sequence
from dataclasses import replace

from fairat.papers.needs import DEMO_SUITE, PAPER_TARGETS, Need, PaperTarget
from fairat.papers.tables import Entry, entries
from fairat.study import Study

MAIN_SUITES = ("cifar10", "cifar10_resnet18")
"""The digits stand in the place of these; tables of other data and of a transformer are left out."""

STAND_INS = {"pgd_at": "at_constant"}
"""Methods of printed rows that the demo has in another recipe."""


def demo_methods(study: Study) -> list[str]:
    """The methods of the demo."""
    return [run.method_name for run in study.runs_of(DEMO_SUITE)]


def demo_tables(methods: Sequence[str]) -> dict[PaperTarget, list[Entry]]:
    """The tables that the demo has at least one row of, and its cells: those whose method is among `methods`, seed 0.

    On one seed, FAIR-TAT Tables 7 and 8 are Tables 1 and 2 again: a table with the numbers of another is left out.
    """
    found: dict[PaperTarget, list[Entry]] = {}
    for target in PAPER_TARGETS.values():
        shown = [
            replace(entry, need=replace(entry.need, suite=DEMO_SUITE, method=method, seeds=entry.need.seeds[:1]))
            for entry in entries(target)
            if entry.need.suite in MAIN_SUITES
            and (method := STAND_INS.get(entry.need.method, entry.need.method)) in methods
        ]
        if shown and _numbers(shown) not in map(_numbers, found.values()):
            found[target] = shown
    return found


def _numbers(shown: Sequence[Entry]) -> set[tuple[str, Need]]:
    return {(entry.cell.label, entry.need) for entry in shown}
