"""Confidence intervals over test images: what the numbers would have been with other images of the same kind.

The bootstrap draws as many images as there are, with replacement, and recomputes every number. Metrics see of an image
only into which cell it falls (its class, and whether it was predicted right), and the counts of the cells among n
images drawn with replacement are multinomial with the observed frequencies. So drawing the counts is drawing the
images, at the cost of the cells. Merged cells are multinomial again: each metric draws only the cells it tells apart.

Images are drawn from the whole test set, not class by class, so the class sizes of a replicate vary as well.
"""

import warnings
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field, NonNegativeInt, PositiveInt

from fairat.results import metrics
from fairat.settings.base import Settings


class Interval(NamedTuple):
    """Lower and upper ends; nan where the number is undefined."""

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

    def accuracies(self, hits: Int[np.ndarray, "class outcomes"]) -> dict[str, Interval]:
        """Intervals of overall, worst-class, minimum and class accuracy, by the names they have in the tidy table.

        The worst class is chosen again in every replicate: its interval accounts for the choice after looking. The
        lowest of noisy accuracies is on average lower than the lowest of the true ones, in the test set and once more
        in its replicates, and a percentile interval does not undo this. Where one class is clearly the worst (CIFAR-10)
        that hardly matters; among many classes of few images and like accuracy (CIFAR-100) the interval lies too low
        and may even leave out the value.

        Args:
            hits: `hits[y, c]` images of class `y` were right in `c` of their `outcomes - 1` predictions. An image with
                several predictions (one per severity) is drawn with all of them, for they are not independent.
        """
        drawn = self._resampled(hits)
        correct, predictions = drawn @ np.arange(hits.shape[1]), drawn.sum(axis=-1) * (hits.shape[1] - 1)
        class_accuracies = metrics.ratio(correct, predictions)
        return {
            "overall_accuracy": self._interval(metrics.ratio(correct.sum(axis=-1), predictions.sum(axis=-1))),
            "worst_class_accuracy": self._interval(metrics.worst_accuracy(class_accuracies)),
            "minimum_class_accuracy": self._interval(metrics.minimum_accuracy(class_accuracies)),
            "class_accuracy": self._interval(class_accuracies),
        }

    def errors(self, confusion: Int[np.ndarray, "class class"]) -> dict[str, Interval]:
        """Intervals of `class_accuracy_ovr` and `cfps`, where each image has one prediction."""
        right = np.trace(confusion)
        false_positives = self._resampled(np.append(confusion.sum(axis=0) - np.diagonal(confusion), right))[:, :-1]
        images, ovr = confusion.sum(), metrics.class_accuracy_ovr(confusion)
        # An image counts for eq. 7 of a class or it does not: two cells.
        counts = np.random.default_rng(self.seed).binomial(images, ovr, size=(self.replicates, len(ovr)))
        return {
            "class_accuracy_ovr": self._interval(counts / images),
            "cfps": self._interval(metrics.ratio(false_positives, false_positives.sum(axis=-1, keepdims=True))),
        }

    def bat_errors(self, pairs: Int[np.ndarray, "class 2 2"]) -> dict[str, Interval]:
        """Intervals of BAT's six errors, by the names they have in the tidy table.

        Args:
            pairs: see `fairat.results.metrics.paired_bat_errors`; an image is drawn with both of its predictions.
        """
        errors = metrics.paired_bat_errors(self._resampled(pairs))
        return {f"{name}_error": self._interval(values) for name, values in errors._asdict().items()}

    def attack_steps(self, steps: Int[np.ndarray, "class step"]) -> dict[str, Interval]:
        """Intervals of `attack_steps` and `class_attack_steps`, from the counts that `fairat.results.metrics` takes."""
        drawn = self._resampled(steps)
        return {
            "attack_steps": self._interval(metrics.attack_steps(drawn)),
            "class_attack_steps": self._interval(metrics.class_attack_steps(drawn)),
        }

    def _resampled(self, counts: Int[np.ndarray, "..."]) -> Int[np.ndarray, "replicate ..."]:
        """Counts of the cells among as many images as there are, drawn with replacement."""
        occupied, images = counts > 0, counts.sum()
        drawn = np.zeros((self.replicates, *counts.shape), dtype=np.int64)
        generator = np.random.default_rng(self.seed)
        drawn[:, occupied] = generator.multinomial(images, counts[occupied] / images, size=self.replicates)
        return drawn

    def _interval(self, values: Float[np.ndarray, "replicate ..."]) -> Interval:
        """Percentiles over the replicates in which the number is defined."""
        tail = (1 - self.level) / 2
        # nanquantile walks the columns one by one; almost always nothing is undefined.
        quantile = np.nanquantile if np.isnan(values).any() else np.quantile
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice encountered")
            low, high = quantile(values, (tail, 1 - tail), axis=0)
        return Interval(np.asarray(low), np.asarray(high))
