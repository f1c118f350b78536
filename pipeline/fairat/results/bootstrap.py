"""Confidence intervals over test images: what the numbers would have been with other images of the same kind.

The bootstrap draws as many images as there are, with replacement, and recomputes every number. Metrics see of an image
only into which cell it falls (its class, and whether it was predicted right), and the counts of the cells among n
images drawn with replacement are multinomial with the observed frequencies. So drawing the counts is drawing the
images, at the cost of the cells. Merged cells are multinomial again: each metric draws only the cells it tells apart.

Images are drawn from the whole test set, not class by class, so the class sizes of a replicate vary as well.
"""

import warnings
from collections.abc import Callable
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeInt, PositiveInt

from fairat.results import metrics
from fairat.settings.base import Settings


class Estimate(NamedTuple):
    """A number, or one of each class, with the ends of its interval; nan where it is undefined."""

    value: Float[np.ndarray, "..."]
    low: Float[np.ndarray, "..."]
    high: Float[np.ndarray, "..."]


class Bootstrap(Settings):
    """Percentile intervals (Efron and Tibshirani 1993, ch. 13). The same settings and counts give the same interval.

    An accuracy observed as exactly 0 or 1 gets an interval of no width.

    Attributes:
        replicates: how many test sets are drawn.
        level: the confidence level.
        seed: of the draws; every interval starts from it anew, so it depends on no other interval.
    """

    replicates: PositiveInt = 1000
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: NonNegativeInt = 0

    def accuracies(self, hits: Int[np.ndarray, "class outcomes"]) -> dict[str, Estimate]:
        """Overall, worst-class, minimum and class accuracy, by the names they have in the tidy table.

        The worst class is chosen again in every replicate: its interval accounts for the choice after looking. The
        lowest of noisy accuracies is on average lower than the lowest of the true ones, in the test set and once more
        in its replicates, and a percentile interval does not undo this. Where one class is clearly the worst (CIFAR-10)
        that hardly matters; among many classes of few images and like accuracy (CIFAR-100) the interval lies too low
        and may even leave out the value.

        Args:
            hits: `hits[y, c]` images of class `y` were right in `c` of their `outcomes - 1` predictions. An image with
                several predictions (one per severity) is drawn with all of them, for they are not independent.
        """

        def of_counts(hits: np.ndarray) -> dict[str, np.ndarray]:
            outcomes = hits.shape[-1]
            right, predictions = hits @ np.arange(outcomes), hits.sum(axis=-1) * (outcomes - 1)
            classes = metrics.ratio(right, predictions)
            return {
                "overall_accuracy": metrics.ratio(right.sum(axis=-1), predictions.sum(axis=-1)),
                "worst_class_accuracy": metrics.worst_accuracy(classes),
                "minimum_class_accuracy": metrics.minimum_accuracy(classes),
                "class_accuracy": classes,
            }

        return self._estimates(hits, of_counts)

    def errors(self, confusion: Int[np.ndarray, "class class"]) -> dict[str, Estimate]:
        """`class_accuracy_ovr` and `cfps`, where each image has one prediction."""
        right = np.diagonal(confusion)
        wrong_as = self._resampled(np.append(confusion.sum(axis=0) - right, right.sum()))[:, :-1]
        # An image counts for eq. 7 of a class or it does not: two cells.
        images, ovr = confusion.sum(), metrics.class_accuracy_ovr(confusion)
        counts = np.random.default_rng(self.seed).binomial(images, ovr, size=(self.replicates, len(ovr)))
        shares = metrics.ratio(wrong_as, wrong_as.sum(axis=-1, keepdims=True))
        return {
            "class_accuracy_ovr": Estimate(ovr, *self._interval(counts / images)),
            "cfps": Estimate(metrics.cfps(confusion), *self._interval(shares)),
        }

    def bat_errors(self, pairs: Int[np.ndarray, "class 2 2"]) -> dict[str, Estimate]:
        """BAT's six errors, by the names they have in the tidy table.

        Args:
            pairs: see `fairat.results.metrics.paired_bat_errors`; an image is drawn with both of its predictions.
        """
        found = self._estimates(pairs, lambda pairs: metrics.paired_bat_errors(pairs)._asdict())
        return {f"{name}_error": estimate for name, estimate in found.items()}

    def attack_steps(self, steps: Int[np.ndarray, "class step"]) -> dict[str, Estimate]:
        """`attack_steps` of all images and `class_attack_steps`; `steps[y, t]` images of class `y` were broken by `t`."""
        return self._estimates(
            steps,
            lambda steps: {
                "attack_steps": metrics.attack_steps(steps.sum(axis=-2)),
                "class_attack_steps": metrics.attack_steps(steps),
            },
        )

    def _estimates(
        self, counts: Int[np.ndarray, "..."], numbers: Callable[[np.ndarray], dict[str, np.ndarray]]
    ) -> dict[str, Estimate]:
        """What a function gives of the counts, with the intervals of what it gives of drawn ones."""
        drawn = numbers(self._resampled(counts))
        return {name: Estimate(value, *self._interval(drawn[name])) for name, value in numbers(counts).items()}

    def _resampled(self, counts: Int[np.ndarray, "..."]) -> Int[np.ndarray, "replicate ..."]:
        """Counts of the cells among as many images as there are, drawn with replacement."""
        occupied, images = counts > 0, counts.sum()
        drawn = np.zeros((self.replicates, *counts.shape), dtype=np.int64)
        generator = np.random.default_rng(self.seed)
        drawn[:, occupied] = generator.multinomial(images, counts[occupied] / images, size=self.replicates)
        return drawn

    def _interval(self, values: Float[np.ndarray, "replicate ..."]) -> tuple[np.ndarray, np.ndarray]:
        """Percentiles over the replicates in which the number is defined."""
        tail = (1 - self.level) / 2
        # nanquantile walks the columns one by one; almost always nothing is undefined.
        quantile = np.nanquantile if np.isnan(values).any() else np.quantile
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice encountered")
            low, high = quantile(values, (tail, 1 - tail), axis=0)
        return np.asarray(low), np.asarray(high)
