"""FAIR-TAT's targets (AF-12, AF-13, AF-14)."""

import math

import pytest
import torch
from fairat.methods.fair_tat import CfpsTargets, UniformTargets
from fairat.methods.history import ClassHistory
from fairat.methods.sampling import conditional_on_wrong, draw
from hypothesis import given
from hypothesis import strategies as st

from tests.methods.test_history import M
from tests.toys import history_of


def test_target_probabilities_are_a_softmax_of_twice_the_scores() -> None:
    """AF-12."""
    expected = torch.tensor([0.26831547, 0.24278187, 0.48890266], dtype=torch.float64)
    torch.testing.assert_close(CfpsTargets().probabilities(history_of(M)), expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("from_scores", "rows"),
    [
        ("softmax", ((0, 0.33181223, 0.66818777), (0.35434369, 0, 0.64565631), (0.52497919, 0.47502081, 0))),
        ("proportional", ((0, 0.26666667, 0.73333333), (0.3125, 0, 0.6875), (0.55555556, 0.44444444, 0))),
    ],
)
def test_the_true_class_is_excluded_by_renormalizing(from_scores: str, rows: tuple[tuple[float, ...], ...]) -> None:
    """AF-12."""
    targets = CfpsTargets.model_validate({"from_scores": from_scores})
    expected = torch.tensor(rows, dtype=torch.float64)
    torch.testing.assert_close(targets.table(history_of(M)), expected, atol=1e-8, rtol=0)


def test_the_softmax_is_nearly_uniform_for_ten_classes() -> None:
    """AF-13; and the ratio can never exceed e^2, reached when one class has all false predictions."""
    scores = torch.tensor((0.12, 0.05, 0.14, 0.20, 0.11, 0.14, 0.06, 0.06, 0.07, 0.05), dtype=torch.float64)
    counts = torch.zeros(10, 10, dtype=torch.int64)
    wrong = (scores * 100).round().long()
    counts[1] = wrong
    counts[1, 1], counts[0, 1] = 0, wrong[1]
    pi = CfpsTargets().probabilities(history_of(counts.tolist()))
    assert (pi.max() / pi.min()).item() == pytest.approx(math.exp(0.3), abs=1e-7)
    assert (pi - 0.1).abs().sum().item() / 2 == pytest.approx(0.0423682, abs=1e-7)
    all_on_one = CfpsTargets().probabilities(history_of(((5, 0), (5, 0))))
    assert (all_on_one.max() / all_on_one.min()).item() == pytest.approx(math.exp(2), abs=1e-9)


@pytest.mark.parametrize("targets", [UniformTargets(), CfpsTargets(), CfpsTargets(from_scores="proportional")])
def test_before_any_error_targets_are_uniform(targets: UniformTargets | CfpsTargets) -> None:
    """AF-14 and 3.13: e = 0, or no wrong prediction so far."""
    expected = conditional_on_wrong(torch.ones(3, dtype=torch.float64))
    for history in (ClassHistory(3), history_of(((4, 0, 0), (0, 4, 0), (0, 0, 4)))):
        torch.testing.assert_close(targets.table(history), expected)


@pytest.mark.parametrize("targets", [UniformTargets(), CfpsTargets(), CfpsTargets(from_scores="proportional")])
def test_with_two_classes_the_target_is_the_other_one(targets: UniformTargets | CfpsTargets) -> None:
    """AF-14."""
    labels = torch.arange(2).repeat(500)
    for history in (ClassHistory(2), history_of(((4, 1), (0, 5)))):
        drawn = draw(targets.table(history), labels, torch.Generator().manual_seed(0))
        assert torch.equal(drawn, 1 - labels)


def test_all_mass_on_the_true_class_falls_back_to_the_others_evenly() -> None:
    """Proportional scores of one class only."""
    table = conditional_on_wrong(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    assert table.tolist() == [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]


def test_draws_follow_the_table_and_never_hit_the_true_class() -> None:
    """AF-14: over 10^5 draws no target is the true class. Frequencies within 5 standard errors."""
    table = CfpsTargets().table(history_of(M))
    labels = torch.arange(3).repeat_interleave(100_000)
    drawn = draw(table, labels, torch.Generator().manual_seed(0))
    assert (drawn != labels).all()
    frequencies = torch.bincount(labels * 3 + drawn, minlength=9).view(3, 3) / 100_000
    assert (frequencies - table).abs().max() < 5 * math.sqrt(0.25 / 100_000)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(0, 2**31))
def test_a_class_without_probability_is_never_drawn(masses: list[float], seed: int) -> None:
    table = conditional_on_wrong(torch.tensor(masses, dtype=torch.float64))
    labels = torch.arange(len(masses)).repeat(50)
    drawn = draw(table, labels, torch.Generator().manual_seed(seed))
    assert (table[labels, drawn] > 0).all()


def test_validation_statistics_read_the_validation_record() -> None:
    """A2 in docs/deviations.md."""
    targets = CfpsTargets(statistics="validation")
    assert targets.needs == {"val.pgd10"}
    torch.testing.assert_close(targets.table(history_of(M, name="val.pgd10")), CfpsTargets().table(history_of(M)))


def test_permuted_classes_permute_the_targets() -> None:
    order = torch.tensor([2, 0, 1])
    permuted = torch.tensor(M)[order][:, order].tolist()
    expected = CfpsTargets().table(history_of(M))[order][:, order]
    torch.testing.assert_close(CfpsTargets().table(history_of(permuted)), expected)
