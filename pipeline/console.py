"""What stages share on the terminal: errors without a traceback, progress with time left."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.errors import UserError

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def run_stage(main: Callable[..., None]) -> None:
    """Runs a stage's `main` as a command line; a UserError becomes one paragraph and exit status 1."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except UserError as error:
        errors.print(f"[bold red]Error:[/] {_escaped(str(error))}", soft_wrap=True)
        sys.exit(1)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


@contextmanager
def progress(description: str, total: float, *, unit: str = "") -> Iterator[Callable[[float, str], None]]:
    """A bar with time left; gives a function `advance(by, note)`. Silent where the output is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(description, total=total, note="")
        yield lambda by=1.0, note="": bar.update(task, advance=by, note=note)
