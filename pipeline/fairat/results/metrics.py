"""From a confusion matrix to accuracies, the worst class and fairness measures.

Rows are true classes, columns predicted ones. Every function takes any number of leading axes, for instance bootstrap
replicates, and answers nan where a quantity is undefined: the accuracy of a class without images, CFPS without errors.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from numpy.typing import ArrayLike

Confusion = Num[np.ndarray, "*batch class class"]
PerClass = Float[np.ndarray, "*batch class"]
Value = Float[np.ndarray, "*batch"]


def confusion(
    labels: Int[np.ndarray, " image"], predictions: Int[np.ndarray, " image"], num_classes: int
) -> Int[np.ndarray, "class class"]:
    """Counts `confusion[y, k]`: how often class `y` was predicted as `k`. Both lie in [0, num_classes)."""
    cells = labels.astype(np.int64) * num_classes + predictions
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_accuracies(confusion: Confusion) -> PerClass:
    """Recall: the fraction of each class that is predicted right; nan for a class without images."""
    return ratio(_diagonal(confusion), confusion.sum(axis=-1))


def overall_accuracy(confusion: Confusion) -> Value:
    """The fraction of all images that is predicted right."""
    return ratio(_diagonal(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def class_accuracy_ovr(confusion: Confusion) -> PerClass:
    """One-versus-rest accuracy (TP + TN) / N = 1 - (FN + FP) / N (FAIR-TAT eq. 7), never below the overall one."""
    images, misses = confusion.sum(axis=(-2, -1))[..., None], confusion.sum(axis=-1) - _diagonal(confusion)
    return ratio(images - (misses + _false_positives(confusion)), images)


def worst_class_accuracy(confusion: Confusion) -> Value:
    """Recall of the worst class; with 20 classes or more, the mean of the worst tenth."""
    return worst_accuracy(class_accuracies(confusion))


def worst_accuracy(class_accuracies: PerClass) -> Value:
    """The lowest of fewer than 20 class accuracies K, the mean of the ceil(K / 10) lowest of more; ignores nan."""
    num_classes = class_accuracies.shape[-1]
    lowest = np.sort(class_accuracies, axis=-1)[..., : 1 if num_classes < 20 else ceil(num_classes / 10)]
    return ratio(np.nansum(lowest, axis=-1), (~np.isnan(lowest)).sum(axis=-1))


def minimum_accuracy(class_accuracies: PerClass) -> Value:
    """The lowest class accuracy, whatever the number of classes; ignores nan: classes without images do not count."""
    return np.asarray(np.fmin.reduce(class_accuracies, axis=-1))


def cfps(confusion: Confusion) -> PerClass:
    """Class false positive scores: the share of all errors that lands in each class (FAIR-TAT eq. 8); sums to 1."""
    false_positives = _false_positives(confusion)
    return ratio(false_positives, false_positives.sum(axis=-1, keepdims=True))


class BatErrors(NamedTuple):
    """Standard, boundary and robust errors (BAT, AAAI 2023), over all images and of the worst class.

    The averages add up, `average_standard + average_boundary = average_robust`; the worst ones need not, because each
    has its own worst class.
    """

    average_standard: Value
    average_boundary: Value
    average_robust: Value
    worst_standard: Value
    worst_boundary: Value
    worst_robust: Value


def bat_errors(clean: Confusion, robust: Confusion) -> BatErrors:
    """Errors of the same images without and with an attack. Boundary = robust - standard, class by class."""
    images = clean.sum(axis=-1)
    assert (images == robust.sum(axis=-1)).all(), "clean and robust confusions must be of the same images"
    return _bat_errors(images - _diagonal(clean), images - _diagonal(robust), images)


def paired_bat_errors(pairs: Num[np.ndarray, "*batch class 2 2"]) -> BatErrors:
    """The same from `pairs[y, c, r]`: how many images of class `y` were right (1) or wrong (0) clean, and attacked."""
    return _bat_errors(pairs[..., 0, :].sum(axis=-1), pairs[..., :, 0].sum(axis=-1), pairs.sum(axis=(-2, -1)))


def _bat_errors(clean_wrong: np.ndarray, robust_wrong: np.ndarray, images: np.ndarray) -> BatErrors:
    """From the numbers of wrong predictions and of images, `*batch class`."""
    total = images.sum(axis=-1)
    average_standard, average_robust = (ratio(wrong.sum(axis=-1), total) for wrong in (clean_wrong, robust_wrong))
    standard, attacked = ratio(clean_wrong, images), ratio(robust_wrong, images)
    worst = (np.asarray(np.fmax.reduce(errors, axis=-1)) for errors in (standard, attacked - standard, attacked))
    average_boundary = average_robust - average_standard
    return BatErrors(*map(np.asarray, (average_standard, average_boundary, average_robust)), *worst)


def attack_steps(steps: Num[np.ndarray, "*axes step"]) -> Float[np.ndarray, "*axes"]:
    """Mean number of steps that break an image (BAT Figure 2), from `steps[..., t]` images that `t` steps broke."""
    return ratio(steps @ np.arange(steps.shape[-1]), steps.sum(axis=-1))


def total_variation_to_uniform(distribution: PerClass) -> Value:
    """Half the sum of absolute differences to 1 / K: 0 for the uniform distribution, 1 - 1 / K for a single class."""
    return np.asarray(np.abs(distribution - 1 / distribution.shape[-1]).sum(axis=-1) / 2)


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Float[np.ndarray, "..."]:
    """The quotient in float64, nan where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator != 0)


def _diagonal(confusion: Confusion) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _false_positives(confusion: Confusion) -> np.ndarray:
    return confusion.sum(axis=-2) - _diagonal(confusion)
