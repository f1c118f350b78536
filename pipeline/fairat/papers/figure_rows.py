"""What the papers' figures show: data only, so that the graph can be written without drawing.

FAIR-TAT does not identify the networks of its Figures 1 and 3. A row is added by adding it here, and its evidence to the
figure's dependencies in dvc.yaml.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fairat.papers.needs import DEMO_REPORT, DEMO_SUITE, TABLE_SUITES, Need
from fairat.rendering.table import Row


@dataclass(frozen=True)
class FigureContent:
    """What a figure is drawn from.

    Attributes:
        suite: whose runs, of seed 0.
        evaluations: in the names of the tidy table; empty where only the training's history is drawn.
    """

    suite: str
    rows: tuple[Row, ...]
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


def _row(method: str, label: str, ours: bool = False) -> Row:
    return Row(method, "last", label, ours=ours)


_AT, _FAIR_TAT = _row("at", "AT"), _row("fair_tat", "FAIR-TAT", ours=True)
_CFA = _row("at", "CFA (AT with CFA's margin)")
_EXTERNAL = (
    _row("engstrom2019", "Engstrom et al. 2019"),
    _row("rice2020", "Rice et al. 2020"),
    _row("rade2021", "Rade and Moosavi-Dezfooli 2021"),
)
_PGD_AT = _row("pgd_at", "PGD-AT")
_TRADES, _BAT = _row("trades_original_6", "TRADES (1/λ = 6)"), _row("bat", "BAT", ours=True)

FIGURES: Mapping[str, FigureContent] = {
    "figure1": FigureContent("cifar10", (*_EXTERNAL, _AT, _FAIR_TAT), ("clean", "pgd10")),
    "figure3": FigureContent("cifar10", (*_EXTERNAL, _AT, _FAIR_TAT), ("clean",)),
    "figure4": FigureContent("cifar10", (_CFA, _FAIR_TAT)),
    "bat_figure2": FigureContent("cifar10_resnet18", (_PGD_AT,), ("clean", "pgd20", "steps", "pgd10")),
    "bat_figure4": FigureContent("cifar10_resnet18", (_PGD_AT, _TRADES, _BAT), ("clean", "pgd20")),
}
"""By target."""

_DEMO_PGD_AT = _row("at_constant", "PGD-AT")
_DEMO_ROWS: Mapping[str, tuple[Row, ...]] = {
    "figure1": (_AT, _FAIR_TAT),
    "figure3": (_AT, _FAIR_TAT),
    "figure4": (_CFA, _FAIR_TAT),
    "bat_figure2": (_DEMO_PGD_AT,),
    "bat_figure4": (_DEMO_PGD_AT, _row("trades", "TRADES"), _FAIR_TAT),
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
