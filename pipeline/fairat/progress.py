"""What library code tells while it works: sentences, and how far it is. Nobody listens unless a stage says who."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

Advance = Callable[[float, str], None]
"""Takes what is done since the last call, and a note of a few words."""


class Listener:
    """Who is told; this one passes over everything."""

    def say(self, text: str) -> None:
        """Takes a sentence that the user may read now."""

    def progress(self, description: str, total: float, unit: str) -> AbstractContextManager[Advance]:
        """Begins to watch work that makes `total` units; gives the function that is told of it."""
        return nullcontext(lambda by, note: None)


_listener = Listener()


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """While it lasts, that one is told."""
    global _listener  # one terminal a process
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def say(text: str) -> None:
    """Tells a sentence."""
    _listener.say(text)


def progress(description: str, total: float, unit: str = "") -> AbstractContextManager[Advance]:
    """Tells of the progress of some work; gives `advance(by, note)`."""
    return _listener.progress(description, total, unit)
