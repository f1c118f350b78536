"""`python -m stages STAGE ARGUMENTS` runs one stage of dvc.yaml; in a fork of a warm process, where `fairat warm` keeps one."""

import sys

from fairat import locales
from fairat.tools import warm


def main() -> None:
    """Runs the stage that the first argument names.

    Raises:
        UserError: there is no such stage.
    """
    from difflib import get_close_matches
    from importlib import import_module
    from pathlib import Path

    import typer
    from fairat.console import stoppable
    from fairat.errors import UserError

    names = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in names:
        nearest = "".join(f" Did you mean {match}?" for match in get_close_matches(name, names, 1))
        raise UserError(f"There is no stage {name!r}.{nearest} The stages are: {', '.join(names)}.")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(stoppable(import_module(f"stages.{name}").main))
    app(sys.argv[2:], prog_name=f"python -m stages {name}")


if __name__ == "__main__":
    try:
        locales.ensure_utf8()
        if (status := warm.handed_over()) is not None:
            sys.exit(status)
        from fairat.console import run_app
    except KeyboardInterrupt:
        sys.exit(130)  # nothing was begun
    run_app(main)
