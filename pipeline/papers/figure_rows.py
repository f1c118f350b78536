"""What the papers' figures show: data only, so that the graph can be written without drawing.

The papers name neither the networks of FAIR-TAT's Figures 1 and 3 nor those of BAT's figures (spec 11). A row is added by
adding it here; `python -m pipeline.papers.graph` then tells DVC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline import paths
from pipeline.papers.needs import DEMO_REPORT, DEMO_SUITE, TABLE_SUITES, Need


@dataclass(frozen=True)
class FigureRow:
    """One network of a figure, seed 0.

    Attributes:
        method: of params.yaml, or of its `zoo:`.
        label: in the legend or above the panel.
    """

    method: str
    label: str
    ours: bool = False
    weights: str = "last"


@dataclass(frozen=True)
class FigureContent:
    """What a figure is drawn from.

    Attributes:
        suite: whose runs.
        evaluations: in the names of the tidy table; empty where only the training's history is drawn.
    """

    suite: str
    rows: tuple[FigureRow, ...]
    evaluations: tuple[str, ...] = ()

    @property
    def needs(self) -> list[Need]:
        """What its numbers are computed from."""
        return [
            Need(self.suite, row.method, row.weights, (0,), evaluation, "class_accuracy")
            for evaluation in self.evaluations
            for row in self.rows
        ]

    @property
    def histories(self) -> list[tuple[str, str, int]]:
        """The runs whose training itself is drawn: suite, method and seed."""
        return [] if self.evaluations else [(self.suite, row.method, 0) for row in self.rows]

    @property
    def inputs(self) -> list[Path]:
        """The files of evidence; of a history, the directories of the runs."""
        if self.histories:
            return [paths.run(*run) for run in self.histories]
        return list(dict.fromkeys(path for need in self.needs for path in need.evidence))


_AT, _FAIR_TAT = FigureRow("at", "AT"), FigureRow("fair_tat", "FAIR-TAT", ours=True)
_EXTERNAL = (
    FigureRow("engstrom2019", "Engstrom et al. 2019"),
    FigureRow("rice2020", "Rice et al. 2020"),
    FigureRow("rade2021", "Rade and Moosavi-Dezfooli 2021"),
)
_BAT_ROWS = (
    FigureRow("at_constant", "PGD-AT"),
    FigureRow("trades_original_6", "TRADES (1/λ = 6)"),
    FigureRow("frl", "FRL (0.07)"),
    FigureRow("bat", "BAT", ours=True),
)

FIGURES: Mapping[str, FigureContent] = {
    "figure1": FigureContent("cifar10", (*_EXTERNAL, _AT, _FAIR_TAT), ("pgd10",)),
    "figure3": FigureContent("cifar10", (*_EXTERNAL, _AT, _FAIR_TAT), ("clean", "pgd10")),
    "figure4": FigureContent("cifar10", (_AT, _FAIR_TAT)),
    "bat_figure2": FigureContent("cifar10_resnet18", _BAT_ROWS, ("steps", "pgd20")),
    "bat_figure4": FigureContent("cifar10_resnet18", _BAT_ROWS, ("clean", "pgd20")),
}
"""By target."""

_DEMO_BAT = (FigureRow("at_constant", "PGD-AT"), FigureRow("fair_tat", "FAIR-TAT", ours=True))
DEMO_FIGURES: Mapping[str, FigureContent] = {
    name: replace(content, suite=DEMO_SUITE, rows=_DEMO_BAT if name.startswith("bat") else (_AT, _FAIR_TAT))
    for name, content in FIGURES.items()
}
"""The same figures of the demo's runs."""

SHOWN_SUITES: Mapping[str, tuple[str, ...]] = {
    **TABLE_SUITES,
    **{name: (content.suite,) for name, content in FIGURES.items()},
    DEMO_REPORT: (DEMO_SUITE,),
}
"""The suites whose numbers each target shows."""
