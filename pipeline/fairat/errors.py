"""The one kind of error that speaks to the user."""


class UserError(ValueError):
    """Bad input. Its text is one paragraph: what was given, what would do, and the next step.

    Stages print the text without a traceback and exit with status 1. Every such text has a test.
    """
