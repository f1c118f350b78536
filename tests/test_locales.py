"""The locale of a cluster's node decides nothing."""

import os
import subprocess
import sys
from pathlib import Path

PRINTS = """
import locale, os, sys
from pathlib import Path
from fairat import locales
locales.ensure_utf8()
os.mkdir("猫") if sys.flags.utf8_mode else None
print("猫 ε ±", sys.flags.utf8_mode, os.listdir("."))
"""


def test_a_process_in_another_locale_starts_anew_in_utf8(tmp_path: Path) -> None:
    (tmp_path / "prints.py").write_text(PRINTS, encoding="utf-8")
    environment = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PATH": os.environ["PATH"]}
    environment |= {"PYTHONPATH": str(Path("pipeline").resolve())}
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "prints.py")], env=environment, cwd=tmp_path, capture_output=True, check=True
    )
    assert (
        ended.stdout.decode() == "猫 ε ± 1 ['prints.py', '猫']\n"
        or ended.stdout.decode() == "猫 ε ± 1 ['猫', 'prints.py']\n"
    )
