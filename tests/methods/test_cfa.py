"""CFA's margin (AF-10, AF-18)."""

import pytest
import torch
from fairat.methods.cfa import RobustAccuracyMargin
from fairat.methods.history import ClassHistory
from fairat.methods.parts import ConstantMargin
from fairat.settings.threat import Threat

from tests.methods.test_history import M
from tests.toys import history_of


def radii(margin: RobustAccuracyMargin, history: ClassHistory) -> torch.Tensor:
    """In units of 1/255, epsilon 8/255."""
    return 8 * margin.factors(history)


def test_the_next_radii_follow_recall() -> None:
    """AF-10."""
    expected = torch.tensor([8.0, 10.4, 9.6], dtype=torch.float64)
    torch.testing.assert_close(radii(RobustAccuracyMargin(), history_of(M)), expected)


def test_radii_run_from_half_to_one_and_a_half_epsilon() -> None:
    """AF-18."""
    accuracies = torch.diag(torch.tensor([0, 20, 50, 80, 100]))
    accuracies[:, 0] += 100 - accuracies.sum(dim=1)
    accuracies[0] = torch.tensor([0, 100, 0, 0, 0])
    expected = torch.tensor([4, 5.6, 8, 10.4, 12], dtype=torch.float64)
    torch.testing.assert_close(radii(RobustAccuracyMargin(), history_of(accuracies.tolist())), expected)


def test_before_the_first_adapted_epoch_radii_are_constant() -> None:
    margin = RobustAccuracyMargin(begin_epoch=2)
    assert torch.equal(margin.factors(ClassHistory(3)), torch.ones(3, dtype=torch.float64))
    assert torch.equal(margin.factors(history_of(M)), torch.ones(3, dtype=torch.float64))
    assert not torch.equal(margin.factors(history_of(M, M)), torch.ones(3, dtype=torch.float64))


def test_the_first_epoch_is_neutral_whatever_the_settings() -> None:
    """AF-38: with e = 0 the policy is neutral."""
    assert torch.equal(RobustAccuracyMargin(begin_epoch=0).factors(ClassHistory(4)), torch.ones(4, dtype=torch.float64))


def test_a_class_never_seen_keeps_the_base_radius() -> None:
    assert RobustAccuracyMargin().factors(history_of(((3, 1), (0, 0)))).tolist() == [1.25, 1.0]


def test_a_cap_bounds_the_factor() -> None:
    assert RobustAccuracyMargin(cap=1.0).factors(history_of(M)).max() == 1.0


def test_a_factor_of_one_is_the_constant_margin() -> None:
    """The limit: robust accuracy one half everywhere."""
    half = history_of(((5, 5), (5, 5)))
    assert torch.equal(RobustAccuracyMargin().factors(half), ConstantMargin().factors(half))


def test_steps_do_not_depend_on_radii() -> None:
    threat = Threat(epsilon=8 / 255, step_size=2 / 255, num_steps=10)
    steps = RobustAccuracyMargin().steps(torch.tensor([0.01, 0.05]), threat)
    assert steps.tolist() == pytest.approx([2 / 255] * 2)
