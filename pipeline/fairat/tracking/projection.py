"""From artifacts to what MLflow shows of them: tags, parameters, curves and evaluation metrics. Knows no MLflow."""

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from fairat.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

RUNS = Path("runs")
RECORD, HISTORY = "run.json", "history.csv"
EPOCH = "epoch"
ORIGINS = "origins"
"""The attribute of a tidy table that says which weights its numbers are of (`origins`)."""

WITH_INTERVAL = ("overall_accuracy", "worst_class_accuracy")
"""Metrics whose confidence interval is logged as well."""

_LONGEST_NAME = 80

Epoch = Mapping[str, float]
"""The numbers of one epoch, `epoch` among them."""

RunKey = tuple[str, str, str]
"""Method, seed and weights: what tells the MLflow runs of a suite apart."""


class Weights(BaseModel):
    """One weight set, as run.json describes it."""

    present: bool
    sha256: str = ""


class TrackedTraining(BaseModel, frozen=True):
    """One training as MLflow shows it: a part of run.json, and the curves. Other keys of run.json are let pass.

    Attributes:
        curves: the rows of history.csv.
        started: in milliseconds since 1970.
        digest: hash of run.json and history.csv; empty while the training runs.
    """

    suite: str
    method: str
    seed: int
    settings: dict[str, Any]
    fingerprint: str
    data: str
    commit: str
    versions: dict[str, str]
    device: str
    seconds: float
    weights: dict[str, Weights]
    curves: tuple[dict[str, float], ...] = ()
    started: int = 0
    digest: str = ""

    @classmethod
    def read(cls, directory: Path) -> "TrackedTraining":
        """A finished training, from its directory.

        Raises:
            UserError: run.json or history.csv is missing, or not what a training writes.
        """
        path = directory / RECORD
        try:
            record, history = (file.read_bytes() for file in (path, directory / HISTORY))
            training = cls.model_validate(json.loads(record) | {"curves": tuple(_epochs(history.decode()))})
        except FileNotFoundError as error:
            raise UserError(
                f"There is no finished training in {directory} ({Path(error.filename).name} is missing). "
                "Train it with `dvc repro`."
            ) from None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{directory} is not what a training of this version leaves ({_reason(error)}). "
                "Delete it and train the run again with `dvc repro`."
            ) from None
        started = round(1000 * (path.stat().st_mtime - training.seconds))
        return training.model_copy(update={"started": started, "digest": _digest(record + history)})

    @property
    def tags(self) -> dict[str, str]:
        """What the MLflow runs of all weight sets are found by."""
        named = ("suite", "method", "seed", "commit", "fingerprint", "data", "device")
        return {name: str(getattr(self, name)) for name in named}

    @property
    def params(self) -> dict[str, str]:
        """Every number that decided the training, as `recipe.batch_size`, and the versions it ran with."""
        return dict(_flat({**self.settings, "versions": self.versions}))

    @property
    def present(self) -> list[str]:
        """The weight sets that the training left."""
        return [name for name, weights in self.weights.items() if weights.present]

    def key(self, weights: str) -> RunKey:
        """Which MLflow run of the suite shows these weights."""
        return self.method, str(self.seed), weights


def trainings(suite: str) -> list[TrackedTraining]:
    """Every finished training of a suite, in the order of seeds and methods.

    Raises:
        UserError: a directory is not what a training leaves.
    """
    # A name with a leading dot is a directory that is being written.
    directories = sorted(path.parent for path in RUNS.glob(f"{suite}/s*/[!.]*/{RECORD}"))
    return [TrackedTraining.read(directory) for directory in directories]


def points(epochs: Sequence[Epoch], *, started: int) -> Iterator[tuple[int, int, dict[str, float]]]:
    """Number, time and finite metrics of every epoch; the time is `started` plus the seconds of all so far, in ms."""
    elapsed = accumulate(epoch.get("seconds", 0.0) for epoch in epochs)
    for epoch, seconds in zip(epochs, elapsed, strict=True):
        values = {name: value for name, value in epoch.items() if name != EPOCH and math.isfinite(value)}
        yield int(epoch[EPOCH]), started + round(1000 * seconds), values


def origins(files: Iterable[Path]) -> list[dict[str, Any]]:
    """Which weights every file of evidence is of, and the commit it was evaluated at; reads no rows.

    A tidy table keeps this as its attribute `ORIGINS`, so that its numbers are never shown beside other weights.
    """
    from fairat.results.evidence import read_origin

    wanted = {"method", "seed", "evaluation", "commit", "weights_sha256"}
    return [read_origin(path).model_dump(include=wanted) for path in files]


def evaluation_tags(table: "pd.DataFrame", training: TrackedTraining, weights: str) -> dict[str, str] | None:
    """The commit of every evaluation, as `commit.pgd`; None if the table has numbers of other weights than these."""
    ours = [
        origin
        for origin in table.attrs.get(ORIGINS, ())
        if (origin["method"], origin["seed"]) == (training.method, training.seed)
        and weights in origin["weights_sha256"]
    ]
    if any(origin["weights_sha256"][weights] != training.weights[weights].sha256 for origin in ours):
        return None
    return {f"commit.{origin['evaluation']}": origin["commit"] for origin in ours}


def evaluation_metrics(table: "pd.DataFrame") -> dict[RunKey, dict[str, float]]:
    """The metrics of every weight set in the tidy table of one suite, by the keys they have in MLflow.

    `pgd10/overall_accuracy`, its interval `pgd10/overall_accuracy_low` and `_high`, `pgd10/class_accuracy/cat`, and
    `corruption/overall_accuracy` (the mean over all corruptions) beside `corruption/overall_accuracy/fog`. MLflow draws one
    section of charts for what shares everything before the last slash. Single classes under single corruptions are left
    out: they are thousands, and the tidy table has them. Undefined values are left out, too.
    """
    from fairat.results.aggregation import MEAN

    classes = unique_names(table["class_name"].unique())
    metrics: dict[RunKey, dict[str, float]] = {}
    for row in table.loc[(table["corruption"] == "") | (table["class_name"] == "")].to_dict("records"):
        detail = classes[row["class_name"]] or row["corruption"].removeprefix(MEAN)
        key = "/".join(part for part in (row["evaluation"], row["metric"], detail) if part)
        values = {key: row["value"]}
        if row["metric"] in WITH_INTERVAL and not detail:
            values |= {f"{key}_low": row["low"], f"{key}_high": row["high"]}
        found = metrics.setdefault((row["method"], str(row["seed"]), row["weights"]), {})
        found |= {name: float(value) for name, value in values.items() if math.isfinite(value)}
    return metrics


def accuracies(metrics: Mapping[RunKey, Mapping[str, float]]) -> list[str]:
    """The keys of what a table of results shows: overall and worst-class accuracy of every evaluation."""
    keys = dict.fromkeys(key for values in metrics.values() for key in values)
    return [key for key in keys if key.endswith(WITH_INTERVAL)]


def unique_names(names: Iterable[str]) -> dict[str, str]:
    """A name fit for MLflow's keys for each name; where two would become one, the later gets a number. Empty stays empty."""
    taken: dict[str, str] = {}
    for name in names:
        fit, number = _fit(name) if name else "", 2
        while fit in taken.values():
            fit, number = f"{_fit(name)}-{number}", number + 1
        taken[name] = fit
    return taken


def _fit(text: str) -> str:
    """One part of a key: letters, digits, `_`, `-`, `.` and inner spaces, which every MLflow store takes."""
    fit = re.sub(r"[^\w\-. ]", "_", text)[:_LONGEST_NAME].strip()
    # A key is a path: an empty part, `.` and `..` would point elsewhere.
    return fit if fit.strip(".") else "_" * max(len(fit), 1)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `recipe.batch_size` and the value as text, lists as JSON; what is not set is left out."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _epochs(text: str) -> Iterator[dict[str, float]]:
    for row in csv.DictReader(text.splitlines()):
        values = {name: float(cell) for name, cell in row.items() if cell}
        if EPOCH not in values:
            raise ValueError(f"{HISTORY}: a row has no {EPOCH}")
        yield values


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{RECORD}: {'.'.join(map(str, first['loc']))}: {first['msg']}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
