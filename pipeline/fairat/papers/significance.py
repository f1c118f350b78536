"""The table of FAIR-TAT rows against their bases: differences with confidence intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairat.methods.method import Method, bases
from fairat.papers.rows import WEIGHTS_ORDER, row
from fairat.rendering.filling import Content, fill
from fairat.rendering.table import Address, Row, Slot, Table, evaluation_heading
from fairat.rendering.tables import row_lines
from fairat.results.significance import BOOTSTRAP, Comparison, comparison_table

_HEADINGS = {"base_value": "Base", "value": "FAIR-TAT", "difference": "Difference", "low": "from", "high": "to"}
_METRICS = {"worst_class_accuracy": "worst-class", "overall_accuracy": "overall"}


def significance_table(
    name: str,
    title: str,
    methods: Mapping[str, Method],
    comparisons: Sequence[Comparison],
    evaluations: Sequence[str],
    metric: str = "worst_class_accuracy",
    said: Mapping[str, Any] | None = None,
) -> Table:
    """A line per FAIR-TAT row and weight set, five columns per evaluation; the difference is bold where it is not zero.

    Args:
        name: of the table.
        title: heading of the suite.
        methods: those of the suite, in the order of rows.
        comparisons: of the suite; at least one.
        evaluations: names of the tidy table, in the order of columns; those without a comparison are left out.
        metric: which differences are shown.
        said: of the experiment, from `fairat.papers.setting.about`.
    """

    def label(method: str, weights: str) -> str:
        return row(method, methods[method], weights).label

    suite, order = comparisons[0].suite, list(methods)
    pairs = {(one.method, one.base, one.block.weights) for one in comparisons}
    rows = [
        Row(method, weights, f"{label(method, weights)} vs. {label(base, weights)}")
        for method, base, weights in sorted(pairs, key=lambda one: (order.index(one[0]), WEIGHTS_ORDER.index(one[2])))
    ]
    of_metric = [one for one in comparisons if one.metric == metric and one.block.evaluation in evaluations]
    columns = [
        Slot((title, evaluation_heading(under), heading), {"suite": suite, "evaluation": under, "metric": number})
        for under in evaluations
        for number, heading in _HEADINGS.items()
    ]
    keys = [column for column in Address._fields if column not in ("metric", "class_name")]
    numbers = comparison_table(of_metric).melt(keys, list(_HEADINGS), "metric", "number")
    tidy = numbers.rename(columns={"number": "value"}).assign(seed=0, images=0, class_name="")
    significant = [one for one in of_metric if one.difference.significant]
    caption = f"Difference in {_METRICS[metric]} accuracy (%) between FAIR-TAT and its base, with 95% intervals."
    content = Content(
        tidy, rows, {suite: title}, **{key: value for key, value in (said or {}).items() if key != "notes"}
    )
    return fill(
        Table(name, caption, ("Row and base",), columns, row_lines(rows)),
        content,
        omit="columns",
        marks={Address(suite, one.method, *one.block[:2], "difference"): "bold" for one in significant},
        counts=False,
        closing=[*content.experiment([one.block.evaluation for one in of_metric]), *_notes(methods, of_metric)],
    )


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
