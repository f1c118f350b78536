"""The tables of a suite, and the columns and lines that other tables share with them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from fairat.rendering.filling import Content, address, fill
from fairat.rendering.table import Gap, Row, Slot, Table, evaluation_heading

METRICS = {"overall_accuracy": "Overall", "worst_class_accuracy": "Worst"}
CORRUPTIONS = {
    "gaussian_noise": "Gaussian noise",
    "shot_noise": "Shot noise",
    "speckle_noise": "Speckle noise",
    "impulse_noise": "Impulse noise",
    "defocus_blur": "Defocus blur",
    "gaussian_blur": "Gaussian blur",
    "motion_blur": "Motion blur",
    "zoom_blur": "Zoom blur",
    "snow": "Snow",
    "fog": "Fog",
    "brightness": "Brightness",
    "contrast": "Contrast",
    "elastic_transform": "Elastic transform",
    "pixelate": "Pixelate",
    "jpeg_compression": "JPEG compression",
    "spatter": "Spatter",
    "saturate": "Saturate",
    "frost": "Frost",
}
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
        lines.append(Slot((row.label,), {"method": row.method, "weights": row.weights}, row.ours, gap))
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


def _by_evaluation(name: str, caption: str, evaluations: Sequence[str], content: Content) -> Table:
    """A line per row; columns without any value are left out."""
    columns = [
        accuracy_column(suite, heading, evaluation.format(pgd=content.pgd), metric)
        for suite, heading in content.suites.items()
        for evaluation in evaluations
        for metric in METRICS
    ]
    lines = row_lines(content.rows)
    shown, absent = _parted(content, columns, lines)
    caption = caption.format(pgd=evaluation_heading(content.pgd))
    return fill(Table(name, caption, "Method", shown, lines), content, absent=absent)


def _by_corruption(name: str, caption: str, metric: str, content: Content) -> Table:
    return _rows_side_by_side(
        Table(name, caption, "Corruption", row_columns(content), corruption_lines(metric)), content
    )


def _by_class(name: str, caption: str, evaluation: str, content: Content) -> Table:
    shared = {"evaluation": evaluation.format(pgd=content.pgd), "metric": "class_accuracy"}
    names = dict.fromkeys(one for suite in content.suites for one in content.classes(suite))
    lines = [Slot((one,), {**shared, "class_name": one}) for one in names]
    caption = caption.format(pgd=evaluation_heading(content.pgd))
    return _rows_side_by_side(Table(name, caption, "Class", row_columns(content), lines), content)


def _rows_side_by_side(table: Table, content: Content) -> Table:
    """A column per row; lines without any value are left out."""
    shown, absent = _parted(content, table.lines, table.columns)
    return fill(replace(table, lines=shown), content, absent=absent)


def _parted(content: Content, slots: Sequence[Slot], across: Sequence[Slot]) -> tuple[list[Slot], list[str]]:
    """The slots that have a value with any of those across, and the headings of the others."""
    shown = [slot for slot in slots if any(address(slot, other) in content.cells for other in across)]
    return shown, [" ".join(slot.headings[:2]) for slot in slots if slot not in shown]


LAYOUTS: dict[str, Callable[[Content], Table]] = {
    name: partial(layout, name, caption, shown)
    for name, layout, caption, shown in (
        (
            "table1",
            _by_evaluation,
            "Accuracy (%) without attack and under {pgd}, overall and of the worst class.",
            ("clean", "{pgd}"),
        ),
        (
            "table2",
            _by_evaluation,
            "Accuracy (%) under AutoAttack and under Square alone, overall and of the worst class.",
            ("autoattack", "square"),
        ),
        (
            "table3",
            _by_corruption,
            "Accuracy (%) of the worst class under common corruptions, over all severities.",
            "worst_class_accuracy",
        ),
        (
            "table9",
            _by_corruption,
            "Overall accuracy (%) under common corruptions, over all severities.",
            "overall_accuracy",
        ),
        ("classes_clean", _by_class, "Accuracy (%) of each class without attack.", "clean"),
        ("classes_pgd", _by_class, "Accuracy (%) of each class under {pgd}.", "{pgd}"),
    )
}
"""By the name of the file: tables numbered as the FAIR-TAT tables whose columns they have, and those of the classes."""
