"""The demo's last word: its main table for the terminal, and where everything else lies."""

from fairat import paths
from fairat.files import whole_file
from fairat.rendering.tables import LAYOUTS
from fairat.rendering.terminal import console_table
from fairat.study import load_study
from rich.console import Console

from stages.tables import suite_content

SUITE = "demo"
OUTPUT = paths.DEMO


def main() -> None:
    """Writes reports/demo.txt, which `make demo` prints."""
    content = suite_content(SUITE, load_study())
    with whole_file(OUTPUT) as beside, beside.open("w", encoding="utf-8") as file:
        console = Console(file=file, force_terminal=True, color_system="standard", width=100, highlight=False)
        for name in ("table1", "table2"):
            console.print(console_table(LAYOUTS[name](content), console.width))
            console.print()
        for what, where in (
            ("Tables and figures for a paper", paths.tables(SUITE)),
            ("Pictures to look at", paths.figures(SUITE)),
            ("Every number with its interval", paths.metrics(SUITE)),
            ("Every prediction", paths.predictions(SUITE, "*")),
            ("Compare the runs", "make ui, then open the address it prints"),
            ("The same numbers in the shell", f"dvc metrics show {paths.headline(SUITE)}"),
        ):
            console.print(f"{what + ':':<34}{where}", soft_wrap=True)
