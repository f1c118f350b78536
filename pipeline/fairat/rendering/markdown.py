"""The tables for people: GitHub's Markdown."""

from collections.abc import Sequence
from pathlib import Path

from fairat.files import whole_file
from fairat.rendering.table import Cell, Formula, Slot, Table, marked, sections

_SPECIAL = {character: f"\\{character}" for character in r"\`*_{}[]<>&#|~$"}


def write_markdown(path: Path, table: Table) -> None:
    """Writes `markdown(table)`, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(markdown(table), encoding="utf-8", newline="\n")


def markdown(table: Table) -> str:
    """The caption, the table in parts of readable width, the notes."""
    paragraphs = [f"**{escaped(table.caption)}**", *map(_block, table.parts())]
    notes = [f"- {escaped(note)}" for note in table.notes]
    notes += [f"- <sup>{letter}</sup> {escaped(text)}" for letter, text in table.footnotes]
    if notes:
        paragraphs.append("\n".join(notes))
    return "\n\n".join(paragraphs) + "\n"


def escaped(text: str) -> str:
    """Text that GitHub shows as given; formulas as mathematics."""
    if isinstance(text, Formula):
        return f"${text}$".replace("|", r"\vert ")
    return text.translate(str.maketrans(_SPECIAL))


def _block(table: Table) -> str:
    """One part. The suite stands above a part of one suite, and in every column of others."""
    suites = {column.headings[0] for column in table.columns}
    skipped = len(suites) == 1
    titles = [marked("<br>".join(map(escaped, column.headings[skipped:])), column.ours) for column in table.columns]
    stubs, rows = len(table.stubs), [[*table.stubs, *titles]]
    for section, lines in sections(table.lines):
        if section:
            rows.append([f"*{escaped(section)}*", *[""] * (stubs - 1 + len(titles))])
        rows += [_row(line) for line in lines]
    widths = [max(3, *(len(row[index]) for row in rows)) for index in range(stubs + len(titles))]
    rule = [":" + "-" * (width - 1) for width in widths[:stubs]]
    rule += ["-" * (width - 1) + ":" for width in widths[stubs:]]
    padded = [_padded(rows[0], widths, stubs), rule, *(_padded(row, widths, stubs) for row in rows[1:])]
    heading = f"{escaped(suites.pop())}\n\n" if skipped else ""
    return heading + "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _row(line: Slot) -> list[str]:
    label, *others = map(escaped, line.headings)
    return [marked(label, line.ours), *others, *map(_cell, line.cells)]


def _padded(row: Sequence[str], widths: Sequence[int], stubs: int) -> list[str]:
    placed = enumerate(zip(row, widths, strict=True))
    return [text.ljust(width) if number < stubs else text.rjust(width) for number, (text, width) in placed]


def _cell(cell: Cell) -> str:
    # GitHub strips <u>; <ins> is its way to underline.
    number = f"**{cell.number}**" if "bold" in cell.marks else cell.number
    number = f"<ins>{number}</ins>" if "underlined" in cell.marks else number
    spread = f" ± {cell.spread}" if cell.spread else ""
    above = f"<sup>{escaped(cell.superscript)}</sup>" if cell.superscript else ""
    return f"{number}{spread}{above}"
