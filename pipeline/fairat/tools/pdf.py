"""Every generated LaTeX table and figure -> one PDF to leaf through, reports/report.pdf. Needs TeX; no part of the graph."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from fairat import paths
from fairat.console import console
from fairat.errors import UserError
from fairat.files import whole_file
from fairat.rendering.latex import escaped

REPORTS = Path("reports")
OUTPUT = paths.REPORT
ENGINE = "pdflatex"
_NAMES = (
    "Tables with names in non-Latin letters need LuaLaTeX and a font that has them: use the .tex files in a document of your "
    "own."
)
_FLOATS_ON_HOLD = 6
"""After so many files everything is put on pages: TeX holds about fifty floats, and a long table is several."""


def main() -> None:
    """Builds the report from what was rendered so far."""
    parts = generated()
    if not parts:
        raise UserError(f"There are no tables below {REPORTS} yet. Make some: `dvc repro tables@demo`, or `make demo`.")
    log, refused = build(parts, OUTPUT)
    for part, reason in refused.items():
        console.print(f"{ENGINE} refuses {part}: {reason}. {_NAMES} Its page says so.", markup=False)
    for line in unfit(log):
        console.print(f"Does not fit the page: {line}", markup=False)
    console.print(f"{len(parts) - len(refused)} tables and figures in {OUTPUT}")


def generated() -> list[Path]:
    """Every table and figure below reports/, folder by folder."""
    found = (path for kind in ("tex", "pdf") for path in REPORTS.rglob(f"*.{kind}"))
    return sorted((path for path in found if path != OUTPUT), key=lambda path: (path.parent, path.name))


def build(parts: Sequence[Path], output: Path) -> tuple[str, dict[Path, str]]:
    """Compiles tables (.tex) and figures (.pdf) into one document; returns TeX's log, and why it refuses some of them.

    What TeX refuses costs its own page, which holds the reason.

    Raises:
        UserError: there is no TeX here, or it stops outside of the parts.
    """
    engine = shutil.which(ENGINE)
    if engine is None:
        raise UserError(
            f"There is no {ENGINE} here, which {output} needs. Install TeX Live with the packages of Debian's "
            "texlive-latex-recommended, or use the .tex files in a document of your own."
        )
    refused: dict[Path, str] = {}
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "report.tex"
        for number, part in enumerate(parts):
            shutil.copyfile(part, source.with_name(_copy(number, part)))
        source.write_text(document(parts), encoding="utf-8")
        while stopped := _stopped_at(engine, source):
            place, reason = stopped
            if place is None or parts[place] in refused:
                raise UserError(f"{ENGINE} stopped while it made {output}: {reason}. {_NAMES}")
            refused[parts[place]] = reason
            page = rf"\begin{{table}}[tp]{escaped(f'{ENGINE} refuses {parts[place].name}.')}\end{{table}}"
            source.with_name(_copy(place, parts[place])).write_text(page, encoding="utf-8")
        with whole_file(output) as beside:
            shutil.copyfile(source.with_suffix(".pdf"), beside)
        return source.with_suffix(".log").read_text(encoding="utf-8", errors="replace"), refused


def _stopped_at(engine: str, source: Path) -> tuple[int | None, str] | None:
    """The number of the part at which TeX stops, None outside of them, and its words; nothing where it does not stop."""
    command = [
        engine,
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-file-line-error",
        "-no-shell-escape",
        source.name,
    ]
    done = subprocess.run(command, cwd=source.parent, capture_output=True, text=True, errors="replace", check=False)
    if not done.returncode:
        return None
    found = re.search(r"^(?:\./)?(?:part(\d+)\.\w+|[^:\n]*):\d+: (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        return None, next(
            (line.removeprefix("! ") for line in done.stdout.splitlines() if line.startswith("! ")), "no reason"
        )
    return int(found[1]) if found[1] else None, found[2].strip().rstrip(".")


def document(parts: Sequence[Path]) -> str:
    """A document with every table and figure in the order given; their folder stands at the head of the pages."""
    return "\n".join([_HEAD, *_folders(parts), r"\end{document}", ""])


def unfit(log: str) -> list[str]:
    """TeX's complaints about lines wider than their column, and tables and figures longer than the page."""
    return re.findall(r"^(?:Overfull \\[hv]box|LaTeX Warning: Float too large).*$", log, flags=re.MULTILINE)


_HEAD = r"""\documentclass[10pt,a4paper]{article}
\usepackage{cmap}
\usepackage[T1]{fontenc}
\usepackage[margin=25mm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\pagestyle{myheadings}
\begin{document}"""


def _folders(parts: Sequence[Path]) -> Iterator[str]:
    for folder, files in groupby(enumerate(parts), key=lambda numbered: numbered[1].parent):
        # Not \markright: pages of nothing but floats have no marks of their own.
        yield rf"\renewcommand{{\rightmark}}{{{escaped('/'.join(folder.parts[-2:]))}}}"
        for held, (number, part) in enumerate(files, start=1):
            name = _copy(number, part)
            yield rf"\input{{{name}}}" if part.suffix == ".tex" else _figure(name, "/".join(part.parts[-2:]))
            if held % _FLOATS_ON_HOLD == 0:
                yield r"\clearpage"
        yield r"\clearpage"


def _copy(number: int, part: Path) -> str:
    """The name a table or figure has beside the document: TeX cannot read every name a suite may have."""
    return f"part{number}{part.suffix}"


def _figure(file: str, name: str) -> str:
    picture = rf"\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{{{file}}}"
    return rf"\begin{{figure}}[tp]\centering{picture}\caption{{{escaped(name)}}}\end{{figure}}"
