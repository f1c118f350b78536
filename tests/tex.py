"""TeX in tests: what needs it runs where it is, and always in CI, which installs it."""

import os
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from fairat.rendering.table import Formula, Table
from fairat.tools import pdf

needs_tex = pytest.mark.skipif(
    not (shutil.which(pdf.ENGINE) and shutil.which("pdftotext")) and not os.environ.get("CI"),
    reason=f"no {pdf.ENGINE} with pdftotext here",
)


def text_of(document: Path) -> str:
    """The words of a PDF, without spaces and hyphens, at which TeX may break and join lines."""
    done = subprocess.run(["pdftotext", "-layout", document, "-"], check=True, capture_output=True, text=True)
    return squeezed(done.stdout)


def squeezed(text: str) -> str:
    return re.sub(r"[\s\-−◇⋄*]", "", unicodedata.normalize("NFKC", text))


def missing_from(text: str, table: Table) -> list[str]:
    """The labels, headings and numbers of a table that a document does not hold."""
    wanted = [heading for slot in (*table.columns, *table.lines) for heading in slot.headings if slot.headings]
    wanted += [line.section for line in table.lines]
    wanted += [cell.number for line in table.lines for cell in line.cells]
    plain = [one for one in dict.fromkeys(wanted) if not isinstance(one, Formula)]
    return [one for one in plain if not all(squeezed(word) in text for word in one.split())]
