"""What the papers print: every cell of their result tables, typed (reports/published/README.md explains the columns)."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from fairat import paths
from fairat.errors import UserError

Source = Literal["fairtat", "bat"]
SOURCES: tuple[Source, ...] = ("fairtat", "bat")
_PRESUMED = "presumed_corruption="


@dataclass(frozen=True)
class PrintedCell:
    """One printed number and where it stands.

    Attributes:
        label: the printed label of its row; of FAIR-TAT Tables 3, 4, 9 and 10, of its column.
        targeting: untargeted, uniform or cfps; empty for clean training.
        margin: constant or robust_accuracy; empty for clean training and FRL. The rows whose note holds
            `margin_ambiguous` say constant, but see `fairat.papers.needs`.
        weights: last, ema or fawa.
        evaluation: clean, pgd, autoattack, square or corruption.
        corruption: as printed, for corruptions; empty for the others. `meant_corruption` corrects Table 9.
        metric: overall_accuracy, worst_class_accuracy, or one of BAT's errors, avg_std_error and so on.
        value: in percent.
        std: in percent points; None where none is printed.
        seeds: as printed; None where the paper does not say how many.
        is_ours: whether the row has the mark of the paper's own method.
        note: what is odd about the cell; parts are separated by ` | `.
    """

    source: Source
    table: int
    dataset: str
    architecture: str
    label: str
    objective: str
    scheme: str
    targeting: str
    margin: str
    weights: str
    evaluation: str
    corruption: str
    metric: str
    value: float
    std: float | None
    seeds: int | None
    is_ours: bool
    note: str

    @property
    def remarks(self) -> list[str]:
        """The parts of the note; each starts with a token and a colon."""
        return [part for part in self.note.split(" | ") if part]

    @property
    def meant_corruption(self) -> str:
        """The corruption the number is of: the labels of FAIR-TAT Table 9 are wrong from its seventh row on."""
        _, found, after = self.note.partition(_PRESUMED)
        return after.split()[0] if found else self.corruption


def printed_cells(path: Path = paths.PUBLISHED) -> list[PrintedCell]:
    """Every printed cell, in the order of the file, which is that of the papers.

    Raises:
        UserError: the file is missing, or not as its README says.
    """
    names = [field.name for field in fields(PrintedCell)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != names:
                found = ", ".join(reader.fieldnames or ()) or "none"
                raise UserError(
                    f"{path} must have the columns {', '.join(names)}, but has: {found}. Restore it: `git checkout {path}`."
                )
            return [_cell(row, path, reader.line_num) for row in reader]
    except FileNotFoundError:
        raise UserError(f"There is no {path}, the papers' own numbers. Restore it: `git checkout {path}`.") from None


def _cell(row: dict[str, str], path: Path, line: int) -> PrintedCell:
    if row["source"] not in SOURCES or row["is_ours"] not in ("true", "false"):
        raise UserError(
            f"{path}, line {line}: source must be one of {', '.join(SOURCES)} and is_ours true or false, but they are "
            f"{row['source']!r} and {row['is_ours']!r}. Restore the file: `git checkout {path}`."
        )
    try:
        numbers = {
            "table": int(row["table"]),
            "value": float(row["value"]),
            "std": float(row["std"]) if row["std"] else None,
            "seeds": int(row["seeds"]) if row["seeds"] else None,
        }
    except ValueError as error:
        raise UserError(f"{path}, line {line}: {error}. Restore the file: `git checkout {path}`.") from None
    return PrintedCell(**{**row, **numbers, "is_ours": row["is_ours"] == "true"})  # pyright: ignore[reportArgumentType]
