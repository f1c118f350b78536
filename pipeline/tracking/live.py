"""Curves while a training runs, logged from a thread of its own: the training never waits for the tracking store."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pipeline.errors import UserError
from pipeline.tracking.projection import EPOCH, Epoch, Training
from pipeline.tracking.store import Tracker, TrackingError, warn

if TYPE_CHECKING:
    from mlflow.entities import Run

BEGIN_AFTER = 60.0
"""Seconds a training runs before it is shown: importing MLflow takes five seconds of a core, half a demo's training."""

RETRY_AFTER = 60.0
"""Seconds between two attempts to reach a dead store."""

PATIENCE = 10.0
"""Seconds a finished training waits at most for what is left to log."""

HASTE = 2.0
"""Seconds a training that failed or was killed waits at most."""

SHOWN = "last"
"""The weight set whose MLflow run shows a running training; which others there will be is known at its end."""


class LiveTracker:
    """Shows a running training in MLflow. Costs nothing in the first `begin_after` seconds, and one warning if it cannot.

        with LiveTracker(record) as live:
            for _ in train(state, ...):
                live.log(state.reports)
            ...  # save the run's directory
            live.finish(directory)

    A training shorter than `begin_after` is logged from its artifacts only, by the stages that follow it. A training that
    was killed and goes on continues its MLflow run, one epoch once; so does one whose tracking store was out of reach.
    """

    def __init__(
        self,
        record: Mapping[str, Any],
        *,
        uri: str | None = None,
        begin_after: float = BEGIN_AFTER,
        retry_after: float = RETRY_AFTER,
        patience: float = PATIENCE,
    ) -> None:
        """Prepares; `record` is the content of run.json as far as it is known before the training."""
        self._training = Training.begun(record, at=time.time())
        self._uri, self._begin_after, self._retry_after, self._patience = uri, begin_after, retry_after, patience
        self._epochs: tuple[Epoch, ...] = ()
        self._news, self._closed = threading.Event(), threading.Event()
        self._directory: Path | None = None
        self._status = "KILLED"
        self._tracker: Tracker | None = None
        self._run: Run | None = None
        self._logged = -1.0
        self._warned = False
        # A daemon: a store that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._closed.is_set():
            self._status = "FAILED" if isinstance(error, Exception) else "KILLED"
            self._close(HASTE)

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Takes all epochs so far, those before a resumption too; returns at once. The thread logs those that it has not."""
        self._epochs = tuple(epochs)
        self._news.set()

    def finish(self, directory: Path) -> None:
        """Logs the rest from the finished training's directory, if its beginning is shown; waits at most `patience`."""
        self._directory = directory
        self._close(self._patience)

    def _close(self, patience: float) -> None:
        self._closed.set()
        self._news.set()
        self._thread.join(patience)
        if self._thread.is_alive():
            self._warn(TrackingError("MLflow takes its time: what it lacks, `python -m stages.track` logs later."))

    def _work(self) -> None:
        if self._closed.wait(self._begin_after):
            return
        while True:
            self._news.wait()
            self._news.clear()
            if self._closed.is_set():
                break
            if not self._attempt(self._log_news):
                self._news.set()
                self._closed.wait(self._retry_after)
        self._attempt(self._log_end)

    def _attempt(self, action: Callable[[Tracker], None]) -> bool:
        try:
            self._tracker = self._tracker or Tracker(self._uri)
            action(self._tracker)
        except UserError as error:
            self._warn(error)
            self._run = None
            return False
        return True

    def _log_news(self, tracker: Tracker) -> None:
        epochs = self._epochs
        if self._run is None:
            self._run = tracker.begin(self._training, SHOWN)
            self._logged = self._run.data.metrics.get(EPOCH, -1.0)
        tracker.log_epochs(self._run, epochs, after=self._logged)
        self._logged = max(self._logged, epochs[-1][EPOCH])

    def _log_end(self, tracker: Tracker) -> None:
        if self._directory:
            tracker.log([Training.read(self._directory)])
        elif self._run:
            tracker.end(self._run, self._status)

    def _warn(self, error: UserError) -> None:
        if not self._warned:
            warn(error)
        self._warned = True
