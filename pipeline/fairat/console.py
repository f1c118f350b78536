"""What stages share on the terminal: errors without a traceback, progress with time left."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import wraps
from types import FrameType
from typing import ParamSpec, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fairat.errors import Hint, Interrupted, UserError
from fairat.progress import Advance, Listener, told_to

_Arguments = ParamSpec("_Arguments")
_Given = TypeVar("_Given")

LINE_EVERY = 60.0
"""Seconds between two lines of progress where there is no terminal."""

COMMANDS = {
    Hint.MAKE: "`dvc repro` makes what is missing.",
    Hint.REMAKE: "`dvc repro` makes again what is damaged or out of date.",
    Hint.FORCE: "`dvc repro --force` makes it again.",
    Hint.FREE: "`dvc gc --workspace` removes results that no longer belong to this study from DVC's cache.",
}
"""What a person types to follow a hint."""

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def run_app(app: Callable[[], object]) -> None:
    """Runs a command line; a UserError becomes one paragraph and exit status 1, an interruption exit status 130.

    A process that is asked to end (SIGTERM, as queues do at the end of the time) ends as with Ctrl-C.
    """
    try:
        with told_to(Terminal()), _ended_as_with_ctrl_c():
            app()
    except Interrupted as error:
        errors.print(f"[bold]Stopped.[/] {escape(paragraph(error))}", soft_wrap=True)
        sys.exit(130)
    except KeyboardInterrupt:
        errors.print("[bold]Stopped.[/] Nothing was begun.", soft_wrap=True)
        sys.exit(130)
    except UserError as error:
        errors.print(f"[bold red]Error:[/] {escape(paragraph(error))}", soft_wrap=True)
        sys.exit(1)


@contextmanager
def _ended_as_with_ctrl_c() -> Iterator[None]:
    """While it lasts, SIGTERM interrupts this process; its forks, such as a pool's workers, end at once."""
    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stoppable(command: Callable[_Arguments, _Given]) -> Callable[_Arguments, _Given]:
    """The command, which says on Ctrl-C what became of its work; Typer would say `Aborted!`."""

    @wraps(command)
    def run(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Given:
        with keeping(lambda: "Nothing was half-written.", again="The same command begins this step anew."):
            return command(*arguments, **options)

    return run


@contextmanager
def keeping(what: Callable[[], str], again: str = "The same command goes on from there.") -> Iterator[None]:
    """While it lasts, an interruption says what is kept, and what the same command would do.

    Raises:
        Interrupted: where Ctrl-C was pressed, or the process was asked to end.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"{what()} {again}") from None


def paragraph(error: UserError) -> str:
    """The error's text, and what to type."""
    return f"{error} {COMMANDS[error.hint]}" if error.hint else str(error)


class Terminal(Listener):
    """Shows the user what library code tells."""

    def say(self, text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    def progress(self, description: str, total: float, unit: str) -> AbstractContextManager[Advance]:
        return progress(description, total, unit=unit)


class Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


@contextmanager
def progress(
    description: str, total: float, *, unit: str = "", aside: Callable[[], str] = lambda: "", kept: float = 0.0
) -> Iterator[Callable[[float, str], None]]:
    """A bar with rate and time left; gives a function `advance(by, note)`. What is `kept` from before counts as done.

    Where the output is no terminal (a log, CI, a cluster's file), a line once a minute takes the place of the bar. A note stays
    until the next one; `aside` is asked at every update for something more, such as the memory in use.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[aside]}"),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=int(kept), note="", aside="")
        written = began = time.monotonic()
        done, last_note = kept, ""

        def advance(by: float = 1.0, note: str = "") -> None:
            nonlocal written, done, last_note
            done, last_note = done + by, note or last_note
            bar.update(task, advance=by, note=last_note, aside=aside())
            now = time.monotonic()
            if not errors.is_terminal and now - written > LINE_EVERY:
                written = now
                rest = ", ".join(
                    part
                    for part in (
                        _pace(done, total, unit, (now - began) / (done - kept) if done > kept else 0.0),
                        aside(),
                        last_note,
                    )
                    if part
                )
                errors.print(f"{description}: {rest}", markup=False)

        yield advance


def _pace(done: float, total: float, unit: str, seconds: float) -> str:
    """`400 of 1,000 images, 5/s, 0:02:00 left`, from the seconds that one takes; 0 where it is not known yet."""
    if not seconds:
        return f"{done:,.0f} of {total:,.0f} {unit}"
    left = timedelta(seconds=round(seconds * (total - done)))
    return f"{done:,.0f} of {total:,.0f} {unit}, {1 / seconds:,.0f}/s, {left} left"
