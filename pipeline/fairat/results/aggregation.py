"""From the evidence of many runs to one tidy table: a row per metric, with its confidence interval."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Int

from fairat.errors import Hint, UserError, on_one_line
from fairat.files import whole_file
from fairat.paths import EVALUATIONS
from fairat.results import metrics
from fairat.results.bootstrap import Bootstrap, Estimate
from fairat.results.evidence import Origin, arranged, read_evidence

KEYS = ("suite", "method", "seed", "weights", "evaluation", "corruption")
COLUMNS = (*KEYS, "metric", "class_name", "value", "low", "high", "images")
"""The tidy table. `evaluation` is clean, pgd<steps>, autoattack, square, corruption or steps; `corruption` is empty for the
others, and `mean` for the mean over all corruptions; `class_name` is empty for metrics of all classes; accuracies are
fractions in [0, 1]; `images` counts the predictions the value was computed from, all classes together."""

MEAN = "mean"
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
        (*tally.run, tally.weights, tally.evaluation, tally.corruption, metric, class_name, *numbers, tally.images)
        for tally in tallies(files)
        for metric, estimate in _estimates(tally, bootstrap).items()
        for class_name, *numbers in zip(
            tally.origin.class_names if estimate.value.ndim else ("",),
            *(np.atleast_1d(numbers).tolist() for numbers in estimate),
            strict=True,
        )
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


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
        counted.extend(_tallies(frame, origin))
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


def _tallies(frame: pd.DataFrame, origin: Origin) -> Iterator[Tally]:
    """The tallies of one file."""
    (all_weights, blocks, *_), labels, columns = arranged(frame, origin)
    num_classes = len(origin.class_names)

    def tally(weights: str, evaluation: str, predictions: np.ndarray, corruption: str = "", **counts: Any) -> Tally:
        """Of images that each have several predictions, `repeat image`."""
        confusion = metrics.confusion(np.tile(labels, len(predictions)), predictions.ravel(), num_classes)
        hits = _counted(labels, (predictions == labels).sum(axis=0), (num_classes, len(predictions) + 1))
        return Tally(origin, weights, evaluation, corruption, confusion, **{"hits": hits} | counts)

    for number, weights in enumerate(all_weights):
        of_weights = {name: values[number] for name, values in columns.items()}
        if origin.evaluation == "corruptions":
            for corruption, by_severity in zip(blocks, of_weights["prediction"], strict=True):
                yield tally(weights, "corruption", by_severity, corruption)
            # All corruptions have the same images, so the mean of their overall accuracies is that of all together.
            mean = tally(weights, "corruption", of_weights["prediction"].reshape(-1, len(labels)), MEAN)
            yield replace(mean, hits=mean.hits.sum(axis=0, keepdims=True))
        elif origin.evaluation == "steps":
            # An image that withstood all steps counts as right, and with the number of all steps.
            (first,), shape = of_weights["first_success"], (num_classes, int(columns["first_success"].max()) + 1)
            yield tally(weights, "steps", of_weights["adversarial"], steps=_counted(labels, first, shape))
        else:
            clean = of_weights["clean"][:1]
            yield tally(weights, "clean", clean)
            for attack, predictions in zip(blocks, of_weights["adversarial"], strict=True):
                outcomes = 2 * (clean[0] == labels) + (predictions == labels)
                pairs = _counted(labels, outcomes, (num_classes, 4)).reshape(-1, 2, 2)
                yield tally(weights, attack, predictions[None], pairs=pairs)


def _counted(
    labels: Int[np.ndarray, " image"], outcomes: Int[np.ndarray, " image"], shape: tuple[int, int]
) -> Int[np.ndarray, "class outcomes"]:
    """How many images of each class had each outcome."""
    return np.bincount(labels * shape[1] + outcomes, minlength=shape[0] * shape[1]).reshape(shape)


def _estimates(tally: Tally, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Every metric that a tally gives."""
    found = bootstrap.accuracies(tally.hits)
    if tally.corruption == MEAN:
        return {"overall_accuracy": found["overall_accuracy"]}
    if tally.evaluation != "corruption":
        found |= bootstrap.errors(tally.confusion)
    if tally.pairs is not None:  # all are numbers of the attack: BAT's standard errors see its images
        found |= bootstrap.bat_errors(tally.pairs)
    if tally.steps is not None:
        found |= bootstrap.attack_steps(tally.steps)
    return found
