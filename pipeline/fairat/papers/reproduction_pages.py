"""The reproduction view as Markdown: a summary per table, and every cell of a table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from fairat.papers.needs import PAPER_TARGETS, PaperTarget
from fairat.papers.reproduction import LEVEL, VERDICTS, Comparison, counted, typical_distance
from fairat.rendering.markdown import escaped
from fairat.rendering.table import MISSING, evaluation_heading
from fairat.rendering.tables import CORRUPTIONS

_PAPERS = {"fairtat": "FAIR-TAT", "bat": "BAT"}
_METRICS = {
    "overall_accuracy": "overall",
    "worst_class_accuracy": "worst class",
    "avg_std_error": "average standard error",
    "avg_bndy_error": "average boundary error",
    "avg_rob_error": "average robust error",
    "worst_std_error": "worst standard error",
    "worst_bndy_error": "worst boundary error",
    "worst_rob_error": "worst robust error",
}


def summary(comparisons: Sequence[Comparison], details: str) -> str:
    """reports/reproduction.md: how many cells of each table have which verdict, and why some have none.

    Args:
        comparisons: of all printed cells.
        details: the folder of the pages with every cell, as seen from the summary.
    """
    by_table = {target: [one for one in comparisons if _is_of(one, target)] for target in _tables()}
    rows = [
        [f"[{_title(target)}]({details}/{target.name}.md)", *_counts(ones)] for target, ones in by_table.items() if ones
    ]
    rows.append(["all", *_counts(comparisons)])
    heading = ["Table", "cells", *VERDICTS, "median distance"]
    paragraphs = [
        "# How far the papers' numbers are reproduced",
        f"Every printed number against ours. `within`: the difference is no larger than what {LEVEL:.0%} of repetitions "
        "of one and the same experiment differ by, from the spread over seeds and the choice of test images; `better` and "
        "`worse`: it is larger. So one comparable cell in twenty is outside by chance, and `within` says only that "
        "the noise explains the difference. The formula and its assumptions: docs/reproduction.md.",
        _table(heading, rows),
        "Median distance: of |ours - printed| over the comparable cells, in percent points.",
        *_why(comparisons),
    ]
    return "\n\n".join(paragraphs) + "\n"


def page(target: PaperTarget, comparisons: Sequence[Comparison]) -> str:
    """Every cell of one table, in the order of the paper."""
    ones = [one for one in comparisons if _is_of(one, target)]
    heading = ["Row", "Number", "Printed", "Ours", "Difference", "Tolerance", "Verdict", "Remarks"]
    letters: dict[str, int] = {}
    rows = [_cells(one, target, letters) for one in ones]
    paragraphs = [f"# {_title(target)}", escaped(target.caption), _table(heading, rows)]
    remarks = "\n".join(f"{number}. {escaped(text)}" for text, number in letters.items())
    return "\n\n".join([*paragraphs, *([f"Remarks\n\n{remarks}"] if remarks else [])]) + "\n"


def _tables() -> list[PaperTarget]:
    return [target for target in PAPER_TARGETS.values() if target.kind == "table"]


def _is_of(one: Comparison, target: PaperTarget) -> bool:
    return (one.cell.source, one.cell.table) == (target.source, target.number)


def _title(target: PaperTarget) -> str:
    return f"{_PAPERS[target.source]} Table {target.number}"


def _counts(comparisons: Sequence[Comparison]) -> list[str]:
    distance = typical_distance(comparisons)
    numbers = [len(comparisons), *counted(comparisons).values()]
    return [*map(str, numbers), MISSING if distance is None else f"{distance:.1f}"]


def _why(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Why cells have no verdict, and whose spread over seeds the tolerances rest on."""
    reasons = Counter(reason for one in comparisons for reason in one.reasons)
    if reasons:
        counts = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        yield "## Why cells are not comparable\n\nA cell may have several reasons."
        yield _table(["cells", "reason"], [[str(number), escaped(reason)] for reason, number in counts])
    spreads = Counter((one.noise.spread_ours, one.noise.spread_printed) for one in comparisons if one.noise)
    if spreads:
        yield (
            "## Whose spread over seeds\n\nFor ours and for the printed number: `own`, where there are deviations over "
            "seeds; `other's`, taken from the other side; `typical`, where neither has one: the median of all "
            "deviations printed for the same evaluation."
        )
        yield _table(["cells", "ours", "printed"], [[str(n), *kinds] for kinds, n in sorted(spreads.items())])


def _cells(one: Comparison, target: PaperTarget, letters: dict[str, int]) -> list[str]:
    cell, decimals = one.cell, target.decimals
    printed = _number(cell.value, cell.std, decimals)
    ours = _number(one.ours.mean, one.ours.std, decimals) if one.ours else MISSING
    difference = MISSING if one.difference is None else f"{one.difference:+.{decimals}f}"
    tolerance = MISSING if one.noise is None else f"{one.noise.tolerance:.{decimals}f}"
    numbers = [letters.setdefault(text, len(letters) + 1) for text in (*one.reasons, *one.remarks)]
    remarks = ", ".join(str(number) for number, _ in groupby(sorted(numbers)))
    return [escaped(cell.label), _what(one), printed, ours, difference, tolerance, one.verdict, remarks]


def _what(one: Comparison) -> str:
    """What was measured: data set, evaluation or corruption, metric."""
    cell = one.cell
    if cell.evaluation == "corruption":
        meant = CORRUPTIONS.get(cell.meant_corruption, cell.meant_corruption)
        return f"{meant}, {_METRICS[cell.metric]}"
    return f"{cell.dataset}, {evaluation_heading(one.need.evaluation)}, {_METRICS[cell.metric]}"


def _number(value: float, std: float | None, decimals: int) -> str:
    return f"{value:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
