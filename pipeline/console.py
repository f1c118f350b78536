"""What stages share on the terminal: errors without a traceback, progress with time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.errors import UserError

LINE_EVERY = 60.0
"""Seconds between two lines of progress where there is no terminal."""

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


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
    """A bar with time left; gives a function `advance(by, note)`.

    Where the output is no terminal (a log, CI, a cluster's file), a line once a minute takes the place of the bar.
    """
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
        written = began = time.monotonic()
        done = 0.0

        def advance(by: float = 1.0, note: str = "") -> None:
            nonlocal written, done
            done += by
            bar.update(task, advance=by, note=note)
            now = time.monotonic()
            if not errors.is_terminal and now - written > LINE_EVERY:
                written = now
                left = timedelta(seconds=round((now - began) * (total - done) / done)) if done else "unknown"
                errors.print(f"{description}: {done:,.0f} of {total:,.0f} {unit}, {left} left {note}", markup=False)

        yield advance
