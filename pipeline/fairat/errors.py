"""The one kind of error that speaks to the user."""


class UserError(ValueError):
    """Bad input. Its text is one paragraph: what was given, what would do, and the next step.

    Stages print the text without a traceback and exit with status 1. Every such text has a test.
    """


def on_one_line(error: Exception) -> str:
    """The text of another library's error, which may run over several lines, for use within such a paragraph."""
    return " ".join(str(error).split())
