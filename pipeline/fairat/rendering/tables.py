"""The tables of a suite, and the columns and lines that other tables share with them."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from fairat.rendering.filling import Content, fill
from fairat.rendering.table import Gap, Row, Slot, Table, evaluation_heading

METRICS = {"overall_accuracy": "Overall", "worst_class_accuracy": "Worst Class"}
_CORRUPTIONS = (
    "gaussian_noise shot_noise speckle_noise impulse_noise defocus_blur gaussian_blur motion_blur zoom_blur snow fog "
    "brightness contrast elastic_transform pixelate jpeg_compression spatter saturate frost"
)
CORRUPTIONS = {name: name.replace("_", " ").capitalize().replace("Jpeg", "JPEG") for name in _CORRUPTIONS.split()}
"""The 18 corruptions of FAIR-TAT Table 3, in its order: those of CIFAR-10-C without glass blur."""


def row_lines(rows: Sequence[Row]) -> list[Slot]:
    """A line per row. A rule separates groups; space separates the weight sets where a group compares ours with others."""
    compares = {group: len({row.ours for row in rows if row.group == group}) == 2 for group in {r.group for r in rows}}
    lines: list[Slot] = []
    for previous, row in zip([None, *rows], rows, strict=False):
        gap: Gap = ""
        if previous and previous.group != row.group:
            gap = "rule"
        elif previous and previous.weights != row.weights and compares[row.group]:
            gap = "space"
        lines.append(Slot(row.stubs or (row.label,), {"method": row.method, "weights": row.weights}, row.ours, gap))
    return lines


def row_columns(content: Content) -> list[Slot]:
    """A column per suite and row."""
    return [
        Slot(
            (heading, row.short or row.label),
            {"suite": suite, "method": row.method, "weights": row.weights},
            row.ours,
        )
        for suite, heading in content.suites.items()
        for row in content.rows
    ]


def accuracy_column(suite: str, heading: str, evaluation: str, metric: str) -> Slot:
    """An accuracy of a suite under one evaluation."""
    headings = (heading, evaluation_heading(evaluation), METRICS[metric])
    return Slot(headings, {"suite": suite, "evaluation": evaluation, "metric": metric})


def corruption_lines(metric: str, corruptions: Iterable[str] = CORRUPTIONS) -> list[Slot]:
    """A line per corruption."""
    shared = {"evaluation": "corruption", "metric": metric}
    return [Slot((CORRUPTIONS[name],), {**shared, "corruption": name}) for name in corruptions]


def _by_evaluation(name: str, evaluations: Sequence[str], content: Content) -> Table:
    columns = [
        accuracy_column(suite, heading, evaluation.format(pgd=content.pgd), metric)
        for suite, heading in content.suites.items()
        for evaluation in evaluations
        for metric in METRICS
    ]
    return fill(
        Table(name, _caption(name, content), ("Method",), columns, row_lines(content.rows)), content, omit="columns"
    )


def _by_corruption(name: str, metric: str, content: Content) -> Table:
    table = Table(name, _caption(name, content), ("Corruption",), row_columns(content), corruption_lines(metric))
    return fill(table, content, omit="lines", rule="line")


def _by_class(name: str, evaluation: str, content: Content) -> Table:
    shared = {"evaluation": evaluation.format(pgd=content.pgd), "metric": "class_accuracy"}
    names = dict.fromkeys(one for suite in content.suites for one in content.classes(suite))
    lines = [Slot((one,), {**shared, "class_name": one}) for one in names]
    table = Table(name, _caption(name, content), ("Class",), row_columns(content), lines)
    return fill(table, content, omit="lines", rule="line")


def _caption(name: str, content: Content) -> str:
    return _CAPTIONS[name].format(pgd=evaluation_heading(content.pgd))


_CAPTIONS = {
    "table1": "Accuracy (%) without attack and under {pgd}, overall and of the worst class.",
    "table2": "Accuracy (%) under AutoAttack and under Square alone, overall and of the worst class.",
    "table3": "Accuracy (%) of the worst class under common corruptions, over all severities.",
    "table9": "Overall accuracy (%) under common corruptions, over all severities.",
    "classes_clean": "Accuracy (%) of each class without attack.",
    "classes_pgd": "Accuracy (%) of each class under {pgd}.",
}
LAYOUTS: dict[str, Callable[[Content], Table]] = {
    "table1": partial(_by_evaluation, "table1", ("clean", "{pgd}")),
    "table2": partial(_by_evaluation, "table2", ("autoattack", "square")),
    "table3": partial(_by_corruption, "table3", "worst_class_accuracy"),
    "table9": partial(_by_corruption, "table9", "overall_accuracy"),
    "classes_clean": partial(_by_class, "classes_clean", "clean"),
    "classes_pgd": partial(_by_class, "classes_pgd", "{pgd}"),
}
"""By the name of the file: tables numbered as the FAIR-TAT tables whose columns they have, and those of the classes."""
