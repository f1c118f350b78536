"""Curves while a training runs."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fairat.tracking.projection import Epoch, TrackedTraining
from fairat.tracking.store import Tracker, warning_only

BEGIN_AFTER = 120.0
"""Seconds a training runs before it is shown: MLflow takes ten seconds of a core to start, as long as a demo's training."""

PAUSE = 5.0
"""Seconds between two loggings at least, however short the epochs are."""

RETRY_AFTER = 600.0
"""Seconds before a store that failed is tried again: one that hangs costs a training about 20 seconds a time."""

SHOWN = "last"
"""The weight set whose MLflow run shows a running training; which others there will be is known at its end."""


class LiveTracker:
    """Shows a training in MLflow while it runs, from its third minute on. A store that fails costs warnings only.

        with LiveTracker(record) as live:
            for _ in train(state, ...):
                live.log(state.reports)
            ...  # save the run's directory
            live.finish(directory)

    What it does not show (a shorter training, the other weight sets, epochs while the store was out of reach) the
    aggregate stage logs from the artifacts.
    """

    def __init__(self, record: Mapping[str, Any], *, begin_after: float = BEGIN_AFTER, pause: float = PAUSE) -> None:
        """`record` is the content of run.json as far as it is known before the training."""
        self._training = TrackedTraining.model_validate(record)
        self._next, self._pause = time.monotonic() + begin_after, pause
        self._tracker: Tracker | None = None
        self._run_id, self._logged = "", 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and self._tracker and self._run_id:
            with warning_only():
                self._tracker.end(self._run_id, "FAILED" if issubclass(kind, Exception) else "KILLED")

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Takes all epochs so far, those before a resumption too, and logs those that it has not."""
        if time.monotonic() < self._next:
            return
        with warning_only():
            self._log(epochs)
            self._next = time.monotonic() + self._pause
            return
        # The store may have lost the run, or somebody deleted it: begin anew.
        self._run_id, self._logged = "", 0
        self._next = time.monotonic() + RETRY_AFTER

    def finish(self, directory: Path) -> None:
        """Logs the rest of a training that is shown, from what it left."""
        if self._tracker and self._run_id:
            with warning_only():
                training = TrackedTraining.read(directory)
                self._log(training.curves)
                self._tracker.finish(self._run_id, training, SHOWN)
                self._tracker.log([training])

    def _log(self, epochs: Sequence[Epoch]) -> None:
        self._tracker = self._tracker or Tracker(self._training.suite)
        if not self._run_id:
            began = time.time() - sum(epoch["seconds"] for epoch in epochs)
            self._training = self._training.model_copy(update={"started": round(1000 * began)})
            self._run_id = self._tracker.begin(self._training, SHOWN)
        self._tracker.log_epochs(self._run_id, epochs, started=self._training.started, after=self._logged)
        self._logged = len(epochs)
