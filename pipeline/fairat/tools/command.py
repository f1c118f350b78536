"""`fairat`, the one command of the project: what a person calls that is no stage of the graph.

Each subcommand imports what it needs when it is called, so that `fairat --help` waits for nothing.
"""

from typing import Annotated

import typer

from fairat import locales
from fairat.console import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback(epilog="Example: fairat plan table1")
def _fairat() -> None:
    """Fair adversarial training, beside `dvc repro`, which runs the graph."""
    from fairat.tools import unlock

    unlock.clear()


@app.command()
def unlock() -> None:
    """Removes DVC's list of running commands where a kill left it unreadable; every other command here does so too."""


@app.command(epilog="Example: fairat plan table1")
def plan(
    target: Annotated[str, typer.Argument(help="a stage of dvc.yaml (table1, figure1, report, ...), or a suite")],
) -> None:
    """Lists what is left to train and to evaluate, and what it would cost here."""
    from fairat.tools import plan

    plan.main(target)


@app.command(epilog="Example: fairat track --suite demo")
def track(
    suite: Annotated[str | None, typer.Option(help="only this suite; by default all under runs/")] = None,
) -> None:
    """Brings MLflow up to date with runs/ and reports/metrics/; all of it, if it is empty."""
    from fairat.tools import track

    track.main(suite)


@app.command()
def pdf() -> None:
    """Makes one PDF of every table and figure rendered so far; needs a TeX."""
    from fairat.tools import pdf

    pdf.main()


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: fairat warm dvc repro demo",
)
def warm(command: Annotated[list[str], typer.Argument(help="such as `dvc repro demo`", show_default=False)]) -> None:
    """Runs a command whose stages start at once, forked from a process that has imported the libraries."""
    from fairat.tools import warm

    raise typer.Exit(warm.run(command))


def main() -> None:
    """What the shell calls."""
    locales.ensure_utf8()
    run_app(app)
