"""MLflow as a projection of artifacts: everything it shows can be logged again from what the stages left on disk.

One MLflow run per (run, weights), one experiment per suite. Importing this package imports no MLflow, which takes seconds.
"""

from fairat.tracking.live import LiveTracker
from fairat.tracking.projection import ORIGINS, RUNS, TrackedTraining, origins, trainings
from fairat.tracking.store import Tracker, log_suite, tracking_uri, without_password

__all__ = [
    "ORIGINS",
    "RUNS",
    "LiveTracker",
    "TrackedTraining",
    "Tracker",
    "log_suite",
    "origins",
    "tracking_uri",
    "trainings",
    "without_password",
]
