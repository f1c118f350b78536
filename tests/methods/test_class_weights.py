"""CCR, FRL, WAT and DAFA against hand-computed controllers (AF-17, AF-26, AF-27, AF-28)."""

import pytest
import torch
from fairat.errors import UserError
from fairat.methods.cfa import CalibratedWeights
from fairat.methods.dafa import DistanceMargin, DistanceWeights, distance_weights
from fairat.methods.frl import FrlController, FrlRemargin, FrlReweight
from fairat.methods.history import ClassHistory, EpochRecord
from fairat.methods.madry import AdversarialTraining
from fairat.methods.parts import ClassWeights, EqualWeights, Objective, Terms
from fairat.methods.trades import Trades
from fairat.methods.wat import NoRegretWeights
from fairat.settings.threat import Threat
from torch import Tensor

from tests.toys import UNIT, history_of

CE = torch.tensor([0.5, 0.4, 0.2], dtype=torch.float64)
KL = torch.tensor([0.3, 0.2, 0.1], dtype=torch.float64)
ONE_EACH = torch.arange(3)
ORIGINAL = Trades(beta=6, normalize=False)


def loss(
    part: ClassWeights,
    history: ClassHistory,
    objective: Objective,
    labels: Tensor = ONE_EACH,
    clean: Tensor | None = CE,
) -> float:
    terms = Terms(clean, KL, torch.zeros(3, 3, dtype=torch.float64))
    return part.coefficients(history, objective).combine(terms, labels).item()


def history_with_recalls(*recalls: int) -> ClassHistory:
    """Recalls in percent; errors go to the next class."""
    number = len(recalls)
    confusion = torch.zeros(number, number, dtype=torch.int64)
    for label, recall in enumerate(recalls):
        confusion[label, label] = recall
        confusion[label, (label + 1) % number] += 100 - recall
    return history_of(confusion.tolist())


def test_calibrated_weights_grow_with_robust_accuracy() -> None:
    """AF-17."""
    part = CalibratedWeights(begin_epoch=1)
    for recalls, expected in (
        ((0, 40, 100), (0.75, 0.84375, 0.9)),
        ((20, 50, 80), (0.80769231, 0.85714286, 0.88636364)),
    ):
        coefficients = part.coefficients(history_with_recalls(*recalls), Trades(beta=6))
        assert coefficients.robust.tolist() == pytest.approx(expected, abs=1e-8)
        assert (coefficients.clean + coefficients.robust).tolist() == pytest.approx([1, 1, 1])
    history = history_with_recalls(20, 50, 80)
    assert loss(part, history, Trades(beta=6)) == pytest.approx(0.2261322, abs=1e-7)
    assert loss(EqualWeights(), history, Trades(beta=6)) == pytest.approx(0.2238095, abs=1e-7)
    assert loss(EqualWeights(), history, ORIGINAL) == pytest.approx(1.5666667, abs=1e-7)
    clean, robust = (torch.tensor([value], dtype=torch.float64) for value in (0.1698460196, 0.3797382535))
    terms = Terms(clean, robust, torch.zeros(1, 3))
    single = part.coefficients(history_with_recalls(40, 40, 40), Trades(beta=6)).combine(terms, torch.tensor([0]))
    assert single.item() == pytest.approx(0.3469425919, abs=1e-7)


def test_before_its_first_epoch_ccr_is_normalized_trades() -> None:
    """AF-38."""
    for history in (ClassHistory(3), history_with_recalls(20, 50, 80)):
        assert loss(CalibratedWeights(begin_epoch=2), history, Trades(beta=6)) == pytest.approx(0.2238095, abs=1e-7)


def frl_history(rounds: int, num_classes: int = 10) -> ClassHistory:
    """Clean errors 0.1 (class 3: 0.4) and boundary errors 0.3 (class 3: 0.6), relative to the averages of AF-26."""
    clean, robust = (torch.zeros(num_classes, num_classes, dtype=torch.int64) for _ in range(2))
    for label in range(num_classes):
        right, withstood = (600, 0) if label == 3 else (900, 600)
        for matrix, kept in ((clean, right), (robust, withstood)):
            matrix[label, label] = kept
            matrix[label, (label + 1) % num_classes] += 1000 - kept
    record = {"val.clean": clean, "val.pgd20": robust}
    return ClassHistory(num_classes, tuple(EpochRecord(epoch, record) for epoch in range(-1, rounds - 1)))


def test_frl_raises_weights_and_radii_of_classes_with_large_gaps() -> None:
    """AF-26."""
    others = [label for label in range(10) if label != 3]
    expected = {
        1: ((0.01, 0.02, 0.04, -0.02), (0.109, 0.099), (0.118, 0.098), (1.0832870677, 0.98), 2.16657414),
        2: ((0.02, 0.04, 0.08, -0.04), (0.118, 0.098), (0.136, 0.096), (1.1735108710, 0.98), 2.34702174),
    }
    for rounds, (multipliers, w0, w1, factors, step) in expected.items():
        history = frl_history(rounds)
        state = FrlController().multipliers(history)
        assert [state.clean[3], state.boundary[3], state.radius[3], state.radius[0]] == pytest.approx(multipliers)
        assert state.clean[others].abs().sum() == state.boundary[others].abs().sum() == 0
        weights = FrlReweight().coefficients(history, Trades(beta=1.5, normalize=False))
        assert [weights.clean[3], weights.clean[0]] == pytest.approx(w0)
        assert [weights.robust[3], weights.robust[0]] == pytest.approx(w1)
        margin = FrlRemargin().factors(history)
        assert [margin[3], margin[0]] == pytest.approx(factors)
        radii = margin * 8 * UNIT
        steps = FrlRemargin().steps(radii[[0, 3, 5]], Threat(epsilon=8 * UNIT, step_size=2 * UNIT, num_steps=10))
        assert (steps / UNIT).tolist() == pytest.approx([step] * 3)


def test_the_frl_loss_divides_each_term_by_its_own_weights() -> None:
    """AF-26: images of classes 3, 0, 1."""
    objective = Trades(beta=1.5, normalize=False)
    assert loss(FrlReweight(), frl_history(1), objective, torch.tensor([3, 0, 1])) == pytest.approx(0.6805639, abs=1e-7)


def test_frl_weights_stay_positive_and_their_sum_bounded() -> None:
    """W0_k >= (1 - limit) / K."""
    state = FrlController().multipliers(frl_history(500))
    assert state.clean.sum().item() <= 0.5 + 1e-12
    weights = FrlReweight().coefficients(frl_history(500), Trades(beta=1.5, normalize=False))
    assert weights.clean.min() >= 0.05 - 1e-12
    assert FrlRemargin().factors(frl_history(500)).max() == 3.0


def test_frl_has_moved_before_the_first_epoch() -> None:
    """AF-38: from the record e = -1."""
    assert frl_history(1).epoch == 0
    assert FrlRemargin().needs_start_record
    assert FrlRemargin().factors(frl_history(1))[3] > 1


def test_halving_comes_with_the_fortieth_epoch() -> None:
    by_round = [FrlController().multipliers(frl_history(rounds)).clean[3].item() for rounds in (39, 40)]
    plain = FrlController(halve_at=1000)
    assert by_round[0] == pytest.approx(plain.multipliers(frl_history(39)).clean[3].item())
    assert by_round[1] == pytest.approx(by_round[0] + 0.005)


def wat_history(*costs: tuple[float, float, float]) -> ClassHistory:
    """Records whose costs are the given ones, all in the cross-entropy."""
    counts = torch.eye(3, dtype=torch.int64) * 7
    zeros = torch.zeros(3, dtype=torch.float64)
    records = [
        EpochRecord(epoch, {"val.clean": counts, "val.ce": torch.tensor(cost, dtype=torch.float64), "val.kl": zeros})
        for epoch, cost in enumerate(costs)
    ]
    return ClassHistory(3, tuple(records))


def test_the_opponent_of_wat_weighs_classes_by_accumulated_cost() -> None:
    """AF-27."""
    first, second = (2.0, 1.0, 3.0), (2.5, 1.5, 2.0)
    part = NoRegretWeights()
    after_one = part.weights(wat_history(first), beta=6)
    assert after_one.tolist() == pytest.approx((0.74812812, 0.67693432, 0.82680944, 0.74812812), abs=1e-8)
    after_two = part.weights(wat_history(first, second), beta=6)
    assert after_two.tolist() == pytest.approx((0.78508726, 0.64277509, 0.82533955, 0.74679810), abs=1e-8)
    assert after_one.sum().item() == pytest.approx(3)
    assert loss(part, wat_history(first), ORIGINAL) == pytest.approx(2.3271465, abs=1e-7)


def test_the_first_epoch_of_wat_is_twice_trades_and_equal_costs_are_even() -> None:
    """AF-27, AF-38."""
    part = NoRegretWeights()
    assert loss(part, ClassHistory(3), ORIGINAL) == pytest.approx(2 * loss(EqualWeights(), ClassHistory(3), ORIGINAL))
    ones = torch.ones(10, dtype=torch.float64)
    record = EpochRecord(0, {"val.clean": torch.eye(10, dtype=torch.int64), "val.ce": ones, "val.kl": ones})
    ten = ClassHistory(10, (record,))
    assert part.weights(ten, beta=6).tolist() == pytest.approx([10 / 11] * 11)
    huge = part.weights(wat_history((2000.0, 2000.0, 2000.0)), beta=6)
    assert huge.isfinite().all()


def test_the_average_cost_of_wat_weighs_classes_by_their_images() -> None:
    history = wat_history((2.0, 1.0, 3.0))
    counts = torch.diag(torch.tensor([2, 1, 1]))
    record = EpochRecord(0, {**history.records[0].fields, "val.clean": counts})
    weights = NoRegretWeights().weights(ClassHistory(3, (record,)), beta=6)
    # (2 * 2 + 1 + 3) / 4 = 2: the average's weight equals that of class 0.
    assert weights[3].item() == pytest.approx(weights[0].item())


S = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)


def test_dafa_moves_weight_from_easy_to_similar_hard_classes() -> None:
    """AF-28."""
    assert distance_weights(S, 1.0).tolist() == pytest.approx((1.34, 0.98, 0.68))
    assert distance_weights(S, 1.5).tolist() == pytest.approx((1.51, 0.97, 0.52))
    tie = torch.tensor([[0.5, 0.3, 0.2], [0.3, 0.5, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)
    assert distance_weights(tie, 1.0).tolist() == pytest.approx((1.01, 1.01, 0.68))


def dafa_history() -> ClassHistory:
    return ClassHistory(3, (EpochRecord(69, {"train.soft": S}),))


def test_dafa_weighs_the_clean_term_or_the_only_one() -> None:
    """AF-28"""
    assert loss(DistanceWeights(), dafa_history(), ORIGINAL) == pytest.approx(1.5993334, abs=1e-6)
    on_at = loss(DistanceWeights(), dafa_history(), AdversarialTraining(), clean=None)
    assert on_at == pytest.approx((1.34 * 0.3 + 0.98 * 0.2 + 0.68 * 0.1) / 3)


def test_dafa_scales_radius_and_step_and_waits_for_its_epoch() -> None:
    margin, threat = DistanceMargin(), Threat(epsilon=8 * UNIT, step_size=2 * UNIT, num_steps=10)
    assert margin.factors(ClassHistory(3)).tolist() == [1, 1, 1]
    radii = margin.factors(dafa_history()) * threat.epsilon
    assert (margin.steps(radii, threat) / UNIT).tolist() == pytest.approx((2.68, 1.96, 1.36))


def test_a_dafa_weight_that_is_not_positive_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"class 2 the weight -0\.\d+, but weights must be positive. Lower lam \(now 4\)"
    ):
        DistanceMargin(lam=4).factors(dafa_history())


@pytest.mark.parametrize("part", [CalibratedWeights(begin_epoch=0), NoRegretWeights(), DistanceWeights()])
def test_without_a_history_weights_are_the_same_for_all_classes(part: ClassWeights) -> None:
    """AF-38: at e = 0 every policy is neutral (FRL has its record e = -1)."""
    coefficients = part.coefficients(ClassHistory(4), ORIGINAL)
    assert len(set(coefficients.clean.tolist())) == len(set(coefficients.robust.tolist())) == 1


def test_permuted_classes_permute_the_weights() -> None:
    order = torch.tensor([2, 0, 1])
    permuted = distance_weights(S[order][:, order], 1.0)
    torch.testing.assert_close(permuted, distance_weights(S, 1.0)[order])
    costs = NoRegretWeights().weights(wat_history((3.0, 2.0, 1.0)), beta=6)
    torch.testing.assert_close(costs[:3], NoRegretWeights().weights(wat_history((2.0, 1.0, 3.0)), beta=6)[:3][order])
