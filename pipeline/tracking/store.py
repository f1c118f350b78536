"""Writes projections to MLflow: creates what is missing, replaces what changed, leaves the rest alone."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.markup import escape

from pipeline.console import errors
from pipeline.errors import UserError
from pipeline.tracking.projection import EPOCH, Epoch, Training, curves, digest_of, evaluation_metrics, trainings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

_Item = TypeVar("_Item")

PROJECT = "fair-adversarial-training"
STORE, ARTIFACTS = Path("mlflow.db"), Path("mlartifacts")
RUNS = Path("runs")
"""The embedded store and what it stands for, relative to the repository's root."""

PATIENT_ENOUGH = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""MLflow's own defaults wait for minutes; what could not be logged is logged later. The user's own values win."""

QUIET = {"MLFLOW_LOGGING_LEVEL": "WARNING", "MLFLOW_DISABLE_TELEMETRY": "true"}

_AT_ONCE = {"metrics": 1000, "params": 100}
"""MLflow's limits per request."""


class TrackingError(UserError):
    """The tracking store could not be used. Nothing is lost: artifacts can be logged at any later time."""


@dataclass(frozen=True)
class Counts:
    """What logging did to MLflow runs."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Counts)))

    def __str__(self) -> str:
        words = f"{self.created} created, {self.updated} updated, {self.unchanged} unchanged"
        return f"{words}, {self.removed} removed" if self.removed else words


def log_training(directory: Path) -> None:
    """Logs a finished training; a store that cannot be used costs a printed warning."""
    with _optional():
        Tracker().log([Training.read(directory)])


def log_suite(suite: str, table: "pd.DataFrame | None" = None) -> None:
    """Logs every training under `runs/<suite>`, with its evaluation metrics where the tidy table is given.

    A store that cannot be used costs a printed warning.
    """
    with _optional():
        Tracker().log(trainings(RUNS / suite), table)


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the embedded SQLite store in the repository's root (the current directory)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.resolve().as_posix()}"


def without_password(text: str) -> str:
    """The text with user names and passwords taken out of addresses."""
    return re.sub(r"//[^/@\s]+@", "//***@", text)


class Tracker:
    """One MLflow store.

    Runs belong together by their tags `run` (`demo/fair_tat/s0`) and `weights`. The tag `origin` says what a training
    was decided by, `training` what it left and `evaluation` what its evaluations gave; the latter two are written last, so
    that a run without them is known to be unfinished and is completed.

    Every method raises TrackingError where the store cannot be used.
    """

    def __init__(self, uri: str | None = None) -> None:
        for name, value in (PATIENT_ENOUGH | QUIET).items():
            os.environ.setdefault(name, value)
        self.uri = uri or tracking_uri()
        with self._store() as mlflow:
            self._client: MlflowClient = mlflow.MlflowClient(tracking_uri=self.uri)
        self._experiments: dict[str, str] = {}

    def log(self, found: Sequence[Training], table: "pd.DataFrame | None" = None) -> Counts:
        """Brings the MLflow runs of trainings up to date, of their evaluation metrics only those of the table, if given."""
        counts = Counts()
        metrics = {} if table is None else evaluation_metrics(table)
        with self._store():
            for suite in dict.fromkeys(training.suite for training in found):
                ours = [training for training in found if training.suite == suite]
                known = self._runs(suite, ours[0].run if len(ours) == 1 else None)
                for training in ours:
                    for weights in training.present:
                        evaluation = metrics.get((training.method, training.seed, weights))
                        counts += self._update(training, weights, known.pop((training.run, weights), []), evaluation)
                    for weights in training.absent:
                        counts += self._remove(known.pop((training.run, weights), []))
        return counts

    def begin(self, training: Training, weights: str) -> "Run":
        """The MLflow run to log a running training to: the one it began before it was killed, or a new one."""
        with self._store():
            runs = self._runs(training.suite, training.run).get((training.run, weights), [])
            going_on = [run for run in runs if _same_training(run, training) and "training" not in run.data.tags]
            self._remove([run for run in runs if run not in going_on[:1]])
            run = going_on[0] if going_on else self._create(training, weights)
            self._log_params(run, training)
            self._client.update_run(run.info.run_id, status="RUNNING")
            return run

    def log_epochs(self, run: "Run", epochs: Sequence[Epoch], after: float) -> None:
        """Logs the curves of the epochs later than epoch `after`."""
        from mlflow.entities import Metric

        rows = curves(epochs, started=run.info.start_time, after=after)
        points = [[Metric(key, value, time, step) for key, value in row.items()] for step, time, row in rows]
        if not points:
            return
        with self._store():
            # Whole epochs at once, so that the metric `epoch` never promises more than is there.
            for whole in _batches(points, max(_AT_ONCE["metrics"] // max(map(len, points)), 1)):
                self._client.log_batch(run.info.run_id, metrics=list(chain.from_iterable(whole)))

    def end(self, run: "Run", status: str) -> None:
        """Marks a training that did not finish: FAILED or KILLED."""
        with self._store():
            self._client.set_terminated(run.info.run_id, status)

    def _update(
        self, training: Training, weights: str, runs: list["Run"], evaluation: Mapping[str, float] | None
    ) -> Counts:
        run, *others = sorted(runs, key=lambda run: not _same_training(run, training)) or [None]
        self._remove([other for other in others if other])
        if run and not (_same_training(run, training) and _extends(run, evaluation)):
            # Neither a curve nor a metric can be taken back, so the run makes place for a new one.
            self._remove([run])
            self._complete(self._create(training, weights), training, evaluation)
            return Counts(updated=1)
        outcome = Counts(updated=1) if run else Counts(created=1)
        changed = self._complete(run or self._create(training, weights), training, evaluation)
        return outcome if changed else Counts(unchanged=1)

    def _complete(self, run: "Run", training: Training, evaluation: Mapping[str, float] | None) -> bool:
        """Logs what the run lacks; whether it lacked anything."""
        from mlflow.entities import Metric

        run_id, tags = run.info.run_id, run.data.tags
        unfinished = "training" not in tags
        if unfinished:
            self._log_params(run, training)
            self.log_epochs(run, training.epochs, after=run.data.metrics.get(EPOCH, -1))
            self._client.set_tag(run_id, "training", training.digest)
            ended = run.info.start_time + round(1000 * training.seconds)
            self._client.set_terminated(run_id, "FINISHED", ended)
        if evaluation is None or tags.get("evaluation") == digest_of(evaluation):
            return unfinished
        missing = [
            Metric(key, value, run.info.start_time, 0)
            for key, value in evaluation.items()
            if key not in run.data.metrics
        ]
        for some in _batches(missing, _AT_ONCE["metrics"]):
            self._client.log_batch(run_id, metrics=some)
        self._client.set_tag(run_id, "evaluation", digest_of(evaluation))
        return True

    def _create(self, training: Training, weights: str) -> "Run":
        own = {"run": training.run, "weights": weights, "origin": training.origin}
        shown = {"mlflow.source.git.commit": training.tags.get("commit", "").rstrip("+")}
        return self._client.create_run(
            self._experiment(training.suite),
            start_time=training.started,
            tags={**training.tags, **own, **shown},
            run_name=training.name(weights),
        )

    def _log_params(self, run: "Run", training: Training) -> None:
        from mlflow.entities import Param

        missing = [Param(key, value) for key, value in training.params.items() if key not in run.data.params]
        for some in _batches(missing, _AT_ONCE["params"]):
            self._client.log_batch(run.info.run_id, params=some)

    def _remove(self, runs: Sequence["Run"]) -> Counts:
        for run in runs:
            self._client.delete_run(run.info.run_id)
        return Counts(removed=len(runs))

    def _runs(self, suite: str, run: str | None) -> dict[tuple[str, str], list["Run"]]:
        """The MLflow runs of a suite (of one training, if given), by their tags `run` and `weights`."""
        experiment, token = self._experiment(suite), None
        found: dict[tuple[str, str], list[Run]] = {}
        while True:
            page = self._client.search_runs(
                [experiment], f"tags.run = '{run}'" if run else "", page_token=token, max_results=1000
            )
            for one in page:
                found.setdefault((one.data.tags.get("run", ""), one.data.tags.get("weights", "")), []).append(one)
            token = page.token
            if not token:
                return found

    def _experiment(self, suite: str) -> str:
        """The id of the suite's experiment, made or brought back from the dead where needed."""
        if suite not in self._experiments:
            name = f"{PROJECT}/{suite}"
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                self._experiments[suite] = self._new_experiment(name)
                return self._experiments[suite]
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            self._experiments[suite] = experiment.experiment_id
        return self._experiments[suite]

    def _new_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        embedded = self.uri == f"sqlite:///{STORE.resolve().as_posix()}"
        try:
            return self._client.create_experiment(name, ARTIFACTS.resolve().as_uri() if embedded else None)
        except MlflowException as error:
            # Another process of the same study may have been faster.
            experiment = self._client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                raise
            return experiment.experiment_id

    @contextmanager
    def _store(self) -> Iterator[Any]:
        """Gives mlflow; what goes wrong in its store becomes one TrackingError."""
        import mlflow
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError
        from urllib3.exceptions import HTTPError

        try:
            yield mlflow
        except (MlflowException, RequestException, HTTPError, SQLAlchemyError, OSError, ModuleNotFoundError) as error:
            reason = " ".join(str(error).split())
            reason = reason if len(reason) <= 300 else f"{reason[:300]}..."
            raise TrackingError(
                without_password(
                    f"MLflow's store {self.uri} cannot be used ({reason}). Nothing is lost: once it can, or with another "
                    "MLFLOW_TRACKING_URI, `python -m stages.track` logs everything from the artifacts."
                )
            ) from error


def warn(error: UserError) -> None:
    """Prints what kept something from being logged."""
    errors.print(f"[yellow]Warning:[/] {escape(str(error))}", soft_wrap=True)


@contextmanager
def _optional() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        warn(error)


def _batches(items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def _same_training(run: "Run", training: Training) -> bool:
    """Whether an MLflow run shows this very training, or the finished part of it."""
    tags = run.data.tags
    return tags.get("origin") == training.origin and tags.get("training") in (None, training.digest)


def _extends(run: "Run", evaluation: Mapping[str, float] | None) -> bool:
    """Whether the run's evaluation metrics can become these by logging those that are missing."""
    if evaluation is None or run.data.tags.get("evaluation") == digest_of(evaluation):
        return True
    # Only evaluation metrics have a slash in their key.
    logged = {key: value for key, value in run.data.metrics.items() if "/" in key}
    return all(evaluation.get(key) == value for key, value in logged.items())
