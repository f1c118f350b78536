import numpy as np
import pytest
from fairat.results import metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

M = np.array([[50, 10, 40], [5, 80, 15], [20, 10, 70]])
UNBALANCED = np.array([[8, 2], [1, 29]])


@st.composite
def confusions(draw):
    """Confusion matrices of few and of many classes, now and then with an empty one."""
    size = draw(st.integers(2, 25))
    counts = draw(arrays(np.int64, (size, size), elements=st.integers(0, 50)))
    counts[draw(st.lists(st.integers(0, size - 1), max_size=2))] = 0
    return counts


def test_confusion_counts_true_classes_in_rows_and_predicted_ones_in_columns():
    labels, predictions = np.array([0, 0, 2, 1], dtype=np.int16), np.array([1, 0, 1, 1], dtype=np.int16)
    np.testing.assert_array_equal(metrics.confusion(labels, predictions, 3), [[1, 1, 0], [0, 1, 0], [0, 1, 0]])


def test_confusion_of_many_classes_does_not_overflow_the_type_of_the_labels():
    labels = np.full(2, 299, dtype=np.int16)
    assert metrics.confusion(labels, labels, 300)[299, 299] == 2


def test_class_false_positive_scores_are_shares_of_the_columns():
    """AF-09: rows and columns swapped would give (0.50, 0.20, 0.30)."""
    np.testing.assert_allclose(metrics.cfps(M), [0.25, 0.20, 0.55], atol=1e-12)
    np.testing.assert_allclose(metrics.cfps(M.T), [0.50, 0.20, 0.30], atol=1e-12)


def test_class_accuracy_is_recall():
    """AF-10."""
    np.testing.assert_allclose(metrics.class_accuracies(M), [0.5, 0.8, 0.7], atol=1e-12)
    assert metrics.overall_accuracy(M) == pytest.approx(0.6666667, abs=1e-6)
    assert metrics.worst_class_accuracy(M) == minimum_class_accuracy(M) == 0.5


def test_the_worst_class_of_equation_seven_need_not_be_the_worst_by_recall():
    """AF-11."""
    ovr = metrics.class_accuracy_ovr(M)
    np.testing.assert_allclose(ovr, [0.75, 0.8666667, 0.7166667], atol=1e-6)
    assert np.argmin(ovr) == 2
    assert np.argmin(metrics.class_accuracies(M)) == 0


def test_recall_divides_by_the_images_of_the_class_not_by_those_of_an_average_class():
    """AF-34: the reference's K / N would give (0.4, 1.45)."""
    np.testing.assert_allclose(metrics.class_accuracies(UNBALANCED), [0.8, 0.9666667], atol=1e-6)


def minimum_class_accuracy(confusion):
    return metrics.minimum_accuracy(metrics.class_accuracies(confusion))


def diagonal_confusion(percent):
    """Classes of a hundred images, each with `percent[y]` of them right."""
    percent = np.asarray(percent)
    confusion = np.diag(percent)
    confusion[np.arange(len(percent)), (np.arange(len(percent)) + 1) % len(percent)] = 100 - percent
    return confusion


def test_the_worst_of_a_hundred_classes_is_the_mean_of_the_ten_lowest():
    """AF-33."""
    confusion = diagonal_confusion(np.random.default_rng(0).permutation(100))
    assert metrics.worst_class_accuracy(confusion) == pytest.approx(0.045, abs=1e-12)
    assert minimum_class_accuracy(confusion) == 0


@pytest.mark.parametrize(("classes", "lowest"), [(19, 1), (20, 2), (21, 3), (200, 20)])
def test_from_twenty_classes_on_the_worst_class_is_the_lowest_tenth_rounded_up(classes, lowest):
    percent = np.arange(classes) % 100
    expected = np.sort(percent)[:lowest].mean() / 100
    assert metrics.worst_class_accuracy(diagonal_confusion(percent)) == pytest.approx(expected, abs=1e-12)


def test_a_class_without_images_has_no_accuracy_and_is_not_the_worst():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(metrics.class_accuracies(confusion), [0.75, np.nan, 0.5])
    assert metrics.worst_class_accuracy(confusion) == minimum_class_accuracy(confusion) == 0.5


def test_without_images_everything_is_undefined():
    empty = np.zeros((3, 3), dtype=np.int64)
    for metric in (metrics.overall_accuracy, metrics.worst_class_accuracy, minimum_class_accuracy):
        assert np.isnan(metric(empty))
    assert np.isnan(metrics.class_accuracy_ovr(empty)).all()


def test_without_errors_there_are_no_false_positive_scores():
    assert np.isnan(metrics.cfps(np.diag([5, 6, 7]))).all()


@given(confusions(), st.randoms(use_true_random=False))
def test_permuting_the_classes_permutes_class_metrics_and_leaves_the_others(confusion, random):
    order = random.sample(range(len(confusion)), len(confusion))
    permuted = confusion[np.ix_(order, order)]
    for metric in (metrics.class_accuracies, metrics.class_accuracy_ovr, metrics.cfps):
        np.testing.assert_array_equal(metric(permuted), metric(confusion)[order])
    for metric in (metrics.overall_accuracy, metrics.worst_class_accuracy, minimum_class_accuracy):
        np.testing.assert_allclose(metric(permuted), metric(confusion), rtol=1e-12)


@given(confusions())
def test_one_versus_rest_accuracy_is_never_below_the_overall_one(confusion):
    """AF-11."""
    overall = metrics.overall_accuracy(confusion)
    assert np.isnan(overall) or (metrics.class_accuracy_ovr(confusion) >= overall).all()


@given(confusions())
def test_the_minimum_is_at_most_the_worst_tenth_which_is_at_most_the_mean_recall(confusion):
    recalls = metrics.class_accuracies(confusion)
    if not np.isnan(recalls).all():
        minimum, worst = minimum_class_accuracy(confusion), metrics.worst_class_accuracy(confusion)
        assert minimum <= worst + 1e-12 <= np.nanmean(recalls) + 2e-12
        assert minimum == np.nanmin(recalls)


@given(st.integers(2, 24).flatmap(lambda size: arrays(np.int64, (2, 3, size, size), elements=st.integers(0, 9))))
def test_a_batch_of_matrices_gives_what_they_give_one_by_one(batch):
    for metric in (
        metrics.class_accuracies,
        metrics.overall_accuracy,
        metrics.class_accuracy_ovr,
        metrics.worst_class_accuracy,
        minimum_class_accuracy,
        metrics.cfps,
    ):
        one_by_one = [[metric(matrix) for matrix in row] for row in batch]
        np.testing.assert_array_equal(metric(batch), one_by_one)


CLEAN, ROBUST = np.array([[9, 1], [4, 6]]), np.array([[3, 7], [5, 5]])


def test_each_worst_bat_error_has_its_own_worst_class():
    """Standard (0.1, 0.4), robust (0.7, 0.5), boundary (0.6, 0.1) by hand."""
    errors = metrics.bat_errors(CLEAN, ROBUST)
    np.testing.assert_allclose(errors, [0.25, 0.35, 0.6, 0.4, 0.6, 0.7], atol=1e-12)
    assert errors.worst_standard + errors.worst_boundary > errors.worst_robust


@given(st.integers(2, 12).flatmap(lambda size: arrays(np.int64, (2, 200), elements=st.integers(0, size - 1))))
def test_average_standard_and_boundary_errors_add_up_to_the_robust_one(predictions):
    labels = np.arange(200) % 12
    clean, robust = (metrics.confusion(labels, row, 12) for row in predictions)
    errors = metrics.bat_errors(clean, robust)
    assert errors.average_standard + errors.average_boundary == pytest.approx(errors.average_robust, abs=1e-12)
    assert errors.worst_robust <= errors.worst_standard + errors.worst_boundary + 1e-12


def test_bat_errors_of_different_images_are_refused():
    with pytest.raises(AssertionError, match="same images"):
        metrics.bat_errors(CLEAN, UNBALANCED)


def test_total_variation_to_uniform_has_the_values_worked_out_in_the_specification():
    """AF-13: of the scores themselves 0.21, of their softmax 0.0423682."""
    scores = np.array([0.12, 0.05, 0.14, 0.20, 0.11, 0.14, 0.06, 0.06, 0.07, 0.05])
    softmax = np.exp(2 * scores) / np.exp(2 * scores).sum()
    assert metrics.total_variation_to_uniform(scores) == pytest.approx(0.21, abs=1e-9)
    assert metrics.total_variation_to_uniform(softmax) == pytest.approx(0.0423682, abs=1e-7)


def test_total_variation_to_uniform_lies_between_zero_and_one_minus_a_kth():
    extremes = np.array([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0]])
    np.testing.assert_allclose(metrics.total_variation_to_uniform(extremes), [0, 0.75])
