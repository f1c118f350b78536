"""The one kind of error that speaks to the user."""

from enum import Enum, auto


class Hint(Enum):
    """What would help. Library code knows no commands: a stage says the hint as one (`console.COMMANDS`)."""

    MAKE = auto()
    """Something is missing that a stage makes."""
    REMAKE = auto()
    """Something is damaged or out of date, and a stage makes it again."""
    FORCE = auto()
    """Something has to be made again although nothing that it depends on has changed."""
    FREE = auto()
    """The disk is full."""


class UserError(ValueError):
    """Bad input. Its text is one paragraph: what was given, what would do, and the next step.

    Stages print the text and the hint without a traceback and exit with status 1. Every such text has a test.
    """

    def __init__(self, text: str, hint: Hint | None = None) -> None:
        super().__init__(text)
        self.hint = hint


class Interrupted(UserError):
    """The user, or the queue of a cluster, ended the command. Its text says what is kept."""


def on_one_line(error: Exception | str) -> str:
    """The text of another library's error, which may run over several lines, for use within such a paragraph."""
    return " ".join(str(error).split())
