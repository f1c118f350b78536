"""The stages of the papers' tables and figures in dvc.yaml: `python -m fairat.papers.graph` writes their section anew.

DVC wants every dependency of a stage written out, so the section is generated; a test fails when it is not up to date.
"""

from collections.abc import Iterator
from pathlib import Path

from fairat import paths
from fairat.files import whole_file
from fairat.papers.demo_report import demo_inputs
from fairat.papers.figure_rows import FIGURES
from fairat.papers.needs import DEMO_REPORT, PAPER_TARGETS, PaperTarget, need
from fairat.papers.published import printed_cells
from fairat.papers.standing import wanted_by
from fairat.papers.tables import entries

GRAPH = Path("dvc.yaml")
_START = "  # The papers' tables and figures, generated: `python -m fairat.papers.graph` writes these stages anew."
_END = "  # End of the generated stages."


def section() -> str:
    """The generated stages, between their two comments."""
    stages = [line for target in PAPER_TARGETS.values() for line in _stage(target)]
    return "\n".join([_START, *stages, *_demo_stage(), *_report_stage(), _END]) + "\n"


def inputs(target: PaperTarget) -> list[Path]:
    """What a target is made from: files of evidence, or the directories of runs."""
    if target.kind == "figure":
        return FIGURES[target.name].inputs
    return [one.path for one in wanted_by([entry.need for entry in entries(target)])]


def outputs(target: PaperTarget) -> list[Path]:
    """What a target writes."""
    if target.kind == "figure":
        return [paths.paper_figure(target.name, suffix) for suffix in (".pdf", ".png")]
    return [paths.paper_table(target.name, suffix) for suffix in (".md", ".tex")]


def with_section(text: str) -> str:
    """dvc.yaml with the section in its place, or behind the last stage if it has none yet."""
    if _START not in text:
        return text.rstrip("\n") + "\n\n" + section()
    before, _, rest = text.partition(_START)
    _, _, after = rest.partition(_END + "\n")
    return before + section() + after


def _stage(target: PaperTarget) -> Iterator[str]:
    published = [paths.PUBLISHED] if target.kind == "table" else []
    yield f"  {target.name}:"
    yield f"    cmd: python -m stages.paper {target.name}"
    yield "    deps:"
    yield from (f"      - {path}" for path in (paths.FINGERPRINTS / "paper" / target.name, *published, *inputs(target)))
    yield "    outs:"
    yield from (f"      - {path}" for path in outputs(target))
    yield ""


def _demo_stage() -> Iterator[str]:
    yield f"  {DEMO_REPORT}: # the same tables and figures on the digits of the demo"
    yield f"    cmd: python -m stages.paper {DEMO_REPORT}"
    yield "    deps:"
    yield from (
        f"      - {path}" for path in (paths.FINGERPRINTS / "paper" / DEMO_REPORT, paths.PUBLISHED, *demo_inputs())
    )
    yield "    outs:"
    yield f"      - {paths.DEMO_REPORT}"
    yield ""


def _report_stage() -> Iterator[str]:
    evidence = dict.fromkeys(one.path for one in wanted_by([need(cell) for cell in printed_cells()]))
    tables_and_figures = [path for target in PAPER_TARGETS.values() for path in outputs(target)]
    yield "  report: # every table and figure, and how our numbers compare with the printed ones"
    yield "    cmd: python -m stages.reproduction"
    yield "    deps:"
    yield from (
        f"      - {path}"
        for path in (
            paths.FINGERPRINTS / "report/report",
            paths.PUBLISHED,
            *evidence,
            *tables_and_figures,
        )
    )
    yield "    outs:"
    yield f"      - {paths.REPRODUCTION}"
    yield f"      - {paths.REPRODUCED_CELLS}"
    yield ""


if __name__ == "__main__":
    new = with_section(GRAPH.read_text())
    with whole_file(GRAPH) as beside:
        beside.write_text(new)
