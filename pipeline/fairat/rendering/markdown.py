"""The tables for people: GitHub's Markdown."""

from collections.abc import Sequence
from pathlib import Path

from fairat.files import whole_file
from fairat.rendering.table import Cell, Table, marked

_SPECIAL = {character: f"\\{character}" for character in r"\`*_{}[]<>&#|~$"}


def write_markdown(path: Path, table: Table) -> None:
    """Writes `markdown(table)`, whole or not at all."""
    with whole_file(path) as beside:
        beside.write_text(markdown(table), encoding="utf-8", newline="\n")


def markdown(table: Table) -> str:
    """The caption, the table in parts of readable width, the notes; the best number bold, the second underlined."""
    paragraphs = [f"**{escaped(table.caption)}**", *map(_block, table.parts())]
    notes = [f"- {escaped(note)}" for note in table.notes]
    notes += [f"- <sup>{letter}</sup> {escaped(text)}" for letter, text in table.footnotes]
    if notes:
        paragraphs.append("\n".join(notes))
    return "\n\n".join(paragraphs) + "\n"


def escaped(text: str) -> str:
    """Text that GitHub shows as given."""
    return text.translate(str.maketrans(_SPECIAL))


def _block(table: Table) -> str:
    """One part. The suite stands above a part of one suite, and in every column of others."""
    suites = {column.headings[0] for column in table.columns}
    skipped = len(suites) == 1
    titles = [marked("<br>".join(map(escaped, column.headings[skipped:])), column.ours) for column in table.columns]
    lines = [[marked(escaped(line.label), line.ours), *map(_cell, line.cells)] for line in table.lines]
    rows = [[table.stub, *titles], *lines]
    widths = [max(3, *(len(row[index]) for row in rows)) for index in range(len(titles) + 1)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [_padded(rows[0], widths), rule, *(_padded(row, widths) for row in rows[1:])]
    heading = f"{escaped(suites.pop())}\n\n" if skipped else ""
    return heading + "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]


def _cell(cell: Cell) -> str:
    # GitHub strips <u>; <ins> is its way to underline.
    before, after = {"best": ("**", "**"), "second": ("<ins>", "</ins>"), "": ("", "")}[cell.mark]
    spread = f" ± {cell.spread}" if cell.spread else ""
    footnote = f"<sup>{cell.footnote}</sup>" if cell.footnote else ""
    return f"{before}{cell.number}{after}{spread}{footnote}"
