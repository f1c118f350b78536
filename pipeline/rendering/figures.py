"""The figures of the paper: class-wise scores, class-wise accuracy, class-wise radius.

Each function gives a figure to look at or to save; nothing here keeps state between figures.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator

from pipeline.aggregation import over_seeds
from pipeline.errors import UserError
from pipeline.files import whole_file
from pipeline.rendering.content import Row, evaluation_heading

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")
"""Okabe and Ito's colours, which people of every colour vision tell apart, in an order that also differs in lightness."""

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
_HATCHES = ("", "////", "....")
_DASHES = ("-", "--", ":")
_TICKS = 7.5  # points
_WIDTH = 7.0  # inches: the text width of a two-column page
_LEGEND_CHARACTERS = 125  # in one line
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

    Bars with their intervals, class by class; of more than 20 classes curves, each row sorted on its own, without
    intervals. The dashed line is the uniform distribution.

    Args:
        table: the tidy table (`pipeline.aggregation.COLUMNS`).
        evaluation: under which the errors are counted.

    Raises:
        UserError: no row has a value.
    """
    series = _series(table, rows, suite, evaluation, "cfps")
    with _style():
        figure = Figure(figsize=(_WIDTH, 2.6))
        axes = figure.add_subplot()
        _draw(axes, series, descending=True)
        uniform = axes.axhline(100 / len(series[0].classes), color="#444444", linestyle="--", linewidth=0.9)
        axes.set_ylabel(f"CFPS under {evaluation_heading(evaluation)} (%)")
        _legend(figure, series, ("uniform", uniform))
    return figure


def class_accuracy(table: pd.DataFrame, rows: Sequence[Row], suite: str, *, robust: str = "pgd10") -> Figure:
    """Class-wise accuracy of the given rows (FAIR-TAT Figure 3): without attack above, under `robust` below.

    Bars with their intervals, class by class; of more than 20 classes curves, each row sorted on its own, without
    intervals.

    Args:
        table: the tidy table (`pipeline.aggregation.COLUMNS`).
        robust: the evaluation of the lower panel.

    Raises:
        UserError: no row has a value in one of the panels.
    """
    panels = [_series(table, rows, suite, evaluation, "class_accuracy") for evaluation in ("clean", robust)]
    with _style():
        figure = Figure(figsize=(_WIDTH, 4.2))
        for axes, series, evaluation in zip(figure.subplots(2, sharex=True), panels, ("clean", robust), strict=True):
            _draw(axes, series, descending=False)
            axes.set_ylabel(f"{evaluation_heading(evaluation)} accuracy (%)")
            axes.label_outer()
        figure.align_ylabels()
        _legend(figure, max(panels, key=len))
    return figure


def class_epsilon(history: pd.DataFrame, labels: Mapping[str, str], base_epsilon: float) -> Figure:
    """The radius of each class over the epochs (FAIR-TAT Figure 4): a panel per method, a line per class.

    Of more than 20 classes, lines are coloured by their last radius, and only the smallest and the largest are named.

    Args:
        history: columns method, epoch, class_name, epsilon; epsilon in units of [0, 1] images; one seed.
        labels: name and title of the methods to show, in order.
        base_epsilon: the radius all classes would have without class-wise margins, in units of [0, 1] images.

    Raises:
        UserError: a method has no history.
    """
    curves = {method: _curves(history, method) for method in labels}
    many = max(frame.shape[1] for frame in curves.values()) > _MOST_BARS
    with _style():
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
            axes.set_title(labels[method])
            handles |= {f"base ε = {base_epsilon * 255:g}/255": base}
        for number in range(len(curves), len(panels)):
            panels[number].remove()
            panels[number - across].tick_params(labelbottom=True)
        figure.supxlabel("Epoch", fontsize=8)
        figure.supylabel("Class-wise ε (1/255)", fontsize=8)
        entries = ((_shortened(name), handle) for name, handle in handles.items())
        _put_legend(figure, entries, "outside upper center" if many else "outside right center", 3 if many else 1)
    return figure


def source_and_target(table: pd.DataFrame, rows: Sequence[Row], suite: str, *, targets: str = "pgd20") -> Figure:
    """How hard each class is to attack and how often it is mistaken for others (BAT Figure 2).

    Above, the mean number of steps that break an image of the class; below, the share of all wrong predictions under
    `targets` that land in the class, which is the class false positive score. Bars with their intervals.

    Args:
        table: the tidy table (`pipeline.aggregation.COLUMNS`), with the evaluation `steps`.
        targets: the evaluation of the lower panel.

    Raises:
        UserError: no row has a value in one of the panels.
    """
    steps = [_unscaled(one) for one in _series(table, rows, suite, "steps", "class_attack_steps")]
    shares = _series(table, rows, suite, targets, "cfps")
    with _style():
        figure = Figure(figsize=(_WIDTH, 4.2))
        above, below = figure.subplots(2, sharex=True)
        _draw(above, steps, descending=False)
        above.set_ylabel("Steps to break an image")
        _draw(below, shares, descending=True)
        uniform = below.axhline(100 / len(shares[0].classes), color="#444444", linestyle="--", linewidth=0.9)
        below.set_ylabel(f"Wrong predictions\nas the class, {evaluation_heading(targets)} (%)")
        above.label_outer()
        figure.align_ylabels()
        _legend(figure, max((steps, shares), key=len), ("uniform", uniform))
    return figure


def put_remark(figure: Figure, text: str) -> None:
    """Puts a remark below everything else."""
    lines = textwrap.wrap(text, _LEGEND_CHARACTERS)
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
def _style() -> Iterator[None]:
    with style.context(["default", _STYLE]):  # not the user's own matplotlibrc: same numbers, same figure
        yield


@dataclass(frozen=True)
class _Series:
    """The values of one row, in percent: mean over seeds, and the ends of the interval.

    Attributes:
        number: position among the rows asked for; decides the colour, so that a row looks the same in every panel.
        seeds: the interval is the bootstrap's for one, the mean ± sample standard deviation for several.
    """

    label: str
    number: int
    seeds: int
    classes: tuple[str, ...]
    mean: Float[np.ndarray, " class"]
    low: Float[np.ndarray, " class"]
    high: Float[np.ndarray, " class"]

    @property
    def colour(self) -> str:
        return PALETTE[self.number % len(PALETTE)]

    @property
    def turn(self) -> int:
        """How often the palette was used up before this row."""
        return self.number // len(PALETTE) % len(_HATCHES)


def _series(table: pd.DataFrame, rows: Sequence[Row], suite: str, evaluation: str, metric: str) -> list[_Series]:
    wanted = (table["suite"] == suite) & (table["evaluation"] == evaluation) & (table["metric"] == metric)
    values = table.loc[wanted]
    classes = tuple(dict.fromkeys(values["class_name"]))
    found = []
    for number, row in enumerate(rows):
        of_row = values.loc[(values["method"] == row.method) & (values["weights"] == row.weights)]
        if of_row["value"].notna().any():
            found.append(_one_series(of_row, row.label, number, classes))
    if not found:
        names = ", ".join(row.label for row in rows) or "no rows"
        raise UserError(
            f"There is nothing to draw: {suite} has no {metric} under {evaluation} for any of the rows asked for ({names}). "
            "Evaluate the runs first: `dvc repro` makes what is missing."
        )
    return found


def _unscaled(series: _Series) -> _Series:
    """Numbers that are no fractions, and so not in percent."""
    return replace(series, mean=series.mean / 100, low=series.low / 100, high=series.high / 100)


def _one_series(values: pd.DataFrame, label: str, number: int, classes: tuple[str, ...]) -> _Series:
    numbers = over_seeds(values).set_index("class_name").loc[list(classes)]
    seeds, mean = int(numbers["seeds"].max()), 100 * numbers["mean"].to_numpy()
    if seeds == 1:
        defined = values.loc[values["value"].notna()].set_index("class_name").reindex(list(classes))
        return _Series(label, number, seeds, classes, mean, *(100 * defined[end].to_numpy() for end in ("low", "high")))
    spread = 100 * numbers["std"].to_numpy()
    return _Series(label, number, seeds, classes, mean, (mean - spread).clip(0), (mean + spread).clip(max=100))


def _draw(axes: Axes, series: Sequence[_Series], *, descending: bool) -> None:
    """Bars, or sorted curves where there are too many classes for bars."""
    if len(series[0].classes) > _MOST_BARS:
        _draw_sorted(axes, series, descending=descending)
    else:
        _draw_bars(axes, series)
    axes.set_ylim(bottom=0)


def _draw_bars(axes: Axes, series: Sequence[_Series]) -> None:
    classes = series[0].classes
    centres, width = np.arange(len(classes)), 0.84 / len(series)
    for position, one in enumerate(series):
        places = centres + (position - (len(series) - 1) / 2) * width
        axes.bar(
            places, one.mean, width * 0.92, color=one.colour, hatch=_HATCHES[one.turn], edgecolor="white", linewidth=0
        )
        # Not errorbar, which refuses an interval that leaves out the value; a bootstrap interval may.
        axes.vlines(places, one.low, one.high, color="#222222", linewidth=0.7)
    wrapped, upright = _tick_labels(classes, 72 * 0.9 * _WIDTH / len(classes))
    axes.set_xticks(centres, wrapped, rotation=0 if upright else 30, ha="center" if upright else "right")
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


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…"


def _draw_sorted(axes: Axes, series: Sequence[_Series], *, descending: bool) -> None:
    for one in series:
        order = np.argsort(-one.mean if descending else one.mean, kind="stable")
        axes.plot(np.arange(1, len(order) + 1), one.mean[order], color=one.colour, linestyle=_DASHES[one.turn])
    axes.set_xlim(1, len(series[0].classes))
    seeds = max(one.seeds for one in series)
    means = f"; means over {seeds} seeds" if seeds > 1 else ""
    first = "highest" if descending else "lowest"
    axes.set_xlabel(f"Rank of the class, each method sorted on its own ({first} first{means})")


def _legend(figure: Figure, series: Sequence[_Series], *others: tuple[str, _Handle]) -> None:
    entries: list[tuple[str, _Handle]]
    if len(series[0].classes) <= _MOST_BARS:
        entries = [
            (one.label, Patch(facecolor=one.colour, hatch=_HATCHES[one.turn], edgecolor="white", linewidth=0))
            for one in series
        ]
        entries.append((_interval(series), Line2D([], [], color="#222222", linewidth=0.7)))
    else:
        entries = [(one.label, Line2D([], [], color=one.colour, linestyle=_DASHES[one.turn])) for one in series]
    entries += others
    most = max(1, _LEGEND_CHARACTERS // (max(len(label) for label, _ in entries) + 8))
    rows = ceil(len(entries) / most)
    _put_legend(figure, entries, "outside upper center", ceil(len(entries) / rows))


def _interval(series: Sequence[_Series]) -> str:
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
        text.set_text(label)  # only now: a legend leaves out labels that start with an underscore


def _curves(history: pd.DataFrame, method: str) -> pd.DataFrame:
    """Radius in units of 1/255, `epoch class`, classes in the order of the history."""
    of_method = history.loc[history["method"] == method]
    if of_method.empty:
        known = ", ".join(dict.fromkeys(history["method"])) or "none"
        raise UserError(
            f"There is nothing to draw: the history has no radii of {method}; it has those of: {known}. Train it first: "
            "`dvc repro` makes what is missing."
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
    """Lines coloured by the rank of their last radius, the first and the last of them named; gives the legend's words."""
    last = frame.iloc[-1].to_numpy(dtype=float)
    ranks = last.argsort(kind="stable").argsort(kind="stable")
    colours = mpl.colormaps["viridis"](0.92 * ranks / (len(ranks) - 1))
    lines = [
        axes.plot(frame.index.to_numpy(), frame[name].to_numpy(), color=colour, linewidth=0.5)[0]
        for name, colour in zip(frame.columns, colours, strict=True)
    ]
    ends = {"smallest ε at the end": int(ranks.argmin()), "largest ε at the end": int(ranks.argmax())}
    for index in ends.values():
        place, name = (float(frame.index[-1]), last[index]), _shortened(frame.columns[index])
        axes.annotate(name, place, (2, 0), textcoords="offset points", fontsize=6.5, va="center")
    return {text: lines[index] for text, index in ends.items()}
