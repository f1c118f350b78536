"""The reproduction view as Markdown: a summary per table, and every cell of a table."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from fairat.papers.needs import PAPER_TARGETS, PaperTarget
from fairat.papers.reproduction import VERDICTS, Comparison
from fairat.papers.tables import title
from fairat.rendering.markdown import escaped
from fairat.rendering.table import MISSING, evaluation_heading
from fairat.rendering.tables import CORRUPTIONS


def summary(comparisons: Sequence[Comparison], details: str) -> str:
    """How many cells of each table have which verdict, and why some have none.

    Args:
        comparisons: of all printed cells.
        details: the folder of the pages with every cell, as seen from the summary.
    """
    rows = [
        [f"[{title(target)}]({details}/{target.name}.md)", *_counts(of_table)]
        for target in PAPER_TARGETS.values()
        if (of_table := _of(target, comparisons))
    ]
    reasons = Counter(reason for one in comparisons for reason in one.reasons)
    paragraphs = [
        "# How far the papers' numbers are reproduced",
        "Every printed number against ours. `within`: the difference is no larger than 1.96 standard errors, from the "
        "spread over seeds and the choice of test images; `better` and `worse`: it is larger. So one comparable cell in "
        "twenty is outside by chance, and `within` says only that the noise explains the difference. The formula and its "
        "assumptions: docs/reproduction.md.",
        _table(["Table", "cells", *VERDICTS, "median distance"], [*rows, ["all", *_counts(comparisons)]]),
        "Median distance: of |ours - printed| over the comparable cells, in percent points.",
    ]
    if reasons:
        paragraphs.append("## Why cells are not comparable\n\nA cell may have several reasons.")
        counts = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        paragraphs.append(_table(["cells", "reason"], [[str(number), escaped(reason)] for reason, number in counts]))
    return "\n\n".join(paragraphs) + "\n"


def page(target: PaperTarget, comparisons: Sequence[Comparison]) -> str:
    """Every cell of one table, in the order of the paper."""
    heading = ["Row", "Number", "Printed", "Ours", "Difference", "Tolerance", "Verdict", "Remarks"]
    numbered: dict[str, int] = {}
    rows = [_cells(one, target.decimals, numbered) for one in _of(target, comparisons)]
    paragraphs = [f"# {title(target)}", escaped(target.caption), _table(heading, rows)]
    if numbered:
        paragraphs += ["Remarks", "\n".join(f"{number}. {escaped(text)}" for text, number in numbered.items())]
    return "\n\n".join(paragraphs) + "\n"


def _of(target: PaperTarget, comparisons: Sequence[Comparison]) -> list[Comparison]:
    printed = (target.source, target.number) if target.kind == "table" else ()
    return [one for one in comparisons if (one.cell.source, one.cell.table) == printed]


def _counts(comparisons: Sequence[Comparison]) -> list[str]:
    """How many cells there are, how many with each verdict, and how far off the comparable ones are."""
    verdicts = Counter(one.verdict for one in comparisons)
    distances = [abs(one.difference) for one in comparisons if one.difference is not None and not one.reasons]
    counts = [len(comparisons), *(verdicts[verdict] for verdict in VERDICTS)]
    return [*map(str, counts), f"{median(distances):.1f}" if distances else MISSING]


def _cells(one: Comparison, decimals: int, numbered: dict[str, int]) -> list[str]:
    cell, what = one.cell, [one.need.metric.removesuffix("_accuracy").replace("_", " ")]
    if cell.evaluation == "corruption":
        what.insert(0, CORRUPTIONS.get(one.need.corruption, one.need.corruption))
    else:
        what[:0] = [cell.dataset, evaluation_heading(one.need.evaluation)]
    numbers = [_number(cell.value, cell.std, decimals), _number(one.ours, one.std, decimals)]
    numbers += [MISSING if one.difference is None else f"{one.difference:+.{decimals}f}"]
    numbers += [_number(one.tolerance, None, decimals)]
    remarks = {numbered.setdefault(text, len(numbered) + 1) for text in (*one.reasons, *one.remarks)}
    return [escaped(cell.label), ", ".join(what), *numbers, one.verdict, ", ".join(map(str, sorted(remarks)))]


def _number(value: float | None, std: float | None, decimals: int) -> str:
    number = MISSING if value is None else f"{value:.{decimals}f}"
    return number if std is None else f"{number} ± {std:.{decimals}f}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
