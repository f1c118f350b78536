"""The class history against a confusion matrix worked out by hand (AF-09, AF-10, AF-34)."""

import math

import pytest
import torch
from fairat.methods.history import ClassHistory, EpochRecord

from tests.toys import history_of

M = ((50, 10, 40), (5, 80, 15), (20, 10, 70))


def test_false_positive_scores_count_columns_not_rows() -> None:
    """AF-09. Rows and columns swapped would give (0.50, 0.20, 0.30)."""
    scores = history_of(M).false_positive_scores("train.robust")
    assert scores is not None
    torch.testing.assert_close(scores, torch.tensor([0.25, 0.20, 0.55], dtype=torch.float64))


def test_class_accuracy_is_recall() -> None:
    """AF-10, and AF-34 on unbalanced counts, where dividing by N / K would exceed 1."""
    expected = torch.tensor([0.5, 0.8, 0.7], dtype=torch.float64)
    torch.testing.assert_close(history_of(M).class_accuracy("train.robust"), expected)
    unbalanced = history_of(((8, 2), (1, 29))).class_accuracy("train.robust")
    torch.testing.assert_close(unbalanced, torch.tensor([0.8, 29 / 30], dtype=torch.float64))


def test_a_class_without_images_keeps_its_last_defined_accuracy() -> None:
    history = history_of(((3, 1), (0, 0)), ((0, 0), (1, 1)))
    assert history.class_accuracy("train.robust").tolist() == [0.75, 0.5]
    assert math.isnan(history_of(((3, 1), (0, 0))).class_accuracy("train.robust")[1])


def test_without_an_error_the_last_defined_scores_stay() -> None:
    """AF-14."""
    faultless = ((5, 0), (0, 5))
    assert history_of(faultless).false_positive_scores("train.robust") is None
    scores = history_of(((4, 1), (0, 5)), faultless).false_positive_scores("train.robust")
    assert scores is not None
    assert scores.tolist() == [0.0, 1.0]


def test_a_field_that_no_part_declared_is_missed_loudly() -> None:
    with pytest.raises(
        LookupError, match=r"has no val\.ce: a part that reads it must name it in `needs`; .* train\.robust"
    ):
        history_of(M).all("val.ce")
    assert ClassHistory(3).all("val.ce") == []


def test_the_next_epoch_follows_the_last_record() -> None:
    before_training = EpochRecord(-1, {"val.clean": torch.eye(2, dtype=torch.int64)})
    assert ClassHistory(2).epoch == 0
    assert ClassHistory(2, (before_training,)).epoch == 0
    assert history_of(M, M).epoch == 2


def test_a_history_stored_as_tensors_comes_back_the_same() -> None:
    history = history_of(M, M).extended(EpochRecord(2, {"val.ce": torch.rand(3, dtype=torch.float64)}))
    again = ClassHistory.from_tensors(3, history.to_tensors())
    assert [record.epoch for record in again.records] == [0, 1, 2]
    for old, new in zip(history.records, again.records, strict=True):
        assert old.fields.keys() == new.fields.keys()
        assert all(torch.equal(old[name], new[name]) for name in old.fields)
