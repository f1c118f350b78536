"""The layouts of the paper's tables: which cell holds which number.

Markdown, LaTeX and the terminal render the same `Grid`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from fairat.rendering.content import Content, Row, evaluation_heading
from fairat.rendering.filling import Layout, Slot, with_values
from fairat.rendering.grid import Gap, Grid

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


def table1(content: Content) -> Grid:
    """Clean and PGD accuracy, overall and of the worst class, for every row and suite (FAIR-TAT Table 1)."""
    attack = evaluation_heading(content.pgd)
    caption = f"Accuracy (%) without attack and under {attack}, overall and of the worst class."
    return _by_evaluation("table1", caption, content, ("clean", content.pgd))


def table2(content: Content) -> Grid:
    """Accuracy under AutoAttack and under Square alone, overall and of the worst class (FAIR-TAT Table 2)."""
    caption = "Accuracy (%) under AutoAttack and under Square alone, overall and of the worst class."
    return _by_evaluation("table2", caption, content, ("autoattack", "square"))


def table3(content: Content) -> Grid:
    """Accuracy of the worst class under each corruption, one column per row of `content` (FAIR-TAT Table 3)."""
    caption = "Accuracy (%) of the worst class under common corruptions, over all severities."
    return _by_corruption("table3", caption, content, "worst_class_accuracy")


def table9(content: Content) -> Grid:
    """Overall accuracy under each corruption, one column per row of `content` (FAIR-TAT Table 9)."""
    caption = "Overall accuracy (%) under common corruptions, over all severities."
    return _by_corruption("table9", caption, content, "overall_accuracy")


def classes_clean(content: Content) -> Grid:
    """Accuracy of each class without attack, one column per row of `content`: the upper panel of Figure 3 in numbers."""
    return _by_class("classes_clean", "Accuracy (%) of each class without attack.", content, "clean")


def classes_pgd(content: Content) -> Grid:
    """Accuracy of each class under PGD, one column per row of `content`: the lower panel of Figure 3 in numbers."""
    caption = f"Accuracy (%) of each class under {evaluation_heading(content.pgd)}."
    return _by_class("classes_pgd", caption, content, content.pgd)


LAYOUTS: dict[str, Callable[[Content], Grid]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "table9": table9,
    "classes_clean": classes_clean,
    "classes_pgd": classes_pgd,
}


def _by_evaluation(name: str, caption: str, content: Content, evaluations: Sequence[str]) -> Grid:
    columns = [
        Slot(
            (heading, evaluation_heading(evaluation), metric_heading),
            {"suite": suite, "evaluation": evaluation, "metric": metric, "corruption": "", "class_name": ""},
        )
        for suite, heading in content.suites.items()
        for evaluation in evaluations
        for metric, metric_heading in METRICS.items()
    ]
    lines = row_slots(content.rows)
    kept = with_values(content, columns, lines)
    absent = [" ".join(column.headings[:2]) for column in columns if column not in kept]
    return Layout(name, caption, "Method", content, kept, lines, absent).grid()


def _by_corruption(name: str, caption: str, content: Content, metric: str) -> Grid:
    shared = {"evaluation": "corruption", "metric": metric, "class_name": ""}
    lines = [Slot((label,), {**shared, "corruption": corruption}) for corruption, label in CORRUPTIONS.items()]
    return _rows_side_by_side(name, caption, "Corruption", content, lines)


def _by_class(name: str, caption: str, content: Content, evaluation: str) -> Grid:
    shared = {"evaluation": evaluation, "corruption": "", "metric": "class_accuracy"}
    names = dict.fromkeys(class_name for suite in content.suites for class_name in content.classes(suite))
    lines = [Slot((class_name,), {**shared, "class_name": class_name}) for class_name in names]
    return _rows_side_by_side(name, caption, "Class", content, lines)


def _rows_side_by_side(name: str, caption: str, stub: str, content: Content, lines: Sequence[Slot]) -> Grid:
    """A column per row of `content` and suite."""
    columns = [
        replace(slot, headings=(heading, row.short or row.label), address={"suite": suite, **slot.address})
        for suite, heading in content.suites.items()
        for row, slot in zip(content.rows, row_slots(content.rows), strict=True)
    ]
    kept = with_values(content, lines, columns)
    absent = [line.headings[0] for line in lines if line not in kept]
    return Layout(name, caption, stub, content, columns, kept, absent).grid()


def row_slots(rows: Sequence[Row]) -> list[Slot]:
    """A slot per row. A rule separates groups; space separates the weight sets where a group compares ours with others."""
    compares = {group: len({row.ours for row in rows if row.group == group}) == 2 for group in {r.group for r in rows}}
    slots: list[Slot] = []
    for previous, row in zip([None, *rows], rows, strict=False):
        gap: Gap = ""
        if previous and previous.group != row.group:
            gap = "rule"
        elif previous and previous.weights != row.weights and compares[row.group]:
            gap = "space"
        slots.append(Slot((row.label,), {"method": row.method, "weights": row.weights}, row.ours, gap))
    return slots
