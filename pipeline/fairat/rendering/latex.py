"""The tables for papers: LaTeX with booktabs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path

from fairat.files import whole_file
from fairat.rendering.table import Cell, Formula, Slot, Table, marked, sections, wrapped

_PREAMBLE = (
    r"% Generated; edits are lost. Needs \usepackage{booktabs} and \usepackage{graphicx}; non-Latin names, LuaLaTeX."
)
# LaTeX calls the letters of Greek text \varepsilon and \varphi; \epsilon and \phi are the symbols ϵ and ϕ. Capitals that
# look Latin have no command.
_MATHEMATICS = r"""
    α \alpha      β \beta       γ \gamma      δ \delta      ε \varepsilon ζ \zeta       η \eta        θ \theta
    ι \iota       κ \kappa      λ \lambda     μ \mu         ν \nu         ξ \xi         ο o           π \pi
    ρ \rho        σ \sigma      τ \tau        υ \upsilon    φ \varphi     χ \chi        ψ \psi        ω \omega
    ς \varsigma   ϵ \epsilon    ϕ \phi        ϑ \vartheta   ϖ \varpi      ϱ \varrho
    Α \mathrm{A}  Β \mathrm{B}  Γ \Gamma      Δ \Delta      Ε \mathrm{E}  Ζ \mathrm{Z}  Η \mathrm{H}  Θ \Theta
    Ι \mathrm{I}  Κ \mathrm{K}  Λ \Lambda     Μ \mathrm{M}  Ν \mathrm{N}  Ξ \Xi         Ο \mathrm{O}  Π \Pi
    Ρ \mathrm{P}  Σ \Sigma      Τ \mathrm{T}  Υ \Upsilon    Φ \Phi        Χ \mathrm{X}  Ψ \Psi        Ω \Omega
    ± \pm         × \times      ÷ \div        · \cdot       − -           √ \surd       ∑ \sum        ∏ \prod
    ≤ \leq        ≥ \geq        ≠ \neq        ≈ \approx     ∼ \sim        ∝ \propto     ∈ \in         ‖ \Vert
    ∞ \infty      ∂ \partial    ∇ \nabla      ℓ \ell        ◇ \diamond    ← \leftarrow  → \rightarrow
    ↑ \uparrow    ↓ \downarrow
    ⁰ ^0  ¹ ^1  ² ^2  ³ ^3  ⁴ ^4  ⁵ ^5  ⁶ ^6  ⁷ ^7  ⁸ ^8  ⁹ ^9
    ₀ _0  ₁ _1  ₂ _2  ₃ _3  ₄ _4  ₅ _5  ₆ _6  ₇ _7  ₈ _8  ₉ _9
"""
"""Characters that pdflatex cannot print in text, or not in every font, and what they are in mathematics."""
_SPECIAL = {
    **{character: f"\\{character}" for character in "_&%#${}"},
    **{character: f"${command}$" for character, command in re.findall(r"(\S) (\S+)", _MATHEMATICS)},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # In the default font encoding these three print as other characters.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\ttfamily\char34}",
    "`": r"\textasciigrave{}",
    # At the start of a line these would be read as arguments of the \\ before it.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
}
_LIGATURE = re.compile(r"([-,'])(?=\1)")
# A page of a common template holds about sixty lines of this size, caption and notes included, of a hundred characters each.
_PAGE_LINES, _HEAD_LINES, _LINE_CHARACTERS = 62, 5, 100
# Shrinks a table that is wider than the text, as columns of some templates are; never enlarges.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"


def write_latex(path: Path, table: Table) -> None:
    """Writes `latex(table)`, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(latex(table), encoding="utf-8", newline="\n")


def latex(table: Table) -> str:
    """A `table` with caption, label `tab:<name>` and notes; its tabulars are a page wide at most, one below the other.

    What is longer than a page continues in another `table`, with the same caption and notes.
    """
    texts = [table.caption, *table.notes, *(text for _, text in table.footnotes)]
    floats = _pages(table.parts(), max(_PAGE_LINES - sum(ceil(len(text) / _LINE_CHARACTERS) for text in texts), 20))
    lines = [_PREAMBLE, *(line for number, page in enumerate(floats) for line in _float(table, page, number))]
    return "\n".join(lines) + "\n"


def _pages(tabulars: Sequence[Table], room: int) -> list[list[Table]]:
    """Tabulars that fit into so many lines of a page together; one that is longer is cut."""
    most = room - _HEAD_LINES
    pages: list[list[Table]] = [[]]
    for tabular in (
        replace(tall, lines=tall.lines[start : start + most])
        for tall in tabulars
        for start in range(0, len(tall.lines), most)
    ):
        if pages[-1] and sum(len(other.lines) + _HEAD_LINES for other in (*pages[-1], tabular)) > room:
            pages.append([])
        pages[-1].append(tabular)
    return pages


def _float(table: Table, tabulars: Sequence[Table], number: int) -> Iterator[str]:
    yield from (r"\begin{table}[tp]", r"\centering")
    yield rf"\caption{{{escaped(table.caption)}{' (continued)' if number else ''}}}"
    if number == 0:
        yield rf"\label{{tab:{table.name}}}"
    yield from (r"\footnotesize", r"\setlength{\tabcolsep}{3pt}")
    for position, tabular in enumerate(tabulars):
        if position > 0:
            yield r"\par\medskip"
        yield from _tabular(tabular)
    yield from _notes(table)
    yield r"\end{table}"


def escaped(text: str) -> str:
    """Text that LaTeX prints as given, whatever characters of its own syntax stand in it; formulas as mathematics."""
    if isinstance(text, Formula):
        return f"${text}$"
    return _LIGATURE.sub(r"\1{}", text.translate(str.maketrans(_SPECIAL)))


def _tabular(table: Table) -> Iterator[str]:
    yield _FIT
    yield rf"\begin{{tabular}}{{{'l' * len(table.stubs)}{'r' * len(table.columns)}}}"
    yield r"\toprule"
    for level in range(len(table.columns[0].headings) - 1):
        yield from _spanning(table.spans(level), len(table.stubs))
    yield _row([*map(escaped, table.stubs), *map(_heading, table.columns)])
    for section, lines in sections(table.lines):
        yield r"\midrule"
        if section:
            yield _row([rf"\multicolumn{{{len(table.stubs) + len(table.columns)}}}{{c}}{{{escaped(section)}}}"])
            yield r"\midrule"
        for line in lines:
            yield from _line(line)
    yield r"\bottomrule"
    yield r"\end{tabular}}"


def _spanning(headings: Sequence[tuple[str, int]], stubs: int) -> Iterator[str]:
    """A line of headings over several columns, and a rule below each."""
    ends = list(accumulate((count for _, count in headings), initial=stubs))
    yield _row([*[""] * stubs, *(rf"\multicolumn{{{count}}}{{c}}{{{escaped(text)}}}" for text, count in headings)])
    yield " ".join(rf"\cmidrule(lr){{{start + 1}-{end}}}" for start, end in pairwise(ends))


def _heading(column: Slot) -> str:
    *above, last = wrapped(column.label)
    stacked = r"\\".join(map(escaped, [*above, marked(last, column.ours)]))
    text = rf"\shortstack{{{stacked}}}" if above else stacked
    return rf"\multicolumn{{1}}{{c}}{{{text}}}"


def _line(line: Slot) -> Iterator[str]:
    if line.gap:
        yield {"rule": r"\midrule", "space": r"\addlinespace"}[line.gap]
    label, *others = line.headings
    yield _row([escaped(marked(label, line.ours)), *map(escaped, others), *map(_cell, line.cells)])


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell) -> str:
    number = escaped(cell.number)
    for mark, command in (("bold", r"\textbf{%s}"), ("underlined", r"\underline{%s}")):
        number = command % number if mark in cell.marks else number
    spread = rf" {{\scriptsize$\pm$ {cell.spread}}}" if cell.spread else ""
    # No width of its own, so that numbers with and without footnotes align.
    above = rf"\rlap{{\textsuperscript{{{escaped(cell.superscript)}}}}}" if cell.superscript else ""
    return number + spread + above


def _notes(table: Table) -> Iterator[str]:
    texts = [escaped(note) for note in table.notes]
    texts += [rf"\textsuperscript{{{letter}}}\,{escaped(text)}" for letter, text in table.footnotes]
    if texts:
        yield r"\par\smallskip"
        yield r"\begin{minipage}{\linewidth}\raggedright"
        yield from (text + r"\par" for text in texts)
        yield r"\end{minipage}"
