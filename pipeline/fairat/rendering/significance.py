"""The table of FAIR-TAT rows against their bases: differences with confidence intervals."""

from collections.abc import Iterator, Mapping, Sequence

from fairat.methods.method import Method, bases
from fairat.rendering.content import evaluation_heading
from fairat.rendering.grid import Cell, Column, Grid, Line
from fairat.rendering.rows import WEIGHTS_ORDER, row
from fairat.results.significance import BOOTSTRAP, Comparison

_HEADINGS = ("Base", "FAIR-TAT", "Difference", "from", "to")
_METRICS = {"worst_class_accuracy": "worst-class", "overall_accuracy": "overall"}
_Key = tuple[str, str, str]


def significance_grid(
    name: str,
    title: str,
    methods: Mapping[str, Method],
    comparisons: Sequence[Comparison],
    evaluations: Sequence[str],
    metric: str = "worst_class_accuracy",
) -> Grid:
    """A line per FAIR-TAT row and weight set, five columns per evaluation; the difference is bold where it is not zero.

    Args:
        name: of the grid.
        title: heading of the suite.
        methods: those of the suite, in the order of rows.
        comparisons: of the suite; at least one.
        evaluations: names of the tidy table, in the order of columns; those without a comparison are left out.
        metric: which differences are shown.
    """
    found = {(one.method, one.block.weights, one.block.evaluation): one for one in comparisons if one.metric == metric}
    shown = [evaluation for evaluation in evaluations if any(key[2] == evaluation for key in found)]
    pairs = dict.fromkeys((one.method, one.base, one.block.weights) for one in comparisons)
    order = list(methods)
    lines = [
        Line(
            f"{row(method, methods[method], weights).label} vs. {row(base, methods[base], weights).label}",
            tuple(cell for evaluation in shown for cell in _cells(found.get((method, weights, evaluation)))),
        )
        for method, base, weights in sorted(
            pairs, key=lambda pair: (order.index(pair[0]), WEIGHTS_ORDER.index(pair[2]))
        )
    ]
    return Grid(
        name=name,
        caption=f"Difference in {_METRICS[metric]} accuracy (%) between FAIR-TAT and its base, with 95% intervals.",
        stub="Row and base",
        columns=tuple(Column((title, evaluation_heading(one), heading)) for one in shown for heading in _HEADINGS),
        lines=tuple(lines),
        notes=tuple(_notes(methods, [found[key] for key in found if key[2] in shown])),
        footnotes=(("a", "not evaluated"),) if any(cell.footnote for line in lines for cell in line.cells) else (),
    )


def _cells(one: Comparison | None) -> Iterator[Cell]:
    if one is None:
        yield from (Cell(footnote="a") for _ in _HEADINGS)
        return
    found = one.difference
    yield from (Cell(found.base), Cell(found.ours), Cell(found.value, mark="best" if found.significant else ""))
    yield from (Cell(found.low), Cell(found.high))


def _notes(methods: Mapping[str, Method], shown: Sequence[Comparison]) -> Iterator[str]:
    yield (
        f"Bold: the {BOOTSTRAP.level:.0%} interval (from, to) leaves out zero. Each interval stands for itself: of twenty "
        "rows that do not differ, one is bold by chance."
    )
    yield (
        "Paired bootstrap over test images, drawn within classes and the same for both rows; the worst class is chosen "
        "anew in every replicate."
    )
    seeds = sorted({one.seeds for one in shown})
    if seeds == [1]:
        yield "One seed: the intervals say what other test images could change, not what another training could."
    else:
        yield f"Means over {' or '.join(map(str, seeds))} seeds, drawn as well; where there is one, it is kept."
    images = {evaluation_heading(one.block.evaluation): one.images for one in shown}
    if len(set(images.values())) > 1:
        yield f"Test images: {', '.join(f'{heading} {number:,}' for heading, number in images.items())}."
    if without := [methods[name].label for name, base in bases(methods).items() if base is None]:
        yield f"Without a base (an untargeted method of the same objective and kind of margin): {', '.join(without)}."
