import warnings
from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from fairat.errors import UserError
from fairat.progress import Listener, told_to
from fairat.rendering import figures
from fairat.rendering.figures import (
    PALETTE,
    class_accuracy,
    class_cfps,
    class_epsilon,
    class_errors,
    clean_class_accuracy,
    save_figure,
    source_and_target,
)
from fairat.rendering.series import class_series
from fairat.rendering.table import Row
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from tests.rendering.toys import AT, NASTY, OURS, TRADES, entry, of_classes, tidy

CLASSES = ("cat", "dog", "eel")


def scores(method="at", values=(0.5, 0.3, 0.2), *, classes=CLASSES, evaluation="pgd10", metric="cfps", **keys):
    accuracies = dict(zip(classes, values, strict=True))
    return of_classes(method, accuracies, metric=metric, evaluation=evaluation, **keys)


def accuracies(method="at", values=(0.9, 0.8, 0.7), *, robust="pgd10", seed=0, **keys):
    """Class accuracies without attack, and half of them under PGD; overall their mean, and half of it."""
    both = (("clean", list(values)), (robust, [value / 2 for value in values]))
    of_each = [
        one
        for evaluation, numbers in both
        for one in scores(method, numbers, evaluation=evaluation, metric="class_accuracy", seed=seed, **keys)
    ]
    overall = [
        entry(float(np.nanmean(numbers)), method=method, evaluation=evaluation, seed=seed)
        for evaluation, numbers in both
    ]
    return [*of_each, *overall]


def one_network(classes=CLASSES):
    """All that BAT's Figure 2 shows of a network, half of whose images stand every step."""
    steps = dict(zip(classes, (4, 20, 50), strict=True))
    return tidy(
        [
            *accuracies(robust="pgd20", half=0.05, classes=classes),
            *of_classes("at", steps, metric="class_attack_steps", evaluation="steps", half=3),
            entry(0.5, evaluation="steps"),
            *scores(values=(0.5, 0.3, 0.2), classes=classes),
        ]
    )


def many(count):
    return tuple(f"class {number}" for number in range(count))


def history(epsilons=((8, 8), (6, 9), (5, 10)), classes=CLASSES[:2], methods=("at",)):
    rows = [
        (method, epoch, name, value / 255)
        for method in methods
        for epoch, values in enumerate(epsilons)
        for name, value in zip(classes, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=["method", "epoch", "class_name", "epsilon"])


def drawn(figure: Figure) -> Figure:
    """The figure with everything in its final place; no warning of missing glyphs or colliding layouts."""
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()
    return figure


def heights(axes: Axes) -> list[list[float]]:
    return [[bar.get_height() for bar in group] for group in axes.containers if isinstance(group, BarContainer)]


def intervals(axes: Axes) -> list[list[list[float]]]:
    """Lower and upper end of every interval, group by group."""
    collections = (lines for lines in axes.collections if isinstance(lines, LineCollection))
    return [[np.asarray(segment)[:, 1].tolist() for segment in lines.get_segments()] for lines in collections]


def ordinates(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), dtype=float)


def dotted(axes: Axes) -> dict[str, float]:
    """The height of every dotted line by its color."""
    return {to_hex(line.get_color()).upper(): ordinates(line)[0] for line in axes.lines if line.get_linestyle() == ":"}


def y_labels(figure: Figure) -> list[str]:
    return [axes.get_ylabel() for axes in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_figure_1_has_the_clean_scores_above_those_under_attack_a_bar_per_row_and_class_in_percent():
    clean = scores(values=(0.6, 0.4, 0), evaluation="clean")
    table = tidy([*clean, *scores(half=0.1), *scores("fair_tat", (0.4, 0.35, 0.25))])
    figure = drawn(class_cfps(table, [AT, OURS], "demo"))
    above, below = figure.axes
    np.testing.assert_allclose(heights(above), [[60, 40, 0]])
    np.testing.assert_allclose(heights(below), [[50, 30, 20], [40, 35, 25]])
    np.testing.assert_allclose(intervals(below)[0], [[40, 60], [20, 40], [10, 30]])
    assert ticks(below) == list(CLASSES)
    assert y_labels(figure) == ["Clean CFPS (%)", "PGD-10 CFPS (%)"]
    assert legend(figure) == ["AT", "FAIR-TAT", "95 % bootstrap interval", "uniform"]


def test_figure_1_without_a_clean_error_has_the_scores_under_attack_alone():
    undefined = scores(values=[float("nan")] * 3, evaluation="clean")
    assert y_labels(drawn(class_cfps(tidy([*undefined, *scores()]), [AT], "demo"))) == ["PGD-10 CFPS (%)"]


def test_figure_1_shows_the_uniform_distribution_in_both_panels():
    tenths = {"values": (0.1,) * 10, "classes": NASTY}
    for axes in class_cfps(tidy([*scores(**tenths, evaluation="clean"), *scores(**tenths)]), [AT], "demo").axes:
        np.testing.assert_allclose(ordinates(axes.lines[-1]), [10, 10])


def test_figure_3_has_the_clean_accuracy_alone():
    table = tidy([*accuracies(), *accuracies("fair_tat", (0.6, 0.5, 0.4))])
    figure = drawn(clean_class_accuracy(table, [AT, OURS], "demo"))
    (axes,) = figure.axes
    np.testing.assert_allclose(heights(axes), [[90, 80, 70], [60, 50, 40]])
    assert axes.get_ylabel() == "Clean accuracy (%)"
    assert legend(figure) == ["AT", "FAIR-TAT", "95 % bootstrap interval", "overall (easy above, hard below)"]
    assert axes.get_ylim()[0] == 0


def test_dotted_lines_in_the_color_of_the_row_stand_at_its_overall_accuracy():
    entries = [*accuracies(), *accuracies("fair_tat", (0.6, 0.5, 0.4))]
    # Overall is the share of all images, whatever the mean over classes.
    unbalanced = [one | {"value": 0.42} if one["value"] == 0.5 and not one["class_name"] else one for one in entries]
    (axes,) = clean_class_accuracy(tidy(unbalanced), [AT, OURS], "demo").axes
    assert dotted(axes) == pytest.approx({PALETTE[0]: 80, PALETTE[1]: 42})


def test_figure_3_of_a_suite_has_the_clean_accuracy_above_the_robust_one_each_with_its_overall_accuracy():
    figure = class_accuracy(tidy([*accuracies(), *accuracies("fair_tat", (0.6, 0.5, 0.4))]), [AT, OURS], "demo")
    above, below = figure.axes
    np.testing.assert_allclose(heights(above), [[90, 80, 70], [60, 50, 40]])
    np.testing.assert_allclose(heights(below), [[45, 40, 35], [30, 25, 20]])
    assert dotted(above) == pytest.approx({PALETTE[0]: 80, PALETTE[1]: 50})
    assert dotted(below) == pytest.approx({PALETTE[0]: 40, PALETTE[1]: 25})
    assert y_labels(figure) == ["Clean accuracy (%)", "PGD-10 accuracy (%)"]
    assert legend(figure) == ["AT", "FAIR-TAT", "95 % bootstrap interval", "overall (easy above, hard below)"]
    assert above.get_ylim()[0] == below.get_ylim()[0] == 0


def test_dotted_lines_over_seeds_are_means():
    table = tidy([*accuracies(), *accuracies(values=(0.5, 0.4, 0.3), seed=1)])
    (axes,) = clean_class_accuracy(table, [AT], "demo").axes
    assert dotted(axes) == pytest.approx({PALETTE[0]: 60})


def test_bat_figure_4_has_what_accuracies_miss_and_their_intervals_turned():
    lopsided = [
        one | {"low": one["value"] - 0.02, "high": one["value"] + 0.05} if one["class_name"] else one
        for one in accuracies(robust="pgd20")
    ]
    figure = drawn(class_errors(tidy(lopsided), [AT], "demo"))
    above, below = figure.axes
    np.testing.assert_allclose(heights(above), [[10, 20, 30]])
    np.testing.assert_allclose(heights(below), [[55, 60, 65]])
    np.testing.assert_allclose(intervals(above)[0], [[5, 12], [15, 22], [25, 32]])
    assert y_labels(figure) == ["Clean error (%)", "PGD-20 error (%)"]
    assert legend(figure) == ["AT", "95 % bootstrap interval"]


def test_errors_over_seeds_do_not_leave_the_possible():
    table = tidy([*accuracies(values=(1, 1, 0)), *accuracies(values=(0.6, 1, 0.5), seed=1)])
    ends = np.array(intervals(class_errors(table, [AT], "demo", robust="pgd10").axes[0])[0])
    assert ends.min() >= 0
    assert ends.max() <= 100
    assert (ends[:, 0] <= ends[:, 1]).all()


def test_bat_figure_2_has_accuracies_side_by_side_then_steps_then_the_targets_of_another_attack():
    figure = drawn(source_and_target(one_network(), AT, "demo"))
    accuracy, steps, targets = figure.axes
    np.testing.assert_allclose(heights(accuracy), [[90, 80, 70], [45, 40, 35]])
    np.testing.assert_allclose(heights(steps), [[4, 20, 50]])
    np.testing.assert_allclose(intervals(steps)[0], [[1, 7], [17, 23], [47, 53]])
    np.testing.assert_allclose(heights(targets), [[50, 30, 20]])
    np.testing.assert_allclose(ordinates(targets.lines[-1]), [100 / 3, 100 / 3])
    assert y_labels(figure) == ["Accuracy (%)", "Attack steps", "Share (%)"]
    assert legend(figure) == ["Clean accuracy", "PGD-20 accuracy", "95 % bootstrap interval", "uniform"]


def test_bat_figure_2_names_its_network_the_share_of_unbroken_images_and_the_distance_to_uniform():
    """Half of |1/2 - 1/3| + |3/10 - 1/3| + |1/5 - 1/3| is 1/6."""
    titles = [axes.get_title(loc="left") for axes in source_and_target(one_network(), AT, "demo").axes]
    assert titles[0] == "(a) AT: class accuracy"
    assert "50.0 % stay unbroken" in titles[1]
    assert "under PGD-10; total variation to uniform 0.167" in titles[2]


def test_titles_of_bat_figure_2_fit_the_figure():
    figure = drawn(source_and_target(one_network(), replace(AT, label="TRADES (1/λ = 6)"), "demo"))
    texts = [text for axes in figure.axes for text in axes.findobj(Text) if text.get_text().startswith("(")]
    assert len(texts) == 3
    assert all(text.get_window_extent().x1 < figure.bbox.x1 for text in texts)


def test_steps_over_seeds_are_not_cut_off_at_100_percent():
    steps = [
        of_classes("at", dict.fromkeys(CLASSES, value), metric="class_attack_steps", evaluation="steps", seed=seed)
        for seed, value in enumerate((200, 300))
    ]
    entries = [one for of_seed in steps for one in of_seed]
    (series,) = class_series(tidy(entries), [AT], "demo", "steps", "class_attack_steps")
    np.testing.assert_allclose(series.mean, 250)
    np.testing.assert_allclose(series.high, 250 + 100 / 2**0.5)


def test_bars_over_seeds_are_means_and_their_lines_sample_standard_deviations():
    table = tidy([*scores(values=(0.4, 0.3, 0.3)), *scores(values=(0.6, 0.3, 0.1), seed=1)])
    figure = class_cfps(table, [AT], "demo")
    (axes,) = figure.axes
    np.testing.assert_allclose(heights(axes), [[50, 30, 20]])
    spread = 100 * 0.2 / 2**0.5
    np.testing.assert_allclose(intervals(axes)[0], [[50 - spread, 50 + spread], [30, 30], [20 - spread, 20 + spread]])
    assert "± std over 2 seeds" in legend(figure)


def test_lines_on_bars_do_not_leave_the_possible():
    table = tidy([*accuracies(values=(1, 1, 0)), *accuracies(values=(0.6, 1, 0.5), seed=1)])
    ends = np.array(intervals(class_accuracy(table, [AT], "demo").axes[0])[0])
    assert ends.min() >= 0
    assert ends.max() <= 100


def test_the_legend_says_where_rows_have_different_numbers_of_seeds():
    table = tidy([*scores(), *scores(seed=1), *scores("fair_tat")])
    assert "± std over seeds, or of one seed the 95 % bootstrap interval" in legend(
        class_cfps(table, [AT, OURS], "demo")
    )


def test_a_row_has_one_color_in_all_figures_even_where_others_are_missing():
    table = tidy([*scores("fair_tat"), *accuracies(), *accuracies("fair_tat")])
    rows = [AT, OURS]
    alone = class_cfps(table, rows, "demo").axes[0].containers[0]
    second = class_accuracy(table, rows, "demo").axes[0].containers[1]
    assert [to_hex(group[0].get_facecolor()).upper() for group in (alone, second)] == [PALETTE[1]] * 2


def test_rows_beyond_the_palette_are_hatched():
    rows = [Row(f"m{number}", "last", f"method {number}") for number in range(8)]
    (axes,) = class_cfps(tidy([one for row in rows for one in scores(row.method)]), rows, "demo").axes
    looks = {(to_hex(group[0].get_facecolor()), group[0].get_hatch()) for group in axes.containers}
    assert len(looks) == 8


def test_a_class_without_a_value_has_no_bar_and_the_others_stay_in_place():
    table = tidy([*accuracies(), *accuracies("fair_tat", (0.6, float("nan"), 0.4))])
    (above, _) = drawn(class_accuracy(table, [AT, OURS], "demo")).axes
    np.testing.assert_equal(heights(above)[1], [60, float("nan"), 40])
    centers = [bar.get_x() + bar.get_width() / 2 for bar in above.containers[1]]
    np.testing.assert_allclose(np.diff(centers), 1)


def test_many_classes_are_sorted_curves_method_by_method():
    classes = many(30)
    values = np.random.default_rng(0).dirichlet(np.ones(30), size=2)
    table = tidy([*scores(values=values[0], classes=classes), *scores("fair_tat", values[1], classes=classes)])
    figure = drawn(class_cfps(table, [AT, OURS], "demo"))
    (axes,) = figure.axes
    for line, row in zip(axes.lines, values, strict=False):
        np.testing.assert_allclose(ordinates(line), 100 * np.sort(row)[::-1])
    assert axes.get_xlabel() == "Rank of the class, each curve sorted on its own (highest first)"
    assert legend(figure) == ["AT", "FAIR-TAT", "uniform"]


def test_curves_of_accuracies_rise_and_tell_their_seeds():
    classes = many(21)
    values = np.random.default_rng(0).uniform(size=21)
    table = tidy([*accuracies(values=values, classes=classes), *accuracies(values=values, classes=classes, seed=1)])
    above, below = class_accuracy(table, [AT], "demo").axes
    np.testing.assert_allclose(ordinates(above.lines[0]), 100 * np.sort(values))
    assert below.get_xlabel() == "Rank of the class, each curve sorted on its own (lowest first; means over 2 seeds)"


def test_figure_4_has_a_panel_per_method_and_a_line_per_class():
    figure = drawn(class_epsilon(history(methods=("at", "trades")), {"at": "AT", "trades": "TRADES"}, 8 / 255))
    assert [axes.get_title() for axes in figure.axes] == ["AT", "TRADES"]
    for axes in figure.axes:
        cat, dog, base = axes.lines
        np.testing.assert_allclose(ordinates(cat), [8, 6, 5])
        np.testing.assert_allclose(ordinates(dog), [8, 9, 10])
        np.testing.assert_allclose(ordinates(base), [8, 8])
        np.testing.assert_array_equal(cat.get_xdata(), [0, 1, 2])
    assert legend(figure) == ["cat", "dog", "base ε = 8/255"]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("Epoch", "Class-wise ε (1/255)")


def test_classes_of_figure_4_all_look_different():
    classes = many(20)
    (axes,) = class_epsilon(history([range(1, 21)] * 2, classes), {"at": "AT"}, 8 / 255).axes
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines[:20]}) == 20


def test_of_many_classes_figure_4_names_the_smallest_and_the_largest_radius():
    figure = drawn(class_epsilon(history([range(1, 31)] * 2, many(30)), {"at": "AT"}, 8 / 255))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["class 0", "class 29"]
    assert len(axes.lines) == 31
    assert legend(figure) == ["smallest ε at the end", "largest ε at the end", "base ε = 8/255"]


def test_a_single_epoch_is_visible():
    (axes,) = drawn(class_epsilon(history([(6, 9)]), {"at": "AT"}, 8 / 255)).axes
    assert axes.lines[0].get_marker() == "o"


def test_empty_places_of_figure_4_have_no_panel():
    methods = ("a", "b", "c", "d", "e")
    figure = drawn(class_epsilon(history(methods=methods), dict(zip(methods, methods, strict=True)), 8 / 255))
    assert [axes.get_title() for axes in figure.axes] == list(methods)


@pytest.mark.parametrize(
    "classes",
    [
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "sailing ship", "articulated lorry"),
        ("tench", "English springer", "cassette player", "chain saw", "church", "French horn", "truck", "gas pump"),
        NASTY,
        tuple("0123456789"),
        tuple(f"a name of many words {number}" for number in range(20)),
    ],
)
def test_class_names_do_not_overlap_one_another_nor_the_legend_the_bars(classes):
    figure = drawn(class_cfps(tidy(scores(values=[0.1] * len(classes), classes=classes)), [AT, OURS], "demo"))
    (axes,) = figure.axes
    labels = axes.get_xticklabels()
    if labels[0].get_rotation() == 0:
        boxes = [label.get_window_extent() for label in labels]
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    else:
        assert 72 * axes.bbox.width / figure.dpi / len(classes) > 7.5  # lines of slanted text do not touch
    assert not figure.legends[0].get_window_extent().overlaps(axes.get_window_extent())
    outside = [label for label in labels if not figure.bbox.fully_containsx(label.get_window_extent().x0)]
    assert not outside


def test_class_names_are_shown_as_given_and_long_ones_cut():
    long = "x" * 40
    figure = class_cfps(tidy(scores(values=[0.5, 0.5, 0], classes=("$5_$", "_b", long))), [AT], "demo")
    drawn(figure)
    assert ticks(figure.axes[0]) == ["$5_$", "_b", "x" * 23 + "…"]
    legend_of_radii = legend(class_epsilon(history(classes=("_cat", long)), {"at": "AT"}, 8 / 255))
    assert legend_of_radii == ["_cat", "x" * 23 + "…", "base ε = 8/255"]


def test_the_users_own_matplotlib_settings_change_nothing():
    table = tidy(scores())
    expected = class_cfps(table, [AT], "demo").axes[0].yaxis.label.get_fontsize()
    with mpl.rc_context({"axes.labelsize": 30}):
        assert class_cfps(table, [AT], "demo").axes[0].yaxis.label.get_fontsize() == expected


def test_the_same_numbers_give_the_same_bytes_at_any_time(tmp_path, monkeypatch):
    table = tidy(scores())
    for place, epoch in (("first", "0"), ("second", "1000000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        for suffix in ("pdf", "png"):
            save_figure(class_cfps(table, [AT], "demo"), tmp_path / place / f"figure.{suffix}")
    for suffix in ("pdf", "png"):
        first, second = ((tmp_path / place / f"figure.{suffix}").read_bytes() for place in ("first", "second"))
        assert first == second
        assert b"CreationDate" not in first
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == ["figure.pdf", "figure.png"]


def test_nothing_to_draw_says_what_to_do():
    message = r"There is nothing to draw: demo has no cfps under pgd20 for any of the rows asked for \(AT, TRADES\)"
    with pytest.raises(UserError, match=message):
        class_cfps(tidy(scores()), [AT, TRADES], "demo", evaluation="pgd20")
    with pytest.raises(UserError, match=r"asked for \(no rows\)\. Evaluate the runs first"):
        class_accuracy(tidy(scores()), [], "demo")
    with pytest.raises(UserError, match=r"the history has no radii of trades; it has those of: at\. Train it first"):
        class_epsilon(history(), {"trades": "TRADES"}, 8 / 255)


IN_NO_FONT = "\N{CJK UNIFIED IDEOGRAPH-732B}\N{CJK UNIFIED IDEOGRAPH-72D7}"


@pytest.fixture
def only_matplotlibs_fonts(monkeypatch):
    ours = [font for font in figures.fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(figures.fontManager, "ttflist", ours)
    for cached in (figures._family_of, figures._warn):
        cached.cache_clear()
    yield
    for cached in (figures._family_of, figures._warn):
        cached.cache_clear()


@pytest.mark.usefixtures("only_matplotlibs_fonts")
def test_characters_of_no_font_are_numbers_that_tell_names_apart_and_one_warning_says_so(tmp_path):
    said: list[str] = []

    class Ear(Listener):
        def say(self, text: str) -> None:
            said.append(text)

    cat, dog = IN_NO_FONT
    figure = Figure()
    with told_to(Ear()):
        for _ in range(2):
            figure = class_accuracy(tidy(accuracies(values=(0.5, 0.6), classes=(cat, dog))), [AT], "demo")
            save_figure(figure, tmp_path / "figure.png")
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["[732B]", "[72D7]"]
    (warning,) = said
    assert warning.startswith(
        f"No installed font has the characters {dog} {cat}: figures show their numbers in Unicode"
    )


@pytest.mark.usefixtures("only_matplotlibs_fonts")
def test_a_character_that_another_installed_font_has_is_drawn_with_it(tmp_path):
    """Of matplotlib's own fonts, STIX has this arrow and DejaVu Sans does not."""
    character = next(chr(code) for code in range(0x2900, 0x2BFF) if figures._family_of(chr(code)).startswith("STIX"))
    figure = class_accuracy(tidy(accuracies(values=(0.5, 0.6), classes=(f"a{character}", "b"))), [AT], "demo")
    save_figure(figure, tmp_path / "figure.png")
    assert figure.axes[-1].get_xticklabels()[0].get_text() == f"a{character}"
