"""Each figure of a paper shows what the paper's own shows, and needs the evidence of no more."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from fairat.papers import figures
from fairat.papers.figure_rows import DEMO_FIGURES, FIGURES, FigureContent
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.rendering.toys import Entry, entry, of_classes, tidy

CLASSES = {"cat": 0.5, "dog": 0.25, "eel": 0.25}
PANELS = {
    "figure1": ["Clean CFPS (%)", "PGD-10 CFPS (%)"],
    "figure3": ["Clean accuracy (%)"],
    "bat_figure2": ["Accuracy (%)", "Attack steps", "Share (%)"],
    "bat_figure4": ["Clean error (%)", "PGD-20 error (%)"],
}
"""What the vertical axes show, from above."""
BOTH = pytest.mark.parametrize("all_figures", [FIGURES, DEMO_FIGURES], ids=["study", "demo"])


def numbers(content: FigureContent) -> list[Entry]:
    """All numbers of the evidence that the figure needs, and of no other."""
    found = []
    for need in content.needs:
        keys: dict[str, Any] = {"suite": need.suite, "evaluation": need.evaluation}
        found.append(entry(0.4, method=need.method, **keys))
        for metric in ("class_accuracy", "cfps", *(["class_attack_steps"] if need.evaluation == "steps" else [])):
            found += of_classes(need.method, CLASSES, metric=metric, **keys)
    return found


def drawn(name: str, content: FigureContent) -> Figure:
    return figures.draw(name, content, content.rows, tidy(numbers(content)), 8 / 255)


def dotted(axes: Axes) -> list[float]:
    return [float(np.ravel(line.get_ydata())[0]) for line in axes.lines if line.get_linestyle() == ":"]


@BOTH
def test_each_figure_needs_the_evaluations_that_its_paper_shows(all_figures):
    assert {name: content.evaluations for name, content in all_figures.items()} == {
        "figure1": ("clean", "pgd10"),
        "figure3": ("clean",),
        "figure4": (),
        "bat_figure2": ("clean", "pgd20", "steps", "pgd10"),
        "bat_figure4": ("clean", "pgd20"),
    }


@BOTH
@pytest.mark.parametrize("name", PANELS)
def test_each_figure_has_its_panels_from_what_it_needs(all_figures, name):
    assert [axes.get_ylabel() for axes in drawn(name, all_figures[name]).axes] == PANELS[name]


@BOTH
def test_figure_3_has_a_dotted_line_at_the_overall_clean_accuracy_of_each_model(all_figures):
    (axes,) = drawn("figure3", all_figures["figure3"]).axes
    assert dotted(axes) == pytest.approx([40.0] * len(all_figures["figure3"].rows))


@BOTH
def test_figure_4_has_the_margins_of_cfa_beside_those_of_fair_tat(all_figures, monkeypatch):
    def radii(_, method):
        return pd.DataFrame({"method": method, "epoch": 0, "class_name": list(CLASSES), "epsilon": 0.03})

    monkeypatch.setattr(figures, "radii", radii)
    content = all_figures["figure4"]
    titles = [axes.get_title() for axes in figures.draw("figure4", content, content.rows, tidy([]), 8 / 255).axes]
    assert titles == ["CFA (AT with CFA's margin)", "FAIR-TAT"]


@BOTH
def test_bat_figure_2_is_of_pgd_at_alone(all_figures):
    assert [row.label for row in all_figures["bat_figure2"].rows] == ["PGD-AT"]
    assert (
        drawn("bat_figure2", all_figures["bat_figure2"]).axes[0].get_title(loc="left") == "(a) PGD-AT: class accuracy"
    )


def test_the_networks_of_bat_are_resnets_by_its_recipe():
    assert {FIGURES[name].suite for name in ("bat_figure2", "bat_figure4")} == {"cifar10_resnet18"}
    assert [row.method for row in FIGURES["bat_figure2"].rows] == ["pgd_at"]
    assert [(row.method, row.label) for row in FIGURES["bat_figure4"].rows] == [
        ("pgd_at", "PGD-AT"),
        ("trades_original_6", "TRADES (1/λ = 6)"),
        ("bat", "BAT"),
    ]


def test_the_demo_shows_what_runs_it_has_in_their_place():
    assert [row.method for row in DEMO_FIGURES["bat_figure2"].rows] == ["at_constant"]
    assert [row.method for row in DEMO_FIGURES["bat_figure4"].rows] == ["at_constant", "trades", "fair_tat"]


@BOTH
def test_errors_are_what_accuracies_miss(all_figures):
    for axes in drawn("bat_figure4", all_figures["bat_figure4"]).axes:
        for group in axes.containers:
            assert [bar.get_height() for bar in group] == pytest.approx([50, 75, 75])
