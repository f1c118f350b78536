"""What the papers' figures show: data only, so that the graph can be written without drawing.

FAIR-TAT does not identify the networks of its Figures 1 and 3. A row is added by adding it here;
`python -m fairat.papers.graph` then tells DVC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fairat import paths
from fairat.papers.needs import DEMO_REPORT, DEMO_SUITE, TABLE_SUITES, Need


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
_CFA = FigureRow("at", "CFA (AT with CFA's margin)")
_EXTERNAL = (
    FigureRow("engstrom2019", "Engstrom et al. 2019"),
    FigureRow("rice2020", "Rice et al. 2020"),
    FigureRow("rade2021", "Rade and Moosavi-Dezfooli 2021"),
)
_PGD_AT = FigureRow("pgd_at", "PGD-AT")
_TRADES, _BAT = FigureRow("trades_original_6", "TRADES (1/λ = 6)"), FigureRow("bat", "BAT", ours=True)

FIGURES: Mapping[str, FigureContent] = {
    "figure1": FigureContent("cifar10", (*_EXTERNAL, _AT, _FAIR_TAT), ("clean", "pgd10")),
    "figure3": FigureContent("cifar10", (*_EXTERNAL, _AT, _FAIR_TAT), ("clean",)),
    "figure4": FigureContent("cifar10", (_CFA, _FAIR_TAT)),
    "bat_figure2": FigureContent("cifar10_resnet18", (_PGD_AT,), ("clean", "pgd20", "steps", "pgd10")),
    "bat_figure4": FigureContent("cifar10_resnet18", (_PGD_AT, _TRADES, _BAT), ("clean", "pgd20")),
}
"""By target."""

_DEMO_PGD_AT = FigureRow("at_constant", "PGD-AT")
_DEMO_ROWS: Mapping[str, tuple[FigureRow, ...]] = {
    "figure1": (_AT, _FAIR_TAT),
    "figure3": (_AT, _FAIR_TAT),
    "figure4": (_CFA, _FAIR_TAT),
    "bat_figure2": (_DEMO_PGD_AT,),
    "bat_figure4": (_DEMO_PGD_AT, FigureRow("trades", "TRADES"), _FAIR_TAT),
}
DEMO_FIGURES: Mapping[str, FigureContent] = {
    name: replace(content, suite=DEMO_SUITE, rows=_DEMO_ROWS[name]) for name, content in FIGURES.items()
}
"""The same figures of the demo's runs."""

SHOWN_SUITES: Mapping[str, tuple[str, ...]] = {
    **TABLE_SUITES,
    **{name: (content.suite,) for name, content in FIGURES.items()},
    DEMO_REPORT: (DEMO_SUITE,),
}
"""The suites whose numbers each target shows."""
