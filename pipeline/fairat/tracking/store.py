"""Writes projections to MLflow: creates what is missing, replaces what changed, leaves the rest alone."""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.markup import escape

from fairat.console import errors
from fairat.errors import UserError
from fairat.tracking.projection import (
    Epoch,
    RunKey,
    TrackedTraining,
    accuracies,
    evaluation_metrics,
    evaluation_tags,
    points,
    trainings,
)

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Experiment, Run

_Item = TypeVar("_Item")

STORE = Path("mlflow.db")
"""The embedded store, relative to the repository's root."""

EXPERIMENT = "fair-adversarial-training"
"""Experiments are called `<this>/<suite>`; `MLFLOW_EXPERIMENT_NAME` takes its place."""

DEFAULTS = {
    # MLflow's own defaults wait for minutes; what could not be logged is logged later.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Settings of MLflow; where the environment has its own, that wins."""

OPENED_AFTER = 60.0
"""Seconds to wait for another process that is opening the embedded store; making its tables takes up to ten."""

METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100
"""MLflow's limits per request."""

DIGEST = "digest"
"""The tag that is written when an MLflow run shows a training whole: the hash of what the training left."""

VIEW = "mlflow.sharedViewState."
"""What begins the tag of an experiment that holds a view of its runs, offered under "Views" on MLflow's page."""

CURVES = {"searchFilter": "tags.weights = 'last'", "chartsSearchFilter": "^(train|validation)_"}
"""A view of charts: the curves, once for every training, whose weight sets share them."""


def log_suite(suite: str, table: "pd.DataFrame") -> None:
    """Logs every training of a suite with its evaluations; what goes wrong costs a printed warning."""
    with warning_only():
        outcome = Tracker(suite).log(trainings(suite), table)
        if outcome["outdated"]:
            raise UserError(
                f"{outcome['outdated']} weight sets of {suite} were trained again after their evaluation, whose numbers "
                "MLflow therefore does not show. `dvc repro` evaluates them."
            )


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the embedded SQLite store in the repository's root (the current directory)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.resolve().as_posix()}"


def without_password(text: str) -> str:
    """The text with user names and passwords taken out of addresses."""
    return re.sub(r"//[^/@\s]+@", "//***@", text)


@contextmanager
def warning_only() -> Iterator[None]:
    """Prints what kept something from being logged, and goes on."""
    try:
        yield
    except UserError as error:
        errors.print(f"[yellow]Warning:[/] {escape(str(error))}", soft_wrap=True)


class Tracker:
    """The MLflow experiment of one suite.

    Its runs are told apart by their tags `method`, `seed` and `weights`. Neither a curve nor a metric can be taken back
    from an MLflow run, so a run that shows anything else than the artifacts is deleted and logged anew.

    Every method raises UserError where the store cannot be used.
    """

    def __init__(self, suite: str) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        self.suite, self.uri = suite, tracking_uri()
        with self._store(), self._alone():
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri)
            self._experiment = self._opened_experiment()

    @property
    def page(self) -> str:
        """Where the suite's table of accuracies is, once `make ui` runs."""
        port = os.environ.get("MLFLOW_PORT", "5000")
        server = self.uri if self.uri.startswith("http") else f"http://127.0.0.1:{port}"
        runs = f"{server.rstrip('/')}/#/experiments/{self._experiment.experiment_id}/runs"
        return without_password(f"{runs}?workflowType=machine_learning&viewStateShareKey=accuracies")

    def log(self, found: Sequence[TrackedTraining], table: "pd.DataFrame | None" = None) -> Counter[str]:
        """Makes the MLflow runs of trainings show what these left, and their numbers in the tidy table.

        Returns:
            How many MLflow runs were created, replaced, completed, removed and left unchanged, and how many weight sets
            are outdated in the table.
        """
        outcome: Counter[str] = Counter()
        metrics = {} if table is None else evaluation_metrics(table)
        with self._store():
            if metrics:
                self._offer_accuracies(accuracies(metrics))
            known = self._runs()
            for training in found:
                for weights in training.present:
                    tags = {} if table is None else evaluation_tags(table, training, weights)
                    outcome["outdated"] += tags is None
                    evaluation = {} if tags is None else metrics.get(training.key(weights), {})
                    runs = known.pop(training.key(weights), [])
                    outcome[self._update(training, weights, runs, evaluation, tags or {})] += 1
                for weights in training.weights:
                    outcome["removed"] += self._remove(known.pop(training.key(weights), []))
        return +outcome

    def begin(self, training: TrackedTraining, weights: str) -> str:
        """Starts the MLflow run of a running training, in place of all runs of an earlier one; gives its id."""
        with self._store():
            for (method, seed, _), runs in self._runs().items():
                if (method, seed) == (training.method, str(training.seed)):
                    self._remove(runs)
            return self._create(training, weights)

    def log_epochs(self, run_id: str, epochs: Sequence[Epoch], *, started: int, after: int = 0) -> None:
        """Logs the curves of all epochs but the first `after`; `started` is the training's, in ms since 1970."""
        from mlflow.entities import Metric

        rows = list(points(epochs, started=started))[after:]
        metrics = [Metric(key, value, at, step) for step, at, row in rows for key, value in row.items()]
        with self._store():
            for batch in _batches(metrics, METRICS_AT_ONCE):
                self._client.log_batch(run_id, metrics=batch)

    def finish(self, run_id: str, training: TrackedTraining, weights: str) -> None:
        """Marks an MLflow run that has all curves of a finished training."""
        from mlflow.entities import RunTag

        left = {"weights_sha256": training.weights[weights].sha256, DIGEST: training.digest}
        with self._store():
            self._client.set_terminated(run_id, "FINISHED", training.started + round(1000 * training.seconds))
            self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in left.items()])

    def end(self, run_id: str, status: str) -> None:
        """Marks the MLflow run of a training that did not finish: FAILED or KILLED."""
        with self._store():
            self._client.set_terminated(run_id, status)

    def _update(
        self,
        training: TrackedTraining,
        weights: str,
        runs: Sequence["Run"],
        evaluation: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> str:
        from mlflow.entities import Metric, RunTag

        kept = next((run for run in runs if _shows(run, training, evaluation)), None)
        self._remove([run for run in runs if run is not kept])
        if kept is None:
            run_id, logged, tagged = self._create(training, weights), {}, {}
            self.log_epochs(run_id, training.curves, started=training.started)
            self.finish(run_id, training, weights)
        else:
            run_id, logged, tagged = kept.info.run_id, kept.data.metrics, kept.data.tags
        lacking = [Metric(key, value, training.started, 0) for key, value in evaluation.items() if key not in logged]
        for batch in _batches(lacking, METRICS_AT_ONCE):
            self._client.log_batch(run_id, metrics=batch)
        changed = [RunTag(name, value) for name, value in tags.items() if tagged.get(name) != value]
        if changed:
            self._client.log_batch(run_id, tags=changed)
        if kept is None:
            return "replaced" if runs else "created"
        return "completed" if lacking or changed else "unchanged"

    def _create(self, training: TrackedTraining, weights: str) -> str:
        from mlflow.entities import Param

        shown = {"mlflow.source.git.commit": training.commit.rstrip("+"), "mlflow.source.name": "stages.train"}
        run = self._client.create_run(
            self._experiment.experiment_id,
            start_time=training.started,
            tags={**training.tags, "weights": weights, **shown},
            run_name=f"{training.method}-s{training.seed} ({weights})",
        )
        params = [Param(key, value) for key, value in training.params.items()]
        for batch in _batches(params, PARAMS_AT_ONCE):
            self._client.log_batch(run.info.run_id, params=batch)
        return run.info.run_id

    def _remove(self, runs: Sequence["Run"]) -> int:
        for run in runs:
            self._client.delete_run(run.info.run_id)
        return len(runs)

    def _runs(self) -> dict[RunKey, list["Run"]]:
        found: dict[RunKey, list[Run]] = {}
        token = None
        while True:
            page = self._client.search_runs([self._experiment.experiment_id], max_results=1000, page_token=token)
            for run in page:
                method, seed, weights = (run.data.tags.get(name, "") for name in ("method", "seed", "weights"))
                found.setdefault((method, seed, weights), []).append(run)
            token = page.token
            if not token:
                return found

    def _opened_experiment(self) -> "Experiment":
        """The suite's experiment, made or brought back from the dead where needed."""
        from mlflow.exceptions import MlflowException

        name = f"{os.environ.get('MLFLOW_EXPERIMENT_NAME') or EXPERIMENT}/{self.suite}"
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                # Not added later: trainings that begin at the same time would collide.
                tags = _view("Curves", CURVES, round(1000 * time.time()))
                return self._client.get_experiment(self._client.create_experiment(name, tags=tags))
            except MlflowException as error:
                # Another training of the same study may have been faster.
                experiment = self._client.get_experiment_by_name(name)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                    raise
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return experiment

    def _offer_accuracies(self, keys: Sequence[str]) -> None:
        columns = [f"metrics.`{key}`" for key in keys]
        # The filter leaves out weight sets that no evaluation has seen.
        state = {"selectedColumns": columns, "searchFilter": f"{columns[0]} >= 0"}
        for key, value in _view("Accuracies", state, self._experiment.creation_time or 0).items():
            if self._experiment.tags.get(key) != value:
                self._client.set_experiment_tag(self._experiment.experiment_id, key, value)

    def _alone(self) -> AbstractContextManager[object]:
        """Keeps other processes from opening an SQLite store: two that find it empty both make its tables, and fail."""
        if not self.uri.startswith("sqlite:///"):
            return nullcontext()
        from filelock import FileLock

        return FileLock(f"{self.uri.removeprefix('sqlite:///')}.lock", timeout=OPENED_AFTER)

    @contextmanager
    def _store(self) -> Iterator[None]:
        """Turns what goes wrong in MLflow's store into one UserError."""
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (
            MlflowException,
            RequestException,
            HTTPError,
            SQLAlchemyError,
            CommandError,
            OSError,
            ModuleNotFoundError,
        ) as error:
            reason = " ".join(str(error).split())
            reason = reason if len(reason) <= 300 else f"{reason[:300]}..."
            raise UserError(
                without_password(
                    f"MLflow's store {self.uri} cannot be used ({reason}). Nothing is lost: once it can, or with another "
                    f"MLFLOW_TRACKING_URI, `fairat track --suite {self.suite}` logs everything from the artifacts."
                )
            ) from error


def _view(name: str, state: Mapping[str, Any], created: int) -> dict[str, str]:
    """The tag that puts columns, a filter or a choice of charts under "Views" (MLflow 3.17; others let it pass)."""
    view = {"name": name, "createdAt": created, "updatedAt": created, "state": json.dumps(state)}
    return {f"{VIEW}{name.lower()}": json.dumps(view)}


def _batches(items: Sequence[_Item], size: int) -> Iterator[list[_Item]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))


def _shows(run: "Run", training: TrackedTraining, evaluation: Mapping[str, float]) -> bool:
    """Whether an MLflow run shows this very training, whole, and no number that its evaluations do not have."""
    # Only evaluation metrics have a slash in their key.
    evaluated = {key: value for key, value in run.data.metrics.items() if "/" in key}
    return run.data.tags.get(DIGEST) == training.digest and all(
        evaluation.get(key) == value for key, value in evaluated.items()
    )
