"""MLflow as a projection of artifacts: everything it shows can be logged again from what the stages left on disk.

One MLflow run per (run, weights), one experiment per suite. Importing this package imports no MLflow, which takes seconds.
"""

from pipeline.tracking.live import LiveTracker
from pipeline.tracking.projection import Training, evaluation_metrics, trainings, unique_names
from pipeline.tracking.store import (
    RUNS,
    Counts,
    Tracker,
    TrackingError,
    log_suite,
    log_training,
    tracking_uri,
    without_password,
)

__all__ = [
    "RUNS",
    "Counts",
    "LiveTracker",
    "Tracker",
    "TrackingError",
    "Training",
    "evaluation_metrics",
    "log_suite",
    "log_training",
    "tracking_uri",
    "trainings",
    "unique_names",
    "without_password",
]
