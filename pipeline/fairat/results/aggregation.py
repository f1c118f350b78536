"""From the evidence of many runs to one tidy table: a row per metric, with its confidence interval."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int

from fairat.errors import Hint, UserError, on_one_line
from fairat.files import whole_file
from fairat.paths import EVALUATIONS
from fairat.results import metrics
from fairat.results.bootstrap import Bootstrap
from fairat.results.evidence import Origin, read_evidence

KEYS = ("suite", "method", "seed", "weights", "evaluation", "corruption")
COLUMNS = (*KEYS, "metric", "class_name", "value", "low", "high", "images")
"""The tidy table. `evaluation` is clean, pgd<steps>, autoattack, square, corruption or steps; `corruption` is empty for the
others, and `mean` for the mean over all corruptions; `class_name` is empty for metrics of all classes; accuracies are
fractions in [0, 1]; `images` counts the predictions the value was computed from, all classes together."""

MEAN = "mean"
_ACCURACIES = {
    "overall_accuracy": metrics.overall_accuracy,
    "worst_class_accuracy": metrics.worst_class_accuracy,
    "minimum_class_accuracy": metrics.minimum_class_accuracy,
    "class_accuracy": metrics.class_accuracies,
}
_ERRORS = {"class_accuracy_ovr": metrics.class_accuracy_ovr, "cfps": metrics.cfps}
_HEADLINES = {
    ("clean", "overall_accuracy"): "clean",
    ("pgd", "overall_accuracy"): "{}",
    ("pgd", "worst_class_accuracy"): "{}_worst",
}
"""Evaluation (without its steps) and metric -> the name of its number in the headline."""


@dataclass(frozen=True)
class Tally:
    """The counts of one weight set under one evaluation.

    Attributes:
        confusion: `confusion[y, k]` predictions of images of class `y` were `k`.
        hits: `hits[y, c]` images of class `y` were right in `c` of their predictions (one, or one per severity). The
            mean over corruptions, of which only the overall accuracy is asked, has one row for all classes.
        pairs: of an attack, the images of each class by whether the clean and the attacked prediction was right, see
            `fairat.results.metrics.paired_bat_errors`.
        steps: of evidence of steps, `steps[y, t]` images of class `y` were first predicted wrong after `t` steps.
    """

    origin: Origin
    weights: str
    evaluation: str
    corruption: str
    confusion: Int[np.ndarray, "class class"]
    hits: Int[np.ndarray, "group outcomes"]
    pairs: Int[np.ndarray, "class 2 2"] | None = None
    steps: Int[np.ndarray, "class step"] | None = None

    @property
    def run(self) -> tuple[str, str, int]:
        """Suite, method and seed."""
        return self.origin.suite, self.origin.method, self.origin.seed

    @property
    def keys(self) -> tuple[str, str, int, str, str, str]:
        """The values of the columns `KEYS`."""
        return (*self.run, self.weights, self.evaluation, self.corruption)

    @property
    def images(self) -> int:
        """How many predictions were counted."""
        return int(self.confusion.sum())


def aggregate(files: Sequence[Path], bootstrap: Bootstrap | None = None) -> pd.DataFrame:
    """The tidy table of every file of evidence, with the columns `COLUMNS`; its order does not depend on that of files.

    Clean accuracies come from the attack's evidence that has the most images. A corruption pools its five severities
    and has accuracies only; `mean` has the overall accuracy only.

    Raises:
        UserError: there are no files, one cannot be used, or two contradict each other.
    """
    bootstrap = bootstrap or Bootstrap()
    rows = [
        (*tally.keys, metric, class_name, value, low, high, tally.images)
        for tally in tallies(files)
        for metric, class_name, value, low, high in _numbers(tally, bootstrap)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def confusions(files: Sequence[Path]) -> pd.DataFrame:
    """Every cell of every confusion matrix: `KEYS`, true and predicted class name, count.

    A matrix is complete, with its classes in order; corruptions pool their severities.

    Raises:
        UserError: as `aggregate`.
    """
    parts = []
    for tally in tallies(files):
        if tally.corruption == MEAN:
            continue
        names = np.array(tally.origin.class_names)
        cells = {"true": names.repeat(len(names)), "predicted": np.tile(names, len(names))}
        parts.append(
            pd.DataFrame(dict(zip(KEYS, tally.keys, strict=True)) | cells | {"count": tally.confusion.ravel()})
        )
    return pd.concat(parts, ignore_index=True)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean and sample standard deviation (n - 1; nan for one seed) of `value`, and how many seeds have a value."""
    keys = [column for column in (*KEYS, "metric", "class_name") if column != "seed"]
    values = table.groupby(keys, sort=False, observed=True)["value"]
    return pd.DataFrame({"mean": values.mean(), "std": values.std(), "seeds": values.count()}).reset_index()


def headline(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The few numbers of one suite that DVC shows and compares; its metrics have a column, or a line, per number.

    Of the last weights of each method: overall accuracy of clean images and overall and worst-class accuracy under PGD,
    means over seeds, rounded to four decimals. All the rest is in the table itself.
    """
    assert len(set(table["suite"])) <= 1, "a headline is of one suite"
    means = over_seeds(table)
    means = means[(means["weights"] == "last") & (means["corruption"] == "")]
    numbers: dict[str, dict[str, float]] = {}
    columns = (means[name].tolist() for name in ("method", "evaluation", "metric", "mean"))
    for method, evaluation, metric, mean in zip(*columns, strict=True):
        name = _HEADLINES.get((evaluation.rstrip("0123456789"), metric))
        if name is not None and not isnan(mean):
            numbers.setdefault(method, {})[name.format(evaluation)] = round(mean, 4)
    return numbers


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Writes the tidy table as Parquet, whole or not at all."""
    assert list(frame.columns) == list(COLUMNS), f"columns {list(frame.columns)}, not {list(COLUMNS)}"
    with whole_file(path) as beside:
        frame.to_parquet(beside, compression="zstd", index=False)


def read_table(path: Path) -> pd.DataFrame:
    """Reads what `write_table` wrote.

    Raises:
        UserError: the file is missing, or no tidy table.
    """
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"There is no table {path}: nothing was aggregated yet.", Hint.MAKE) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({on_one_line(error)}). Delete it.", Hint.REMAKE) from None
    if list(frame.columns) != list(COLUMNS):
        raise UserError(
            f"{path} is not a tidy table: it has the columns {', '.join(map(str, frame.columns))}, not "
            f"{', '.join(COLUMNS)}. Delete it.",
            Hint.REMAKE,
        )
    return frame


def tallies(files: Sequence[Path]) -> list[Tally]:
    """The counts of every weight set under every evaluation, run by run, clean first.

    Raises:
        UserError: there are no files, one cannot be used, or two contradict each other.
    """
    if not files:
        raise UserError(
            "There is no evidence to aggregate: no file results/<evaluation>/<suite>/<method>/s<seed>.parquet was given. "
            "Evaluate a run first.",
            Hint.MAKE,
        )
    origins: dict[Path, Origin] = {}
    counted: list[Tally] = []
    for path in files:
        frame, origin = read_evidence(path)
        _refuse_contradiction(path, origin, origins)
        origins[path] = origin
        counters = {"corruptions": _corruption_tallies, "steps": _steps_tallies}
        counted.extend(counters.get(origin.evaluation, _attack_tallies)(frame, origin))
    counted.sort(key=lambda tally: (tally.run, EVALUATIONS.index(tally.origin.evaluation)))
    return [tally for _, run in groupby(counted, key=lambda tally: tally.run) for tally in _clean_once(list(run))]


def _refuse_contradiction(path: Path, origin: Origin, earlier: Mapping[Path, Origin]) -> None:
    """UserError where a file cannot belong to the same run as an earlier one that names the same run."""
    for other, theirs in earlier.items():
        if (theirs.suite, theirs.method, theirs.seed) != (origin.suite, origin.method, origin.seed):
            continue
        shared = origin.weights_sha256.keys() & theirs.weights_sha256.keys()
        changed = sorted(name for name in shared if origin.weights_sha256[name] != theirs.weights_sha256[name])
        if origin.evaluation == theirs.evaluation:
            problem = f"both are its evidence of {origin.evaluation}. Delete the one that does not belong there"
            hint = None
        elif origin.class_names != theirs.class_names:
            problem, hint = "their class names differ", Hint.REMAKE
        elif changed:
            problem, hint = f"they evaluate different {changed[0]} weights", Hint.REMAKE
        else:
            continue
        run = f"{origin.suite}/{origin.method}/s{origin.seed}"
        raise UserError(f"{other} and {path} cannot both belong to the run {run}: {problem}.", hint)


def _clean_once(run: Sequence[Tally]) -> Iterator[Tally]:
    """The tallies of one run, clean ones first: of each weight set the one with the most images, the first of several."""
    clean = [tally for tally in run if tally.evaluation == "clean"]
    for weights in dict.fromkeys(tally.weights for tally in clean):
        yield max((tally for tally in clean if tally.weights == weights), key=lambda tally: tally.images)
    yield from (tally for tally in run if tally.evaluation != "clean")


def _attack_tallies(frame: pd.DataFrame, origin: Origin) -> Iterator[Tally]:
    (all_weights, attacks), labels, clean = _arranged(frame, origin, "clean")
    _, _, adversarial = _arranged(frame, origin, "adversarial")
    for number, weights in enumerate(all_weights):
        yield Tally(origin, weights, "clean", "", *_counts(labels, clean[number, :1], origin))
        for attack, predictions in zip(attacks, adversarial[number], strict=True):
            pairs = np.zeros((len(origin.class_names), 2, 2), dtype=np.int64)
            np.add.at(pairs, (labels, (clean[number, 0] == labels).astype(int), (predictions == labels).astype(int)), 1)
            yield Tally(origin, weights, attack, "", *_counts(labels, predictions[None], origin), pairs)


def _steps_tallies(frame: pd.DataFrame, origin: Origin) -> Iterator[Tally]:
    """An image that withstood all steps counts as right, and with the number of all steps."""
    (all_weights, _), labels, first = _arranged(frame, origin, "first_success")
    _, _, adversarial = _arranged(frame, origin, "adversarial")
    shape = (len(origin.class_names), int(first.max()) + 1)
    for number, weights in enumerate(all_weights):
        steps = np.bincount(labels * shape[1] + first[number, 0], minlength=shape[0] * shape[1]).reshape(shape)
        counts = _counts(labels, adversarial[number, :1], origin)
        yield Tally(origin, weights, "steps", "", *counts, steps=steps)


def _corruption_tallies(frame: pd.DataFrame, origin: Origin) -> Iterator[Tally]:
    (all_weights, corruptions, _), labels, predictions = _arranged(frame, origin, "prediction")
    for number, weights in enumerate(all_weights):
        for corruption, by_severity in zip(corruptions, predictions[number], strict=True):
            yield Tally(origin, weights, "corruption", corruption, *_counts(labels, by_severity, origin))
        # All corruptions have the same images, so the mean of their overall accuracies is that of all together.
        confusion, hits = _counts(labels, predictions[number].reshape(-1, len(labels)), origin)
        yield Tally(origin, weights, "corruption", MEAN, confusion, hits.sum(axis=0, keepdims=True))


def _arranged(frame: pd.DataFrame, origin: Origin, column: str) -> tuple[list[pd.Index], np.ndarray, np.ndarray]:
    """The names along each block axis, the labels `image`, and the predictions `*block image`."""
    codes, names = zip(*(pd.factorize(frame[name]) for name in (*origin.block_columns, "index")), strict=True)
    labels = np.empty(len(names[-1]), dtype=np.int64)
    labels[codes[-1]] = frame["label"]
    predictions = np.empty([len(axis) for axis in names], dtype=np.int64)
    predictions[codes] = frame[column]
    return list(names[:-1]), labels, predictions


def _counts(
    labels: Int[np.ndarray, " image"], predictions: Int[np.ndarray, "repeat image"], origin: Origin
) -> tuple[Int[np.ndarray, "class class"], Int[np.ndarray, "class outcomes"]]:
    """Confusion and hits of images that each have several predictions."""
    num_classes, outcomes = len(origin.class_names), len(predictions) + 1
    confusion = metrics.confusion(np.tile(labels, len(predictions)), predictions.ravel(), num_classes)
    cells = labels * outcomes + (predictions == labels).sum(axis=0)
    return confusion, np.bincount(cells, minlength=num_classes * outcomes).reshape(num_classes, outcomes)


def _numbers(tally: Tally, bootstrap: Bootstrap) -> Iterator[tuple[str, str, float, float, float]]:
    """Metric, class name, value and interval of everything a tally gives."""
    functions, intervals = dict(_ACCURACIES), bootstrap.accuracies(tally.hits)
    if tally.corruption == MEAN:
        functions = {"overall_accuracy": metrics.overall_accuracy}
    elif tally.evaluation != "corruption":
        functions |= _ERRORS
        intervals |= bootstrap.errors(tally.confusion)
    for metric, function in functions.items():
        values, interval = function(tally.confusion), intervals[metric]
        names = tally.origin.class_names if values.ndim else ("",)
        columns = (np.atleast_1d(values), np.atleast_1d(interval.low), np.atleast_1d(interval.high))
        yield from zip([metric] * len(names), names, *(column.tolist() for column in columns), strict=True)
    if tally.pairs is not None:
        yield from _errors(tally.pairs, bootstrap)
    if tally.steps is not None:
        yield from _attack_steps(tally.steps, tally.origin.class_names, bootstrap)


def _attack_steps(
    steps: Int[np.ndarray, "class step"], class_names: Sequence[str], bootstrap: Bootstrap
) -> Iterator[tuple[str, str, float, float, float]]:
    """The mean number of steps that break an image, of all and of each class (BAT Figure 2), as `_numbers` gives numbers."""
    intervals = bootstrap.attack_steps(steps)
    overall, of_classes = metrics.attack_steps(steps), metrics.class_attack_steps(steps)
    low, high = intervals["attack_steps"]
    yield "attack_steps", "", float(overall), float(low), float(high)
    of_class = intervals["class_attack_steps"]
    for name, value, low, high in zip(class_names, of_classes, *of_class, strict=True):
        yield "class_attack_steps", name, float(value), float(low), float(high)


def _errors(
    pairs: Int[np.ndarray, "class 2 2"], bootstrap: Bootstrap
) -> Iterator[tuple[str, str, float, float, float]]:
    """BAT's six errors, as `_numbers` gives numbers. All are numbers of the attack: the standard ones see its images."""
    intervals = bootstrap.bat_errors(pairs)
    for name, value in metrics.paired_bat_errors(pairs)._asdict().items():
        low, high = intervals[f"{name}_error"]
        yield f"{name}_error", "", float(value), float(low), float(high)
