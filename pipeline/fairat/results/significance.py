"""How much better a FAIR-TAT row is than its base in the worst class, and how sure that is.

Both rows are measured on the same test images, and trainings of one seed share their initial weights and the order of
their batches. So images are drawn once for both rows, and so are seeds. docs/reproduction.md says what was measured of
these intervals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from fairat.errors import Hint, UserError
from fairat.results import metrics
from fairat.results.bootstrap import Bootstrap
from fairat.results.evidence import Origin, arranged, read_evidence

BOOTSTRAP = Bootstrap(replicates=2000)


class Difference(NamedTuple):
    """Two accuracies, means over seeds, and the ends of the confidence interval of ours minus base; fractions."""

    base: float
    ours: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """Ours minus base, in [-1, 1]."""
        return self.ours - self.base

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


class Block(NamedTuple):
    """What one row is measured on: weight set, evaluation as in the tidy table, and corruption or nothing."""

    weights: str
    evaluation: str
    corruption: str = ""


@dataclass(frozen=True)
class Outcomes:
    """What one run got right in one block.

    Attributes:
        index: of the images, ascending.
        labels: true classes.
        right: how many predictions of an image were right.
        predictions: how many there are of each image; five severities of a corruption, one otherwise.
        data: hash of the images.
    """

    index: Int[np.ndarray, " image"]
    labels: Int[np.ndarray, " image"]
    right: Int[np.ndarray, " image"]
    predictions: int
    data: str


class Comparison(NamedTuple):
    """One FAIR-TAT row against its base under one evaluation.

    Attributes:
        metric: worst_class_accuracy or overall_accuracy.
        seeds: how many, of which both have evidence.
        images: how many test images both were measured on.
    """

    suite: str
    method: str
    base: str
    block: Block
    metric: str
    seeds: int
    images: int
    difference: Difference


def difference(
    ours: Int[np.ndarray, "seed image"],
    base: Int[np.ndarray, "seed image"],
    labels: Int[np.ndarray, " image"],
    *,
    predictions: int = 1,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> dict[str, Difference]:
    """Differences in worst-class and overall accuracy, by metric; the worst class is chosen anew in every replicate.

    A replicate draws the images of each class with replacement, the same for both rows and all seeds; then one seed
    fewer than there are, with replacement, because the mean of n - 1 draws has the variance s^2 / n of a mean of n seeds
    (Rao and Wu 1988). Ends: the outer ones of the percentile and the basic interval. Where one class is clearly the
    worst, the two agree; where several compete, the lowest of the drawn accuracies is too low on average, which moves
    the one away from the truth and makes the other too narrow.

    Args:
        ours, base: how many of its predictions of an image were right.
        labels: true classes.
        predictions: of each image.
        bootstrap: replicates, level and seed of the draws.
    """
    seeds = len(ours)
    observed, drawn = _class_accuracies(np.concatenate([ours, base]), labels, predictions, bootstrap)
    sizes = np.unique(labels, return_counts=True)[1]
    # A stream of its own, so that the images drawn do not depend on the number of seeds.
    generator = np.random.default_rng((bootstrap.seed, 1))
    chosen = generator.integers(0, seeds, (bootstrap.replicates, max(1, seeds - 1)))
    found = {}
    for metric, summary in (
        ("worst_class_accuracy", metrics.worst_accuracy),
        ("overall_accuracy", partial(np.average, axis=-1, weights=sizes)),
    ):
        of_ours, of_base = (float(rows.mean()) for rows in np.split(summary(observed), 2))
        replicates_ours, replicates_base = np.split(summary(drawn), 2, axis=1)
        replicates = np.take_along_axis(replicates_ours - replicates_base, chosen, axis=1).mean(axis=1)
        found[metric] = Difference(of_base, of_ours, *_outer(of_ours - of_base, replicates, bootstrap.level))
    return found


def _class_accuracies(
    right: Int[np.ndarray, "row image"], labels: Int[np.ndarray, " image"], predictions: int, bootstrap: Bootstrap
) -> tuple[Float[np.ndarray, "row class"], Float[np.ndarray, "replicate row class"]]:
    """Accuracy of every class that has images: as observed, and with its images drawn anew.

    Images that all rows treat alike are one cell of a multinomial: drawing counts is drawing images.
    """
    generator = np.random.default_rng(bootstrap.seed)
    observed, drawn = [], []
    for label in np.unique(labels):
        patterns, counts = np.unique(right[:, labels == label].T, axis=0, return_counts=True)
        total = counts.sum()
        replicates = generator.multinomial(total, counts / total, size=bootstrap.replicates)
        observed.append(counts @ patterns / (total * predictions))
        drawn.append(replicates @ patterns / (total * predictions))
    return np.stack(observed, axis=-1), np.stack(drawn, axis=-1)


def _outer(value: float, replicates: Float[np.ndarray, " replicate"], level: float) -> tuple[float, float]:
    """The outer ends of the percentile interval and of the basic one, which is its mirror image at the value."""
    tail = (1 - level) / 2
    low, high = np.quantile(replicates, (tail, 1 - tail))
    # Rounded, so that an end at zero is zero, not the noise of a subtraction, and + 0.0, so that it is not -0.
    return round(float(min(low, 2 * value - high)), 12) + 0.0, round(float(max(high, 2 * value - low)), 12) + 0.0


def compare(
    suite: str, bases: Mapping[str, str | None], files: Sequence[Path], bootstrap: Bootstrap = BOOTSTRAP
) -> list[Comparison]:
    """Every row with targets against its base, in every evaluation that both have, over the seeds that both have.

    Args:
        suite: to which the evidence belongs.
        bases: of every method with targets its base, in the order of rows; those without one are passed over.
        files: the evidence of the suite; that of other methods is not read.
        bootstrap: replicates, level and seed of the draws.

    Raises:
        UserError: a file cannot be used, or runs that are compared saw different images.
    """
    pairs = {name: base for name, base in bases.items() if base is not None}
    evidence, found = _read(files, {*pairs, *pairs.values()}), []
    for method, base in pairs.items():
        for block, ours in evidence.get(method, {}).items():
            theirs = evidence.get(base, {}).get(block, {})
            if not (seeds := sorted(ours.keys() & theirs.keys())):
                continue
            runs = [of_seeds[seed] for of_seeds in (ours, theirs) for seed in seeds]
            if len({(run.data, run.predictions) for run in runs}) > 1:
                raise UserError(
                    f"{method} and {base} of {suite} cannot be compared under {block.evaluation}: their evidence is not "
                    "of the same test images.",
                    Hint.REMAKE,
                )
            # Clean predictions may come from attacks on different numbers of images, as long as not all are evaluated.
            index = reduce(np.intersect1d, (run.index for run in runs))
            right = np.stack([run.right[np.searchsorted(run.index, index)] for run in runs])
            labels = runs[0].labels[np.searchsorted(runs[0].index, index)]
            mine, its = np.split(right, 2)
            differences = difference(mine, its, labels, predictions=runs[0].predictions, bootstrap=bootstrap)
            for metric, one in differences.items():
                found.append(Comparison(suite, method, base, block, metric, len(seeds), len(index), one))
    return found


_Evidence = dict[str, dict[Block, dict[int, Outcomes]]]


def _read(files: Sequence[Path], wanted: set[str]) -> _Evidence:
    """Outcomes by method, block and seed. Clean ones come from the evidence with the most images, the first of several."""
    found: _Evidence = {}
    for path in files:
        if path.parent.name not in wanted:
            continue
        frame, origin = read_evidence(path)
        for block, outcomes in _outcomes(frame, origin):
            of_seeds = found.setdefault(origin.method, {}).setdefault(block, {})
            known = of_seeds.get(origin.seed)
            if known is None or len(known.index) < len(outcomes.index):
                of_seeds[origin.seed] = outcomes
    return found


def _outcomes(frame: pd.DataFrame, origin: Origin) -> Iterator[tuple[Block, Outcomes]]:
    """What one file says of every block."""
    (all_weights, blocks, *severities, images), labels, columns = arranged(frame, origin)
    order = images.argsort()
    right = {name: (values == labels)[..., order] for name, values in columns.items()}

    def outcomes(right: np.ndarray, predictions: int = 1) -> Outcomes:
        return Outcomes(images.to_numpy()[order], labels[order], right.astype(np.int8), predictions, origin.data_sha256)

    for number, weights in enumerate(all_weights):
        for name, block in enumerate(blocks):
            if severities:
                pooled = right["prediction"][number, name].sum(axis=0)
                yield Block(weights, "corruption", block), outcomes(pooled, len(severities[0]))
            else:
                yield Block(weights, "clean"), outcomes(right["clean"][number, name])
                yield Block(weights, block), outcomes(right["adversarial"][number, name])


def comparison_table(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """A row per comparison: what was compared, how much there was of it, and the numbers, all as fractions."""
    keys = ["suite", "method", "base", *Block._fields, "metric", "seeds", "images"]
    rows = [(*one[:3], *one.block, *one[4:7], *one.difference) for one in comparisons]
    table = pd.DataFrame(rows, columns=[*keys, "base_value", "value", "low", "high"])
    table.insert(len(keys) + 2, "difference", table["value"] - table["base_value"])
    return table
