"""Early stopping and traces on scripted models (AF-22, AF-23, AF-24, AF-25)."""

import math
from typing import Any

import pytest
import torch
from fairat.methods.bat import BalanceAdversarialTraining
from fairat.methods.fat import FriendlyAdversarialTraining
from fairat.methods.gairat import Gairat
from fairat.methods.history import ClassHistory
from fairat.methods.losses import cross_entropy
from fairat.methods.madry import AdversarialTraining
from fairat.methods.parts import Batch, EqualWeights, Trace
from torch import Tensor, nn

from tests.toys import IdentityModel, pixels

STEP = 0.01
SEQUENCES = {
    "all correct": "1111111111",
    "all wrong": "0000000000",
    "two correct, then wrong": "1100000000",
    "alternating": "1010101010",
    "nine correct, then wrong": "1111111110",
    "wrong once": "1011111111",
}


class ScriptedModel(nn.Module):
    """Predicts class 0 or 1 at successive checks as told, and moves its image up by one step each time it is followed."""

    def __init__(self, sequences: list[str], skip: int = 0) -> None:
        super().__init__()
        self.correct = torch.tensor([[digit == "1" for digit in sequence] for sequence in sequences])
        self.calls = -skip

    def forward(self, images: Tensor) -> Tensor:
        check = min(max(self.calls, 0), self.correct.shape[1] - 1)
        self.calls += 1
        right = self.correct[:, check].to(images.dtype)
        # The logits' value follows the script; their gradient always favors a larger first pixel.
        climb = images[:, 0, 0, 0] - images[:, 0, 0, 0].detach()
        return torch.stack([10 * right - climb, 5 + climb], dim=1)


def batch(count: int, *, num_steps: int = 10, epoch: int = 0, targets: Tensor | None = None) -> Batch:
    return Batch(
        images=torch.zeros(count, 1, 1, 1),
        labels=torch.zeros(count, dtype=torch.int64),
        targets=targets,
        epsilon=torch.full((count,), 0.9),
        step_size=torch.full((count,), STEP),
        num_steps=num_steps,
        generator=torch.Generator().manual_seed(0),
        epoch=epoch,
    )


def start_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fairat.methods.parts.initial_perturbation", lambda kind, images, epsilon, generator: torch.zeros_like(images)
    )


def steps(images: Tensor) -> list[int]:
    """How many steps each image has made."""
    return (images.flatten() / STEP).round().int().tolist()


@pytest.mark.parametrize(
    ("variant", "tau", "taken"),
    [
        ("cfa", 0, [0, 0, 0, 0, 0, 0]),
        ("cfa", 1, [10, 1, 3, 2, 10, 2]),
        ("cfa", 3, [10, 3, 5, 6, 10, 10]),
        ("original", 0, [10, 0, 2, 1, 9, 1]),
        ("original", 1, [10, 1, 3, 3, 10, 10]),
        ("original", 3, [10, 3, 5, 7, 10, 10]),
        ("original", 10, [10] * 6),
        ("cfa", 10, [10] * 6),
    ],
)
def test_images_stop_some_steps_after_they_are_misclassified(
    variant: str, tau: int, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AF-23; tau = T is AT (10 steps each)."""
    start_at_zero(monkeypatch)
    objective = FriendlyAdversarialTraining.model_validate({"variant": variant, "tau": tau})
    # The original's noise is left out here: it would blur the count of steps.
    monkeypatch.setattr(Tensor, "normal_", lambda self, **_: self.zero_())
    model = ScriptedModel(list(SEQUENCES.values()))
    assert steps(objective.attack(model, batch(6)).adversarial) == taken


def test_fat_with_as_much_patience_as_steps_is_adversarial_training() -> None:
    """AF-23 on a real network, bit for bit."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    one = Batch(
        torch.rand(8, 1, 2, 2), torch.randint(0, 3, (8,)), None, torch.full((8,), 0.1), torch.full((8,), 0.03), 5,
        torch.Generator().manual_seed(1), 0,
    )  # fmt: skip
    friendly = FriendlyAdversarialTraining(tau=5).attack(model, one).adversarial
    one.generator.manual_seed(1)
    assert torch.equal(friendly, AdversarialTraining().attack(model, one).adversarial)


def test_tau_follows_its_schedule() -> None:
    """0, then 1 from epoch 50, 2 from 90."""
    schedule = [{"at": 50, "tau": 1}, {"at": 90, "tau": 2}]
    objective = FriendlyAdversarialTraining.model_validate({"variant": "original", "tau": 0, "tau_schedule": schedule})
    assert [objective.tau_at(epoch) for epoch in (0, 49, 50, 89, 90, 119)] == [0, 0, 1, 1, 2, 2]
    assert [objective.scaled(0.1).tau_at(epoch) for epoch in (4, 5, 9)] == [0, 1, 2]


def test_with_targets_the_attack_aims_at_them_and_may_stop_on_hitting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A8 in docs/deviations.md: on two classes misclassified and hit are the same."""
    start_at_zero(monkeypatch)
    found = []
    for stop_on in ("misclassified", "target_hit"):
        objective = FriendlyAdversarialTraining.model_validate({"tau": 1, "stop_on": stop_on})
        targets = torch.ones(6, dtype=torch.int64)
        model = ScriptedModel(list(SEQUENCES.values()))
        found.append(steps(objective.attack(model, batch(6, targets=targets)).adversarial))
    assert found[0] == found[1] == [10, 1, 3, 2, 10, 2]


@pytest.mark.parametrize(
    ("overshoot", "last_clean", "first_adversarial"),
    [(0, [10, 0, 1, 0, 8, 0], [10, 0, 2, 1, 9, 1]), (1, [10, 0, 1, 0, 8, 0], [10, 1, 3, 3, 10, 10])],
)
def test_bat_keeps_the_last_clean_and_the_first_adversarial_point(
    overshoot: int, last_clean: list[int], first_adversarial: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AF-22."""
    start_at_zero(monkeypatch)
    # The scripted logits jump; an attack loss that climbs keeps one step per check.
    monkeypatch.setattr("fairat.methods.trades.divergence", lambda clean, logits: logits[:, 1] - logits[:, 0])
    objective = BalanceAdversarialTraining(overshoot=overshoot)
    # One forward more comes first: p(x), which the divergence is measured from.
    trace = objective.attack(ScriptedModel(list(SEQUENCES.values()), skip=1), batch(6))
    assert trace.last_clean is not None
    assert steps(trace.last_clean) == last_clean
    assert steps(trace.adversarial) == first_adversarial


def test_gairat_counts_correct_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """AF-22."""
    start_at_zero(monkeypatch)
    trace = Gairat().attack(ScriptedModel(list(SEQUENCES.values())), batch(6))
    assert trace.correct_checks is not None
    assert trace.correct_checks.tolist() == [10, 0, 2, 5, 9, 9]


def test_gairat_weights_are_the_closed_form() -> None:
    """AF-24."""
    weights = Gairat().image_weights(torch.tensor([0, 5, 10, 10]), 10)
    expected = torch.tensor([3.57380514, 0.42615093, 2.1965e-05, 2.1965e-05], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, atol=1e-8, rtol=1e-4)
    losses = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)
    assert (weights * losses).mean().item() == pytest.approx(1.1065651882, abs=1e-9)
    values = [0.99966465, 0.5, 0.11920292, 6.1441746e-06]
    singles = [torch.sigmoid(torch.tensor(2 * (-1 + 5 * (1 - 2 * kappa / 10)))).item() for kappa in (0, 4, 5, 10)]
    assert singles == pytest.approx(values, abs=1e-7)
    ratio = Gairat().image_weights(torch.tensor([4, 5]), 10)
    assert (ratio[0] / ratio[1]).item() == pytest.approx(0.5 / 0.1192029220, rel=1e-8)


def test_gairat_with_infinite_offset_or_before_its_start_is_adversarial_training() -> None:
    """AF-24"""
    assert torch.equal(
        Gairat(offset=math.inf).image_weights(torch.tensor([0, 5, 10]), 10), torch.ones(3, dtype=torch.float64)
    )
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(1, 2)), batch(3, epoch=58)
    trace = Trace(images.images, correct_checks=torch.tensor([0, 5, 10]))
    terms = Gairat().terms(model, images, trace)
    assert terms.robust is not None
    torch.testing.assert_close(terms.robust, cross_entropy(model(images.images), images.labels))
    late = Gairat().terms(model, batch(3, epoch=59), trace)
    assert late.robust is not None
    assert not torch.allclose(late.robust, terms.robust)


class GivenLogits(nn.Module):
    """Answers successive forwards with given logits."""

    def __init__(self, *logits: list[float]) -> None:
        super().__init__()
        self.logits = [torch.tensor([row], dtype=torch.float64, requires_grad=True) for row in logits]
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.logits[self.calls - 1]


def bat_loss(**settings: Any) -> tuple[Tensor, GivenLogits]:
    objective = BalanceAdversarialTraining(**settings)
    model = GivenLogits([2, 0, -1], [1, 1, 0], [2, 0.5, -1])  # xc, xa, x
    image = torch.zeros(1, 1, 1, 1)
    terms = objective.terms(model, batch(1), Trace(image, last_clean=image))
    weights = EqualWeights().coefficients(ClassHistory(3), objective)
    return weights.combine(terms, torch.tensor([0])), model


def test_the_bat_loss_is_the_closed_form() -> None:
    """AF-25."""
    assert bat_loss()[0].item() == pytest.approx(2.5025831, abs=1e-6)
    assert bat_loss(uniform_weight=0.0)[0].item() == pytest.approx(0.1698460 + 1.6771362, abs=1e-6)
    z = torch.tensor([[2.0, 0, -1]], dtype=torch.float64)
    assert BalanceAdversarialTraining().to_uniform(z).item() == pytest.approx(0.5743456719, abs=1e-9)
    assert BalanceAdversarialTraining(uniform_kl="paper").to_uniform(z).item() == pytest.approx(0.7379003976, abs=1e-9)


def test_all_three_bat_predictions_receive_gradients() -> None:
    loss, model = bat_loss()
    loss.backward()
    assert all(logits.grad is not None and logits.grad.abs().sum() > 0 for logits in model.logits)


def test_the_uniform_terms_have_the_gradient_of_finite_differences() -> None:
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    for form in ("code", "paper"):
        assert torch.autograd.gradcheck(
            BalanceAdversarialTraining.model_validate({"uniform_kl": form}).to_uniform, logits
        )


@pytest.mark.parametrize("wrong", [True, False])
def test_cfa_looks_at_the_images_once_more_unless_its_attack_ended_because_none_was_left(wrong: bool) -> None:
    """Every image is wrong at the first check and has one step: the attack ends at the second. Or all steps are made."""
    objective = FriendlyAdversarialTraining(variant="cfa", tau=1)
    labels = torch.tensor([2 if wrong else 0] * 2)
    images = pixels(0.9, 0.4, 0.1).repeat(2, 1, 1, 1)
    radius = torch.full((2,), 0.01, dtype=torch.float64)
    batch = Batch(images, labels, None, radius, radius / 4, 4, torch.Generator().manual_seed(0), epoch=0)
    model = IdentityModel().train()
    assert objective.attack(model, batch).last_checked is not wrong
    in_eval_mode = objective.model_copy(update={"attack_bn": "eval"})
    assert in_eval_mode.attack(model, batch).last_checked is False
