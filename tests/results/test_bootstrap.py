import numpy as np
import pytest
from fairat.results import metrics
from fairat.results.bootstrap import Bootstrap
from pydantic import ValidationError


def hits_of(right, wrong):
    return np.stack([np.asarray(wrong), np.asarray(right)], axis=1)


def test_the_interval_of_the_overall_accuracy_is_that_of_a_binomial_proportion():
    """Normal approximation: p -+ 1.96 sqrt(p (1 - p) / n)."""
    right = np.array([600, 700, 350, 250, 500])
    interval = Bootstrap(replicates=20_000).accuracies(hits_of(right, 1000 - right))["overall_accuracy"]
    p = right.sum() / 5000
    half = 1.959964 * np.sqrt(p * (1 - p) / 5000)
    np.testing.assert_allclose([interval.low, interval.high], [p - half, p + half], atol=0.05 * half)


def test_the_interval_of_a_class_accuracy_is_that_of_its_own_images():
    """One class in three, so its width is that of a proportion of a third of the images."""
    interval = Bootstrap(replicates=20_000).accuracies(hits_of([600, 300, 900], [400, 700, 100]))["class_accuracy"]
    p = np.array([0.6, 0.3, 0.9])
    np.testing.assert_allclose(interval.high - interval.low, 2 * 1.96 * np.sqrt(p * (1 - p) / 1000), rtol=0.05)


def test_drawing_cells_is_drawing_images():
    """Every metric's interval agrees with that of images drawn one by one, up to the noise of the replicates."""
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 4, 400)
    predictions = np.where(
        generator.random(400) < np.array([0.9, 0.5, 0.45, 0.7])[labels], labels, generator.integers(0, 4, 400)
    )
    confusion = metrics.confusion(labels, predictions, 4)
    drawn = generator.integers(0, 400, (4000, 400))
    images = np.stack([metrics.confusion(labels[row], predictions[row], 4) for row in drawn])
    bootstrap = Bootstrap(replicates=4000)
    right = np.diagonal(confusion)
    intervals = bootstrap.accuracies(hits_of(right, confusion.sum(axis=1) - right)) | bootstrap.errors(confusion)
    for name, metric in {
        "overall_accuracy": metrics.overall_accuracy,
        "worst_class_accuracy": metrics.worst_class_accuracy,
        "minimum_class_accuracy": lambda images: metrics.minimum_accuracy(metrics.class_accuracies(images)),
        "class_accuracy": metrics.class_accuracies,
        "class_accuracy_ovr": metrics.class_accuracy_ovr,
        "cfps": metrics.cfps,
    }.items():
        expected = np.quantile(metric(images), (0.025, 0.975), axis=0)
        np.testing.assert_allclose(np.array(intervals[name][1:]), expected, atol=0.012, err_msg=name)


def test_the_worst_class_is_chosen_again_in_every_replicate():
    """Ten classes alike: the interval of their minimum lies below that of a class fixed in advance."""
    intervals = Bootstrap().accuracies(hits_of([500] * 10, [500] * 10))
    assert intervals["worst_class_accuracy"].high < intervals["class_accuracy"].high.min()
    assert intervals["worst_class_accuracy"].low < intervals["class_accuracy"].low.min()


def test_a_class_that_is_worst_by_far_has_the_same_interval_as_the_worst_class():
    intervals = Bootstrap().accuracies(hits_of([100, 900, 900], [900, 100, 100]))
    for end in ("low", "high"):
        worst, classes = getattr(intervals["worst_class_accuracy"], end), getattr(intervals["class_accuracy"], end)
        assert worst == classes[0]


def test_several_predictions_of_one_image_are_drawn_together():
    """Five identical predictions of an image tell no more than one: the same interval, not one sqrt(5) narrower."""
    one = hits_of([60, 30], [40, 70])
    five = np.zeros((2, 6), dtype=np.int64)
    five[:, [0, 5]] = one
    expected, found = (Bootstrap().accuracies(hits) for hits in (one, five))
    for name in expected:
        np.testing.assert_array_equal(np.array(found[name]), np.array(expected[name]))


def test_the_same_settings_give_the_same_interval_and_another_seed_another():
    confusion = np.array([[50, 10, 40], [5, 80, 15], [20, 10, 70]])
    first, again, other = (Bootstrap(seed=seed).errors(confusion)["cfps"].low for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_higher_level_gives_a_wider_interval():
    hits = hits_of([60, 30], [40, 70])
    narrow, wide = (Bootstrap(level=level).accuracies(hits)["class_accuracy"] for level in (0.5, 0.99))
    assert (wide.low < narrow.low).all()
    assert (wide.high > narrow.high).all()


def test_what_is_undefined_has_no_interval():
    intervals = Bootstrap().accuracies(hits_of([60, 0], [40, 0]))
    np.testing.assert_array_equal(np.isnan(intervals["class_accuracy"].low), [False, True])
    assert intervals["worst_class_accuracy"].high == intervals["class_accuracy"].high[0]
    assert np.isnan(Bootstrap().errors(np.diag([5, 5]))["cfps"].high).all()


def test_a_perfect_accuracy_has_an_interval_of_no_width():
    interval = Bootstrap().accuracies(hits_of([50, 50], [0, 0]))["overall_accuracy"]
    assert interval.low == interval.high == 1


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_a_fraction(level):
    with pytest.raises(ValidationError, match="level"):
        Bootstrap(level=level)
