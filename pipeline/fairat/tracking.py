"""MLflow as a projection of artifacts: what it shows can be logged again from what the stages left on disk.

One experiment per suite; in it one MLflow run for each run, weight set and digest of its settings. The same settings trained
again take the place of the earlier MLflow run; other settings of the same method stand beside it.
"""

import hashlib
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from fairat.console import errors, paragraph
from fairat.errors import Hint, UserError, on_one_line
from fairat.files import sha256_of
from fairat.settings.base import verified_content

if TYPE_CHECKING:  # MLflow takes four seconds to import, pandas one
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUNS, STORE = Path("runs"), Path("mlflow.db")
EXPERIMENT = "fair-adversarial-training"
"""Experiments are called `<this>/<suite>`; `MLFLOW_EXPERIMENT_NAME` takes its place."""

DEFAULTS = {
    # A server that hangs costs two attempts of ten seconds; MLflow's own defaults wait for minutes.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Settings of MLflow; the environment's own win."""

ORIGINS = "origins"
"""The attribute of a tidy table that says which weights its numbers are of: some fields of every file's `Origin`."""

TAGS = ("suite", "commit", "fingerprint", "data", "device")
"""What of run.json becomes a tag, besides the tags that tell MLflow runs apart."""

WITH_INTERVAL = ("overall_accuracy", "worst_class_accuracy")
"""Metrics whose confidence interval is logged as well."""

BEGIN_AFTER, PAUSE, RETRY_AFTER = 120.0, 5.0, 600.0
"""Seconds before a running training is shown (starting MLflow takes as long as a demo's training), between two loggings,
and until a store that failed is tried again."""

Epoch = Mapping[str, float]
"""A row of history.csv."""

Training = Mapping[str, Any]
"""The content of run.json, with the rows of history.csv as `history` and the begin, in ms since 1970, as `started`."""


def log_suite(suite: str, table: "pd.DataFrame | None" = None) -> Counter[str]:
    """Makes MLflow show every finished training of a suite, with the numbers that a tidy table has of its weights.

    Returns:
        How many MLflow runs are new, were completed by further numbers, and are unchanged.

    Raises:
        UserError: a directory is not what a training leaves, or MLflow's store cannot be used.
    """
    trainings = [read(directory) for directory in finished(suite)]
    with _opened(suite) as (client, experiment):
        return Counter(what for training in trainings for what in _log(client, experiment, training, table))


def page(suite: str) -> str:
    """Where the MLflow runs of a suite are, once `make ui` runs."""
    uri = tracking_uri()
    server = uri.rstrip("/") if uri.startswith("http") else f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}"
    with _opened(suite) as (_, experiment):
        return without_password(f"{server}/#/experiments/{experiment}/runs?workflowType=machine_learning")


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite store in the repository's root (the current directory)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE.resolve().as_posix()}"


def without_password(text: str) -> str:
    """The text with user names and passwords taken out of addresses."""
    return re.sub(r"//[^/@\s]+@", "//***@", text)


def finished(suite: str) -> list[Path]:
    """The directory of every finished training of a suite."""
    # A name with a leading dot is a directory that is being written.
    return sorted(path.parent for path in (RUNS / suite).glob("[!.]*/s*/run.json"))


def read(directory: Path) -> Training:
    """A finished training, from its directory.

    Raises:
        UserError: run.json or history.csv is missing, or not what a training writes.
    """
    import pandas as pd

    path = directory / "run.json"
    try:
        record = verified_content(path.read_text(encoding="utf-8"))
        training = {
            name: record[name] for name in ("method", "seed", "settings", "versions", "seconds", "weights", *TAGS)
        }
        if sha256_of(directory / "history.csv") != record["files"]["history.csv"]:
            raise ValueError("history.csv is not the file that run.json names")
        history = pd.read_csv(directory / "history.csv", index_col="epoch")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{directory} is not what a training of this version leaves ({type(error).__name__}: {error}). Delete it.",
            Hint.REMAKE,
        ) from None
    started = round(1000 * (path.stat().st_mtime - training["seconds"]))
    return {**training, "history": history.reset_index().to_dict("records"), "started": started}


@contextmanager
def warning_only() -> Iterator[None]:
    """Prints what kept something from being logged, and goes on."""
    try:
        yield
    except UserError as error:
        errors.print(f"[yellow]Warning:[/] {escape(paragraph(error))}", soft_wrap=True)


class Live:
    """Shows a training while it runs, as the MLflow run of its last weights. A store that fails costs warnings only.

    What it does not show (a short training, epochs while the store was out of reach) is logged when the suite is aggregated.
    """

    def __init__(self, record: Mapping[str, Any], *, begin_after: float = BEGIN_AFTER, pause: float = PAUSE) -> None:
        """`record` is the content of run.json as far as it is known before the training."""
        self._training = {**record, "weights": {"last": {"present": True, "sha256": ""}}}
        self._next, self._pause, self._shown = time.monotonic() + begin_after, pause, False

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Takes all epochs so far, those before a resumption too."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + RETRY_AFTER
        started = round(1000 * (time.time() - sum(epoch["seconds"] for epoch in epochs)))
        training = {**self._training, "history": epochs, "started": started}
        with warning_only(), _opened(training["suite"]) as (client, experiment):
            list(_log(client, experiment, training, anew=not self._shown))
            self._shown, self._next = True, time.monotonic() + self._pause

    def finish(self, directory: Path) -> None:
        """Completes a training that is shown from what it left, and adds its other weight sets."""
        if self._shown:
            with warning_only(), _opened(self._training["suite"]) as (client, experiment):
                list(_log(client, experiment, read(directory)))


@contextmanager
def _opened(suite: str) -> Iterator[tuple["MlflowClient", str]]:
    """The client and the id of the suite's experiment, made where it is missing; any failure becomes one UserError."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    uri = tracking_uri()
    try:
        import mlflow
        from filelock import FileLock

        mlflow.set_tracking_uri(uri)
        # Two processes that find an empty SQLite store would both make its tables, and fail.
        with FileLock(f"{uri.removeprefix('sqlite:///')}.lock", 60) if uri.startswith("sqlite:///") else nullcontext():
            experiment = mlflow.set_experiment(f"{os.environ.get('MLFLOW_EXPERIMENT_NAME') or EXPERIMENT}/{suite}")
        yield mlflow.MlflowClient(), experiment.experiment_id
    except UserError:
        raise
    except Exception as error:  # of MLflow, of a database's driver, of the network: no list of them is complete
        reason = on_one_line(error)
        reason = reason if len(reason) <= 300 else f"{reason[:300]}..."
        raise UserError(
            without_password(
                f"MLflow's store {uri} cannot be used ({reason}). Nothing is lost: once it can, or with another "
                f"MLFLOW_TRACKING_URI, `fairat track --suite {suite}` logs everything from the artifacts."
            )
        ) from error


def _log(
    client: "MlflowClient", experiment: str, training: Training, table: "pd.DataFrame | None" = None, anew: bool = False
) -> Iterator[str]:
    """Makes the MLflow run of every weight set show a training as far as it went; yields what became of each.

    Tags say how far that is: `epochs` were logged, and `weights_sha256` is empty until they are all.
    """
    settings = hashlib.sha256(json.dumps(training["settings"], sort_keys=True).encode()).hexdigest()[:16]
    known = {"method": training["method"], "seed": str(training["seed"]), "settings": settings}
    for weights, described in training["weights"].items():
        identity = known | {"weights": weights}
        query = " and ".join(f"tags.{name} = '{value}'" for name, value in identity.items())
        run, ours = None, {(training["fingerprint"], sha256) for sha256 in ("", described["sha256"])}
        for found in client.search_runs([experiment], query):
            tags = found.data.tags
            if run or anew or not described["present"] or (tags["fingerprint"], tags["weights_sha256"]) not in ours:
                client.delete_run(found.info.run_id)
            else:
                run = found
        if described["present"]:
            what = "unchanged" if run else "new"
            run = run or client.create_run(
                experiment,
                start_time=training["started"],
                tags={**identity, **{name: str(training[name]) for name in TAGS}, "weights_sha256": ""},
                run_name=f"{training['method']}-s{training['seed']} ({weights})",
            )
            changed = _complete(client, run, training, described["sha256"])
            changed |= table is not None and _add(client, run, *evaluated(table, training, weights))
            yield "completed" if what == "unchanged" and changed else what


def _complete(client: "MlflowClient", run: "Run", training: Training, sha256: str) -> bool:
    """Logs what an MLflow run lacks of its parameters and curves; says whether that was anything."""
    import pandas as pd
    from mlflow.entities import Metric, Param, RunTag

    run_id, tags, started = run.info.run_id, run.data.tags, run.info.start_time
    if sha256 and tags["weights_sha256"] == sha256:
        return False
    if "epochs" not in tags:
        flat = pd.json_normalize({**training["settings"], "versions": training["versions"]}).iloc[0]
        params = [Param(str(name), str(value)) for name, value in flat.items() if value is not None]
        client.log_batch(run_id, params=params)  # recipe.batch_size and the like
    history, logged = training["history"], int(tags.get("epochs", 0))
    ended = [started + round(1000 * seconds) for seconds in accumulate(epoch["seconds"] for epoch in history)]
    points = [
        Metric(name, value, at, int(epoch["epoch"]))
        for epoch, at in zip(history[logged:], ended[logged:], strict=True)
        for name, value in epoch.items()
        if name != "epoch" and math.isfinite(value)
    ]
    client.log_batch(run_id, metrics=points)
    if sha256:
        client.set_terminated(run_id, "FINISHED", started + round(1000 * training["seconds"]))
    client.log_batch(run_id, tags=[RunTag("epochs", str(len(history))), RunTag("weights_sha256", sha256)])
    return True


def _add(client: "MlflowClient", run: "Run", numbers: Mapping[str, float], commits: Mapping[str, str]) -> bool:
    """Logs the evaluation metrics and commits that an MLflow run lacks; says whether there were any."""
    from mlflow.entities import Metric, RunTag

    known, now = run.data, round(1000 * time.time())
    metrics = [Metric(name, value, now, 0) for name, value in numbers.items() if known.metrics.get(name) != value]
    tags = [RunTag(name, commit) for name, commit in commits.items() if known.tags.get(name) != commit]
    client.log_batch(run.info.run_id, metrics=metrics, tags=tags)
    return bool(metrics or tags)


def evaluated(table: "pd.DataFrame", training: Training, weights: str) -> tuple[dict[str, float], dict[str, str]]:
    """What a tidy table says of one weight set, and the commit of every evaluation; nothing if it is of other weights.

    `pgd10/overall_accuracy`, its interval `pgd10/overall_accuracy_low` and `_high`, `pgd10/class_accuracy/cat`, and
    `corruption/overall_accuracy` (the mean over all corruptions) beside `corruption/overall_accuracy/fog`. Left out are
    undefined values and single classes under single corruptions, which are thousands.
    """
    from fairat.results.aggregation import MEAN

    run, sha256 = (training["method"], training["seed"]), training["weights"][weights]["sha256"]
    origins = [origin for origin in table.attrs.get(ORIGINS, ()) if (origin["method"], origin["seed"]) == run]
    if any(origin["weights_sha256"].get(weights, sha256) != sha256 for origin in origins):
        return {}, {}
    classes = {name: _fit(name, number) for number, name in enumerate(table["class_name"].unique())}
    ours = (table["method"] == run[0]) & (table["seed"] == run[1]) & (table["weights"] == weights)
    metrics: dict[str, float] = {}
    for row in table.loc[ours & ((table["corruption"] == "") | (table["class_name"] == ""))].to_dict("records"):
        detail = classes[row["class_name"]] or row["corruption"].removeprefix(MEAN)
        name = "/".join(part for part in (row["evaluation"], row["metric"], detail) if part)
        metrics[name] = row["value"]
        if row["metric"] in WITH_INTERVAL and not detail:
            metrics |= {f"{name}_low": row["low"], f"{name}_high": row["high"]}
    commits = {f"commit.{origin['evaluation']}": origin["commit"] for origin in origins}
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}, commits


def _fit(name: str, number: int) -> str:
    """A class name as a part of a metric's name: as it is, or made fit for MLflow, with its number to stay unique."""
    fit = re.sub(r"[^\w-]", "_", name)[:80]
    return name if re.fullmatch(r"(\w[\w. -]{,79})?", name) else f"{fit}-{number}"
