"""The figures of the papers: scores, accuracies, errors, attack steps and radii, class by class.

Each function gives a figure to look at or to save; nothing here keeps state between figures.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from fairat.errors import Hint, UserError
from fairat.files import whole_file
from fairat.progress import say
from fairat.rendering.series import Series, class_series, defined_series, errors
from fairat.rendering.table import Row, evaluation_heading
from fairat.results import metrics

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
"""Okabe and Ito's colors, which people of every color vision tell apart, in an order that also differs in lightness."""

_Handle = Line2D | Patch
_Place = Literal["outside upper center", "outside right center"]
_CLASS_PALETTE = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#000000",
)
_FONT = "DejaVu Sans"  # ships with matplotlib
_HATCHES = ("", "////", "....")
_DASHES = ("-", "--", ":")
_TICKS = 7.5  # points
_WIDTH = 7.0  # inches: the text width of a two-column page
_LEGEND_CHARACTERS = 125  # in one line
_REMARK_CHARACTERS = 112
_NAME_CHARACTERS = 24  # of a class; the rest is cut off
_MOST_BARS = 20  # classes; of more, sorted curves are shown
_STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": _TICKS,
    "ytick.labelsize": _TICKS,
    "legend.fontsize": _TICKS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,  # journals refuse Type 3 fonts
    "text.parse_math": False,  # a dollar sign in a class name is a dollar sign
}


def class_cfps(table: pd.DataFrame, rows: Sequence[Row], suite: str, *, evaluation: str = "pgd10") -> Figure:
    """Class false positive scores of the given rows (FAIR-TAT Figure 1): the share of all errors that lands in each class.

    Without attack on the left, under `evaluation` on the right: the paper does not say which its figure shows. Without a
    single clean error there is no panel on the left. Bars with their intervals, class by class; of more than 20 classes
    curves, each row sorted on its own, without intervals. The dashed line is the uniform distribution.

    Args:
        table: the tidy table (`fairat.results.aggregation.COLUMNS`).
        evaluation: the attack of the right panel.

    Raises:
        UserError: no row has a value under the attack.
    """
    panels = [
        _Panel(f"{evaluation_heading(name)} CFPS (%)", find(table, rows, suite, name, "cfps"), descending=True)
        for name, find in (("clean", defined_series), (evaluation, class_series))
    ]
    with _style(_names(panels)):
        figure, all_axes = _arranged([panel for panel in panels if panel.series], beside=True, height=2.4)
        uniform = [_draw_uniform(axes, panels[-1].series[0].classes) for axes in all_axes]
        _legend(figure, panels, ("uniform", uniform[0]))
    return figure


def class_accuracy(table: pd.DataFrame, rows: Sequence[Row], suite: str, *, robust: str = "pgd10") -> Figure:
    """Class-wise accuracy of the given rows, without attack above, under `robust` below.

    Drawn as `clean_class_accuracy`, whose panel is the upper one.

    Args:
        table: the tidy table (`fairat.results.aggregation.COLUMNS`).
        robust: the evaluation of the lower panel.

    Raises:
        UserError: no row has a value in one of the panels.
    """
    return _accuracies(table, rows, suite, ("clean", robust))


def clean_class_accuracy(table: pd.DataFrame, rows: Sequence[Row], suite: str) -> Figure:
    """Class-wise accuracy of the given rows without attack (FAIR-TAT Figure 3).

    A dotted line at the overall accuracy of each row divides its easy classes from its hard ones. Bars with their
    intervals, class by class; of more than 20 classes curves, each row sorted on its own, without intervals.

    Args:
        table: the tidy table (`fairat.results.aggregation.COLUMNS`).

    Raises:
        UserError: no row has a value.
    """
    return _accuracies(table, rows, suite, ("clean",))


def class_errors(table: pd.DataFrame, rows: Sequence[Row], suite: str, *, robust: str = "pgd20") -> Figure:
    """Class-wise errors of the given rows (BAT Figure 4): without attack above, under `robust` below.

    An error is what the class accuracy misses to 100 %. Bars and curves as of accuracies.

    Args:
        table: the tidy table (`fairat.results.aggregation.COLUMNS`).
        robust: the evaluation of the lower panel.

    Raises:
        UserError: no row has a value in one of the panels.
    """
    panels = [
        _Panel(
            f"{evaluation_heading(name)} error (%)",
            [errors(one) for one in class_series(table, rows, suite, name, "class_accuracy")],
            descending=True,
        )
        for name in ("clean", robust)
    ]
    with _style(_names(panels)):
        figure, _ = _arranged(panels)
        _legend(figure, panels)
    return figure


def source_and_target(
    table: pd.DataFrame, row: Row, suite: str, *, robust: str = "pgd20", targets: str = "pgd10"
) -> Figure:
    """One network, class by class: accuracy, how hard a class is to attack, how often it is the wrong answer (BAT Figure 2).

    (a) Class accuracy, without attack and under `robust`, side by side. (b) The mean number of steps that break an
    image of the class, where an image that none breaks counts with all; and the share of all wrong predictions under
    `targets` that name the class, which is the class false positive score, with its total variation distance to the
    uniform distribution. Bars with their intervals.

    Args:
        table: the tidy table (`fairat.results.aggregation.COLUMNS`), with the evaluation `steps`.
        robust: the attack of (a).
        targets: the attack whose wrong predictions are counted.

    Raises:
        UserError: the row has no value in one of the panels.
    """
    accuracies = [
        replace(one, label=f"{evaluation_heading(name)} accuracy", number=number)
        for number, name in enumerate(("clean", robust))
        for one in class_series(table, [row], suite, name, "class_accuracy")
    ]
    (steps,) = class_series(table, [row], suite, "steps", "class_attack_steps")
    (shares,) = class_series(table, [row], suite, targets, "cfps")
    (unbroken,) = class_series(table, [row], suite, "steps", "overall_accuracy")
    distance = float(metrics.total_variation_to_uniform(shares.mean / 100))
    titles = (
        f"(a) {row.label}: class accuracy",
        f"(b) Source classes: mean steps to break an image; {unbroken.mean[0]:.1f} % stay unbroken and count with all steps",
        f"(b) Target classes: wrong predictions under {evaluation_heading(targets)}; total variation to uniform {distance:.3f}",
    )
    panels = [
        _Panel("Accuracy (%)", accuracies, descending=True, title=titles[0]),
        _Panel("Attack steps", [replace(steps, number=2)], descending=True, title=titles[1]),
        _Panel("Share (%)", [replace(shares, number=2)], descending=True, title=titles[2]),
    ]
    with _style(_names(panels)):
        figure, all_axes = _arranged(panels)
        uniform = _draw_uniform(all_axes[-1], shares.classes)
        _legend(figure, panels, ("uniform", uniform))
    return figure


def class_epsilon(history: pd.DataFrame, labels: Mapping[str, str], base_epsilon: float) -> Figure:
    """The radius of each class over the epochs (FAIR-TAT Figure 4): a panel per method, a line per class.

    Of more than 20 classes, lines are colored by their last radius, and only the smallest and the largest are named.

    Args:
        history: columns method, epoch, class_name, epsilon; epsilon in units of [0, 1] images; one seed.
        labels: name and title of the methods to show, in order.
        base_epsilon: the radius all classes would have without class-wise margins, in units of [0, 1] images.

    Raises:
        UserError: a method has no history.
    """
    curves = {method: _curves(history, method) for method in labels}
    many = max(frame.shape[1] for frame in curves.values()) > _MOST_BARS
    with _style([*labels.values(), *(name for frame in curves.values() for name in frame.columns)]):
        across = 2 if len(curves) == 4 else min(3, len(curves))
        down = ceil(len(curves) / across)
        figure = Figure(figsize=(_WIDTH if across > 1 else 4.5, 0.6 + 2.1 * down))
        panels = list(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat)
        handles: dict[str, _Handle] = {}
        for axes, (method, frame) in zip(panels, curves.items(), strict=False):
            handles |= (_draw_many_radii if many else _draw_radii)(axes, frame)
            base = axes.axhline(base_epsilon * 255, color="#444444", linewidth=0.7, zorder=1)
            axes.margins(x=0)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set_title(_printable(labels[method]))
            handles |= {f"base ε = {base_epsilon * 255:g}/255": base}
        for number in range(len(curves), len(panels)):
            panels[number].remove()
            panels[number - across].tick_params(labelbottom=True)
        figure.supxlabel("Epoch", fontsize=8)
        figure.supylabel("Class-wise ε (1/255)", fontsize=8)
        entries = ((_shortened(name), handle) for name, handle in handles.items())
        _put_legend(figure, entries, "outside upper center" if many else "outside right center", 3 if many else 1)
    return figure


def put_remark(figure: Figure, text: str) -> None:
    """Puts a remark below everything else."""
    lines = textwrap.wrap(text, _REMARK_CHARACTERS)
    share = len(lines) * 1.6 * _TICKS / 72 / figure.get_figheight()
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # _STYLE asks for it
    engine.set(rect=(0, share, 1, 1 - share))
    figure.text(0.005, share / 4, "\n".join(lines), fontsize=_TICKS, va="bottom", linespacing=1.3)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a `.pdf` or `.png`, whole or not at all, without a date: the same figure, the same bytes."""
    metadata = {".pdf": {"CreationDate": None}, ".png": {"Software": None}}[path.suffix]
    with whole_file(path) as beside, _style():
        figure.savefig(beside, format=path.suffix[1:], dpi=200, metadata=metadata)


@contextmanager
def _style(names: Iterable[str] = ()) -> Iterator[None]:
    """Our style, not the user's own matplotlibrc: same numbers, same figure. `names` may need fonts of their scripts."""
    characters = sorted(set("".join(names)))
    families = list(dict.fromkeys([_FONT, *filter(None, map(_family_of, characters))]))
    if lacking := tuple(character for character in characters if not _family_of(character)):
        _warn(lacking)
    with style.context(["default", _STYLE, {"font.family": families}]):
        yield


@cache
def _family_of(character: str) -> str:
    """The installed font that has a character, our own first; empty where none has."""
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name != _FONT, font.name)):
        if not font.name.startswith("Last Resort") and get_font(font.fname).get_char_index(ord(character)):
            return font.name
    return ""


@cache
def _warn(lacking: tuple[str, ...]) -> None:
    """Once for the same characters."""
    say(
        f"No installed font has the characters {' '.join(lacking)}: figures show their numbers in Unicode instead, such as "
        f"[{ord(lacking[0]):X}]. Install a font that has them, such as Debian's fonts-noto-cjk, and render again."
    )


@dataclass(frozen=True)
class _Panel:
    """One of several panels with the same classes.

    Attributes:
        label: of the vertical axis.
        descending: how curves of many classes are sorted.
        title: above the panel, if any.
    """

    label: str
    series: Sequence[Series]
    descending: bool
    title: str = ""


def _names(panels: Sequence[_Panel]) -> Iterator[str]:
    """The names of rows and classes that panels show."""
    for panel in panels:
        for one in panel.series:
            yield from (one.label, *one.classes)


def _accuracies(table: pd.DataFrame, rows: Sequence[Row], suite: str, evaluations: Sequence[str]) -> Figure:
    """A panel per evaluation, with the dotted lines of the overall accuracies under it."""
    panels = [
        _Panel(
            f"{evaluation_heading(name)} accuracy (%)",
            class_series(table, rows, suite, name, "class_accuracy"),
            descending=False,
        )
        for name in evaluations
    ]
    overall = [class_series(table, rows, suite, name, "overall_accuracy") for name in evaluations]
    with _style(_names(panels)):
        figure, all_axes = _arranged(panels, height=2.2)  # overall accuracies lie close to one another
        for axes, of_rows in zip(all_axes, overall, strict=True):
            for one in of_rows:
                axes.axhline(one.mean[0], color=_color(one), linestyle=":")
        _legend(figure, panels, ("overall (easy above, hard below)", Line2D([], [], color="#444444", linestyle=":")))
    return figure


def _arranged(panels: Sequence[_Panel], *, height: float = 1.6, beside: bool = False) -> tuple[Figure, list[Axes]]:
    """The panels one below the other, or beside one another, over the same classes; `height` of each in inches."""
    down, across = (1, len(panels)) if beside else (len(panels), 1)
    figure = Figure(figsize=(_WIDTH, 1.0 + height * down))
    all_axes = list(figure.subplots(down, across, sharex=True, sharey=beside, squeeze=False).flat)
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw(axes, panel.series, descending=panel.descending, width=_WIDTH / across)
        axes.set_ylabel(panel.label)
        axes.set_title(_printable(panel.title), loc="left")
        if not beside:
            axes.label_outer()
    figure.align_ylabels()
    return figure, all_axes


def _draw_uniform(axes: Axes, classes: Sequence[str]) -> Line2D:
    return axes.axhline(100 / len(classes), color="#444444", linestyle="--", linewidth=0.9)


def _color(series: Series) -> str:
    return PALETTE[series.number % len(PALETTE)]


def _turn(series: Series) -> int:
    """How often the palette was used up before this row."""
    return series.number // len(PALETTE) % len(_HATCHES)


def _draw(axes: Axes, series: Sequence[Series], *, descending: bool, width: float) -> None:
    """Bars, or sorted curves where there are too many classes for bars; `width` of the panel in inches."""
    if len(series[0].classes) > _MOST_BARS:
        _draw_sorted(axes, series, descending=descending)
    else:
        _draw_bars(axes, series, width)
    axes.set_ylim(bottom=0)


def _draw_bars(axes: Axes, series: Sequence[Series], panel_width: float) -> None:
    classes = series[0].classes
    centers, width = np.arange(len(classes)), 0.84 / len(series)
    for position, one in enumerate(series):
        places = centers + (position - (len(series) - 1) / 2) * width
        axes.bar(
            places,
            one.mean,
            width * 0.92,
            color=_color(one),
            hatch=_HATCHES[_turn(one)],
            edgecolor="white",
            linewidth=0,
        )
        # Not errorbar, which refuses an interval that leaves out the value; a bootstrap interval may.
        axes.vlines(places, one.low, one.high, color="#222222", linewidth=0.7)
    wrapped, upright = _tick_labels(classes, 72 * 0.9 * panel_width / len(classes))
    axes.set_xticks(centers, wrapped, rotation=0 if upright else 30, ha="center" if upright else "right")
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(classes) - 0.4)


def _tick_labels(names: Sequence[str], room: float) -> tuple[list[str], bool]:
    """Labels of class ticks, and whether they fit upright: in two lines at most, each within `room` points."""
    shortened = [_shortened(name) for name in names]
    wrapped = [textwrap.wrap(name, max(10, len(name) * 2 // 3), break_long_words=False) for name in shortened]
    lines = [line for label in wrapped for line in label]
    widest = max(TextPath((0, 0), line, size=_TICKS).get_extents().width for line in lines)
    if max(map(len, wrapped)) <= 2 and widest + 3 <= room:
        return ["\n".join(label) for label in wrapped], True
    return shortened, False


def _printable(text: str) -> str:
    """The text with the number in place of each character that no font has: different names stay different."""
    return "".join(character if _family_of(character) else f"[{ord(character):X}]" for character in text)


def _shortened(name: str) -> str:
    name = _printable(name)
    return name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…"


def _draw_sorted(axes: Axes, series: Sequence[Series], *, descending: bool) -> None:
    for one in series:
        order = np.argsort(-one.mean if descending else one.mean, kind="stable")
        axes.plot(np.arange(1, len(order) + 1), one.mean[order], color=_color(one), linestyle=_DASHES[_turn(one)])
    axes.set_xlim(1, len(series[0].classes))
    seeds = max(one.seeds for one in series)
    means = f"; means over {seeds} seeds" if seeds > 1 else ""
    first = "highest" if descending else "lowest"
    axes.set_xlabel(f"Rank of the class, each curve sorted on its own ({first} first{means})")


def _legend(figure: Figure, panels: Sequence[_Panel], *others: tuple[str, _Handle]) -> None:
    """Names the rows of the panel that has the most, the intervals, and what else is given."""
    series = max((panel.series for panel in panels), key=len)
    entries: list[tuple[str, _Handle]]
    if len(series[0].classes) <= _MOST_BARS:
        entries = [
            (one.label, Patch(facecolor=_color(one), hatch=_HATCHES[_turn(one)], edgecolor="white", linewidth=0))
            for one in series
        ]
        entries.append((_interval(series), Line2D([], [], color="#222222", linewidth=0.7)))
    else:
        entries = [(one.label, Line2D([], [], color=_color(one), linestyle=_DASHES[_turn(one)])) for one in series]
    entries += others
    most = max(1, _LEGEND_CHARACTERS // (max(len(label) for label, _ in entries) + 8))
    rows = ceil(len(entries) / most)
    _put_legend(figure, entries, "outside upper center", ceil(len(entries) / rows))


def _interval(series: Sequence[Series]) -> str:
    """What the lines on the bars are."""
    counts = {one.seeds for one in series}
    if counts == {1}:
        return "95 % bootstrap interval"
    if len(counts) == 1:
        return f"± std over {counts.pop()} seeds"
    return "± std over seeds, or of one seed the 95 % bootstrap interval"


def _put_legend(figure: Figure, entries: Iterable[tuple[str, _Handle]], place: _Place, columns: int) -> None:
    labels, handles = zip(*entries, strict=True)
    legend = figure.legend(handles, ["?"] * len(handles), loc=place, ncols=columns)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(_printable(label))  # only now: a legend leaves out labels that start with an underscore


def _curves(history: pd.DataFrame, method: str) -> pd.DataFrame:
    """Radius in units of 1/255, `epoch class`, classes in the order of the history."""
    of_method = history.loc[history["method"] == method]
    if of_method.empty:
        known = ", ".join(dict.fromkeys(history["method"])) or "none"
        raise UserError(
            f"There is nothing to draw: the history has no radii of {method}; it has those of: {known}. Train it first.",
            Hint.MAKE,
        )
    frame = of_method.pivot(index="epoch", columns="class_name", values="epsilon") * 255
    return frame[list(dict.fromkeys(of_method["class_name"]))]


def _draw_radii(axes: Axes, frame: pd.DataFrame) -> dict[str, _Handle]:
    """A line per class, each of its own look; gives what the legend should name."""
    handles: dict[str, _Handle] = {}
    for number, name in enumerate(frame.columns):
        (handles[name],) = axes.plot(
            frame.index.to_numpy(),
            frame[name].to_numpy(),
            color=_CLASS_PALETTE[number % len(_CLASS_PALETTE)],
            linewidth=1.0,
            linestyle=_DASHES[number // len(_CLASS_PALETTE) + number % 2],
            marker="o" if len(frame) == 1 else "",  # a line through one point is invisible
            markersize=3,
        )
    return handles


def _draw_many_radii(axes: Axes, frame: pd.DataFrame) -> dict[str, _Handle]:
    """Lines colored by the rank of their last radius, the first and the last of them named; gives the legend's words."""
    last = frame.iloc[-1].to_numpy(dtype=float)
    ranks = last.argsort(kind="stable").argsort(kind="stable")
    colors = mpl.colormaps["viridis"](0.92 * ranks / (len(ranks) - 1))
    lines = [
        axes.plot(frame.index.to_numpy(), frame[name].to_numpy(), color=color, linewidth=0.5)[0]
        for name, color in zip(frame.columns, colors, strict=True)
    ]
    ends = {"smallest ε at the end": int(ranks.argmin()), "largest ε at the end": int(ranks.argmax())}
    for index in ends.values():
        place, name = (float(frame.index[-1]), last[index]), _shortened(frame.columns[index])
        axes.annotate(name, place, (2, 0), textcoords="offset points", fontsize=6.5, va="center")
    return {text: lines[index] for text, index in ends.items()}
