"""How far each table is reproduced, as a page of Markdown."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from fairat.papers.needs import PAPER_TARGETS, PaperTarget
from fairat.papers.reproduction import VERDICTS, Comparison
from fairat.papers.tables import title
from fairat.rendering.markdown import escaped
from fairat.rendering.table import MISSING


def summary(comparisons: Sequence[Comparison], details: str, experiments: Sequence[str] = ()) -> str:
    """How many cells of each table have which verdict, and why some have none.

    Args:
        comparisons: of all printed cells.
        details: the folder of the tables with every cell, as seen from the summary.
        experiments: a sentence on each suite of ours that is compared.
    """
    rows = [
        [f"[{title(target)}]({details}/{target.name}_vs_paper.md)", *_counts(of_table)]
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
    if experiments:
        paragraphs.append("## Our experiments\n\n" + "\n".join(f"- {escaped(text)}" for text in experiments))
    if reasons:
        paragraphs.append("## Why cells are not comparable\n\nA cell may have several reasons.")
        counts = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        paragraphs.append(_table(["cells", "reason"], [[str(number), escaped(reason)] for reason, number in counts]))
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


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
