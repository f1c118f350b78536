"""The figures of the paper: class-wise scores, class-wise accuracy, class-wise radius.

Each function gives a figure to look at or to save; nothing here keeps state between figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from pipeline.errors import UserError
from pipeline.files import whole_file
from pipeline.rendering.tables import Row, evaluation_heading

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
_WIDTH = 7.0  # inches: the text width of a two-column page
_LEGEND_CHARACTERS = 125  # in one line
_MOST_BARS = 20  # classes; of more, sorted curves are shown
_STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
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

    Bars with their intervals, class by class; more than 20 classes as curves, each row sorted on its own. The dashed
    line is the uniform distribution.

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
        _legend(figure, series, {"uniform": uniform})
    return figure


def class_accuracy(table: pd.DataFrame, rows: Sequence[Row], suite: str, *, robust: str = "pgd10") -> Figure:
    """Class-wise accuracy of the given rows (FAIR-TAT Figure 3): without attack above, under `robust` below.

    Bars with their intervals, class by class; more than 20 classes as curves, each row sorted on its own.

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
        _legend(figure, max(panels, key=len), {})
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
    with _style():
        across = 2 if len(curves) == 4 else min(3, len(curves))
        down = ceil(len(curves) / across)
        figure = Figure(figsize=(_WIDTH if across > 1 else 4.5, 0.6 + 2.1 * down))
        panels = list(figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flat)
        handles: dict[str, _Handle] = {}
        for axes, (method, frame) in zip(panels, curves.items(), strict=False):
            handles |= _draw_epsilon(axes, frame, base_epsilon)
            axes.set_title(labels[method])
        for number in range(len(curves), len(panels)):
            panels[number].remove()
            panels[number - across].tick_params(labelbottom=True)
        figure.supxlabel("Epoch", fontsize=8)
        figure.supylabel("Class-wise ε (1/255)", fontsize=8)
        _put_legend(figure, handles, "outside right center", 1)
    return figure


def save_figure(figure: Figure, stem: Path) -> None:
    """Writes `<stem>.pdf` and `<stem>.png`, each whole or not at all, without dates: the same figure, the same bytes."""
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        with whole_file(stem.with_name(f"{stem.name}.{suffix}")) as beside, _style():
            figure.savefig(beside, format=suffix, dpi=200, metadata=metadata)


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
    values = table.loc[wanted & table["value"].notna()]
    found = []
    for number, row in enumerate(rows):
        of_row = values.loc[(values["method"] == row.method) & (values["weights"] == row.weights)]
        if len(of_row):
            found.append(_one_series(of_row, row.label, number))
    if not found:
        names = ", ".join(row.label for row in rows) or "no rows"
        raise UserError(
            f"There is nothing to draw: {suite} has no {metric} under {evaluation} for any of the rows asked for ({names}). "
            "Evaluate the runs first: `dvc repro` makes what is missing."
        )
    return found


def _one_series(values: pd.DataFrame, label: str, number: int) -> _Series:
    classes = tuple(dict.fromkeys(values["class_name"]))
    value, low, high = (
        values.pivot(index="seed", columns="class_name", values=name).loc[:, list(classes)].to_numpy(dtype=float) * 100
        for name in ("value", "low", "high")
    )
    seeds, mean = len(value), np.nanmean(value, axis=0)
    if seeds == 1:
        return _Series(label, number, seeds, classes, mean, low[0], high[0])
    spread = np.nanstd(value, axis=0, ddof=1)
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
    crowded = sum(len(name) + 2 for name in classes) > 95
    axes.set_xticks(centres, classes, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(classes) - 0.4)


def _draw_sorted(axes: Axes, series: Sequence[_Series], *, descending: bool) -> None:
    for one in series:
        order = np.argsort(-one.mean if descending else one.mean, kind="stable")
        ranks = np.arange(1, len(order) + 1)
        axes.plot(ranks, one.mean[order], color=one.colour, linestyle=_DASHES[one.turn])
        axes.fill_between(ranks, one.low[order], one.high[order], color=one.colour, alpha=0.12, linewidth=0)
    axes.set_xlim(1, len(series[0].classes))
    axes.set_xlabel(f"Rank of the class, each row sorted on its own ({'most' if descending else 'least'} first)")


def _legend(figure: Figure, series: Sequence[_Series], others: Mapping[str, Line2D]) -> None:
    bars = len(series[0].classes) <= _MOST_BARS
    handles: dict[str, _Handle] = {}
    for one in series:
        if bars:
            handles[one.label] = Patch(facecolor=one.colour, hatch=_HATCHES[one.turn], edgecolor="white", linewidth=0)
        else:
            handles[one.label] = Line2D([], [], color=one.colour, linestyle=_DASHES[one.turn])
    several = max(one.seeds for one in series) > 1
    interval = "mean ± std over seeds" if several else "bootstrap interval"
    handles[interval] = (
        Line2D([], [], color="#222222", linewidth=0.7) if bars else Patch(facecolor="#888888", alpha=0.25)
    )
    labels = [*handles, *others]
    most = max(1, _LEGEND_CHARACTERS // (max(map(len, labels)) + 8))
    rows = ceil(len(labels) / most)
    _put_legend(figure, {**handles, **others}, "outside upper center", ceil(len(labels) / rows))


def _put_legend(figure: Figure, handles: Mapping[str, _Handle], place: _Place, columns: int) -> None:
    legend = figure.legend(list(handles.values()), ["?"] * len(handles), loc=place, ncols=columns)
    for text, label in zip(legend.get_texts(), handles, strict=True):
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


def _draw_epsilon(axes: Axes, frame: pd.DataFrame, base_epsilon: float) -> dict[str, _Handle]:
    """Draws one panel; gives what the legend should name."""
    many = frame.shape[1] > _MOST_BARS
    last = frame.iloc[-1].to_numpy(dtype=float)
    ranks = last.argsort(kind="stable").argsort(kind="stable")
    handles: dict[str, _Handle] = {}
    for number, name in enumerate(frame.columns):
        colour = mpl.colormaps["viridis"](ranks[number] / len(ranks)) if many else _CLASS_PALETTE[number % 10]
        (handles[name],) = axes.plot(
            frame.index.to_numpy(),
            frame[name].to_numpy(),
            color=colour,
            linewidth=0.5 if many else 1.0,
            linestyle="-" if many else _DASHES[number // 10 + number % 2],
        )
    base = axes.axhline(base_epsilon * 255, color="#444444", linestyle="-", linewidth=0.7, zorder=1)
    axes.margins(x=0)
    if many:
        handles = {}
        for index in (int(last.argmin()), int(last.argmax())):
            place = (float(frame.index[-1]), last[index])
            axes.annotate(
                str(frame.columns[index]), place, (2, 0), textcoords="offset points", fontsize=6.5, va="center"
            )
    return {**handles, f"base ε = {base_epsilon * 255:g}/255": base}
