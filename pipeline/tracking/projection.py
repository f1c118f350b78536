"""From artifacts to what MLflow should hold of them: tags, parameters, curves and evaluation metrics. Knows no MLflow."""

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from pipeline.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

RECORD, HISTORY = "run.json", "history.csv"
EPOCH = "epoch"
"""The column that numbers the epochs. As a metric it tells how far the curves of an MLflow run reach."""

WITH_INTERVAL = ("overall_accuracy", "worst_class_accuracy")
"""Metrics whose confidence interval is logged as well."""

_KNOWN_AFTERWARDS = ("weights", "seconds", "peak_memory")
_LONGEST_NAME = 80

Epoch = Mapping[str, float]
"""The numbers of one epoch, `epoch` among them."""


class _Weights(BaseModel):
    present: bool


class _Record(BaseModel):
    """The part of run.json that is shown. Tolerates other keys: an older training can still be looked at."""

    suite: str
    method: str
    seed: int
    settings: dict[str, Any] = {}
    fingerprint: str = ""
    data: str = ""
    commit: str = ""
    versions: dict[str, str] = {}
    device: str = ""
    seconds: float = 0.0
    weights: dict[str, _Weights] = {}


@dataclass(frozen=True)
class Training:
    """One training as MLflow shows it.

    Attributes:
        tags, params: of the MLflow runs of all its weight sets.
        epochs: the rows of history.csv, numeric cells only.
        origin: hash of everything that decides the training; known before it begins.
        digest: hash of what it left; empty while it runs.
        present, absent: the weight sets that there are, and those that there are not.
        started: in milliseconds since 1970.
        seconds: how long it took.
    """

    suite: str
    method: str
    seed: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    epochs: Sequence[Epoch]
    origin: str
    digest: str
    present: tuple[str, ...]
    absent: tuple[str, ...]
    started: int
    seconds: float

    @property
    def run(self) -> str:
        """The tag that the MLflow runs of this training share; free of quotes, which MLflow's search cannot escape."""
        return quote(f"{self.suite}/{self.method}/s{self.seed}")

    def name(self, weights: str) -> str:
        """How MLflow calls the run of a weight set; the suite is the experiment's name."""
        return f"{self.method}-s{self.seed} ({weights})"

    @classmethod
    def read(cls, directory: Path) -> "Training":
        """A finished training, from its directory.

        Raises:
            UserError: run.json or history.csv is missing, or not what a training writes.
        """
        path = directory / RECORD
        try:
            contents = [(directory / name).read_bytes() for name in (RECORD, HISTORY)]
            epochs = list(_epochs(contents[1].decode()))
            digest = _digest(b"".join(contents))
            started = path.stat().st_mtime
            return cls._of(json.loads(contents[0]), epochs=epochs, digest=digest, ended=started)
        except FileNotFoundError as error:
            raise UserError(
                f"There is no finished training in {directory} ({Path(error.filename).name} is missing). "
                "Train it with `dvc repro`."
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise _unreadable(directory, f"{RECORD}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ValueError as error:
            raise _unreadable(directory, str(error)) from None

    @classmethod
    def begun(cls, record: Mapping[str, Any], at: float) -> "Training":
        """A training that runs, from the content of its future run.json; `at` is in seconds since 1970."""
        return cls._of({**record, "weights": {}, "seconds": 0.0}, epochs=[], digest="", ended=at)

    @classmethod
    def _of(cls, content: Any, *, epochs: Sequence[Epoch], digest: str, ended: float) -> "Training":
        record = _Record.model_validate(content)
        decided = {key: value for key, value in content.items() if key not in (*_KNOWN_AFTERWARDS, "commit")}
        shown = ("suite", "method", "seed", "commit", "fingerprint", "data", "device")
        versions = {f"versions.{package}": version for package, version in record.versions.items()}
        return cls(
            suite=record.suite,
            method=record.method,
            seed=record.seed,
            tags={name: str(getattr(record, name)) for name in shown},
            params={_fit(name): value for name, value in _flat({**record.settings, **versions})},
            epochs=epochs,
            origin=_digest(json.dumps(decided, sort_keys=True).encode()),
            digest=digest,
            present=tuple(name for name, weights in record.weights.items() if weights.present),
            absent=tuple(name for name, weights in record.weights.items() if not weights.present),
            started=round(1000 * (ended - record.seconds)),
            seconds=record.seconds,
        )


def trainings(root: Path) -> list[Training]:
    """Every finished training under `runs/<suite>`, in the order of seeds and methods.

    Raises:
        UserError: a directory is not what a training leaves.
    """
    # A name with a leading dot is a directory that is being written.
    directories = sorted(path.parent for path in root.glob(f"s*/*/{RECORD}") if not path.parent.name.startswith("."))
    return [Training.read(directory) for directory in directories]


def curves(epochs: Sequence[Epoch], *, started: int, after: float) -> Iterator[tuple[int, int, dict[str, float]]]:
    """Number, time and metrics of every epoch later than epoch `after`.

    The time is `started` plus the seconds of all epochs so far, in milliseconds: logging an epoch twice repeats itself.
    """
    elapsed = accumulate(epoch.get("seconds", 0.0) for epoch in epochs)
    for epoch, seconds in zip(epochs, elapsed, strict=True):
        if epoch[EPOCH] > after:
            values = {_fit(name): value for name, value in epoch.items()}
            yield int(epoch[EPOCH]), started + round(1000 * seconds), values


def evaluation_metrics(table: "pd.DataFrame") -> dict[tuple[str, int, str], dict[str, float]]:
    """The metrics of every (method, seed, weights) in the tidy table of one suite, by the keys they have in MLflow.

    `pgd10/overall_accuracy`, `pgd10/overall_accuracy/low`, `pgd10/class_accuracy/cat`, `corruption/fog/overall_accuracy`.
    Single classes under single corruptions are left out: they are thousands, and the tidy table has them. Undefined values
    are left out, too.
    """
    names = {column: unique_names(table[column].unique()) for column in ("corruption", "class_name")}
    metrics: dict[tuple[str, int, str], dict[str, float]] = {}
    for row in table[(table["corruption"] == "") | (table["class_name"] == "")].to_dict("records"):
        corruption, class_name = (names[column][row[column]] for column in ("corruption", "class_name"))
        key = "/".join(part for part in (row["evaluation"], corruption, row["metric"], class_name) if part)
        values = {key: row["value"]}
        if row["metric"] in WITH_INTERVAL:
            values |= {f"{key}/low": row["low"], f"{key}/high": row["high"]}
        found = metrics.setdefault((row["method"], row["seed"], row["weights"]), {})
        found |= {key: float(value) for key, value in values.items() if math.isfinite(value)}
    return metrics


def unique_names(names: Iterable[str]) -> dict[str, str]:
    """A name fit for MLflow's keys for each name; where two would become one, the later gets a number. Empty stays empty."""
    taken: dict[str, str] = {}
    for name in names:
        fit, number = _fit(name) if name else "", 2
        while fit in taken.values():
            fit, number = f"{_fit(name)}-{number}", number + 1
        taken[name] = fit
    return taken


def digest_of(metrics: Mapping[str, float]) -> str:
    """A hash of metrics, whatever their order."""
    return _digest(json.dumps(metrics, sort_keys=True).encode())


def _fit(text: str) -> str:
    """One part of a key: letters, digits, `_`, `-`, `.` and inner spaces, which every MLflow store takes."""
    fit = re.sub(r"[^\w\-. ]", "_", text)[:_LONGEST_NAME].strip()
    # A key is a path: an empty part, `.` and `..` would point elsewhere.
    return fit if fit.strip(".") else "_" * max(len(fit), 1)


def _unreadable(directory: Path, reason: str) -> UserError:
    return UserError(
        f"{directory} is not what a training of this version leaves ({reason}). "
        "Delete it and train the run again with `dvc repro`."
    )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `recipe.batch_size` and the value as text; lists as JSON."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def _epochs(text: str) -> Iterator[dict[str, float]]:
    for row in csv.DictReader(text.splitlines()):
        values = {name: float(cell) for name, cell in row.items() if cell}
        if EPOCH not in values:
            raise ValueError(f"{HISTORY}: a row has no {EPOCH}")
        yield {name: value for name, value in values.items() if math.isfinite(value)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
