"""The limits of every method: where it becomes another one, and where it is refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from fairat.errors import UserError
from fairat.methods import KINDS, build_part
from fairat.methods.averaging import Averages
from fairat.methods.bat import BalanceAdversarialTraining
from fairat.methods.cfa import CalibratedWeights, RobustAccuracyMargin
from fairat.methods.dafa import DistanceMargin, DistanceWeights, distance_weights
from fairat.methods.fair_tat import CfpsTargets, UniformTargets
from fairat.methods.fat import FriendlyAdversarialTraining
from fairat.methods.frl import FrlRemargin, FrlReweight
from fairat.methods.gairat import CorrectChecks, Gairat
from fairat.methods.history import ClassHistory, EpochRecord
from fairat.methods.losses import cross_entropy, divergence
from fairat.methods.madry import AdversarialTraining
from fairat.methods.method import Method
from fairat.methods.parts import Batch, ClassWeights, ConstantMargin, EqualWeights, Objective, Trace, ascend
from fairat.methods.trades import Trades
from fairat.methods.wat import NoRegretWeights
from fairat.settings.averaging import Averaging
from fairat.settings.threat import Threat
from torch import Tensor, nn

from tests.methods.test_compositions import VALID
from tests.methods.test_policies import history
from tests.toys import UNIT, IdentityModel, history_of, pixels

ORIGINAL = Trades(beta=3, normalize=False)


def network(classes: int = 4) -> nn.Module:
    """A smooth classifier of 2x2 images in float64, without batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, classes)).to(torch.float64)


def batch(
    labels: Tensor, *, epsilon: float = 0.1, num_steps: int = 4, targets: Tensor | None = None, epoch: int = 0
) -> Batch:
    """Random images with their labels; every call draws the same noise."""
    count = len(labels)
    return Batch(
        images=torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        labels=labels,
        targets=targets,
        epsilon=torch.full((count,), epsilon, dtype=torch.float64),
        step_size=torch.full((count,), 0.04, dtype=torch.float64),
        num_steps=num_steps,
        generator=torch.Generator().manual_seed(2),
        epoch=epoch,
    )


LABELS = torch.arange(12) % 4


def loss(
    objective: Objective, model: nn.Module, one: Batch, past: ClassHistory | None = None, **weights: Any
) -> Tensor:
    """The loss of one batch under class weights, `none` by default."""
    past = past or ClassHistory(4)
    part: ClassWeights = weights.get("part", EqualWeights())
    terms = objective.terms(model, one, objective.attack(model, one))
    return part.coefficients(past, objective).combine(terms, one.labels)


def clean_loss(model: nn.Module, one: Batch) -> Tensor:
    return cross_entropy(model(one.images), one.labels).mean()


def all_right(model: nn.Module) -> Tensor:
    """The labels that the model gives to the images of `batch`."""
    return model(batch(LABELS).images).argmax(dim=1)


RADIUS_ZERO = {
    "at": (AdversarialTraining(), 1.0),
    "trades, original": (Trades(beta=3, normalize=False), 1.0),
    "trades, normalized": (Trades(beta=3), 0.25),
    "fat, cfa": (FriendlyAdversarialTraining(tau=1), 1.0),
    "fat, original": (FriendlyAdversarialTraining(variant="original", tau=1), 1.0),
    "bat without uniform terms": (BalanceAdversarialTraining(uniform_weight=0), 1.0),
    "gairat before its start": (Gairat(start_epoch=1), 1.0),
}
"""Objectives, and what part of the clean loss is left of each in a ball without radius."""


@pytest.mark.parametrize("name", RADIUS_ZERO)
def test_in_a_ball_without_radius_every_method_is_clean_training(name: str) -> None:
    objective, share = RADIUS_ZERO[name]
    model = network()
    labels = all_right(model)
    for targets in (None, (labels + 1) % 4) if objective.accepts_targets else (None,):
        one = batch(labels, epsilon=0, targets=targets)
        torch.testing.assert_close(loss(objective, model, one), share * clean_loss(model, one))


def test_trades_without_divergence_is_clean_training_whatever_the_attack_finds() -> None:
    model, one = network(), batch(LABELS)
    torch.testing.assert_close(loss(Trades(beta=0), model, one), clean_loss(model, one))


def test_trades_with_a_large_beta_is_all_divergence() -> None:
    model, objective = network(), Trades(beta=1e9)
    terms = objective.terms(model, batch(LABELS), objective.attack(model, batch(LABELS)))
    assert terms.robust is not None
    torch.testing.assert_close(loss(objective, model, batch(LABELS)), terms.robust.mean())


def test_an_attack_that_ignores_its_targets_is_that_of_trades() -> None:
    """A7 in docs/deviations.md, `targeted_inner: kl_untargeted`; with `ce` it is another one."""
    model, aimed = network(), batch(LABELS, targets=(LABELS + 1) % 4)
    plain = Trades().attack(model, batch(LABELS)).adversarial
    assert torch.equal(Trades(targeted_inner="kl_untargeted").attack(model, aimed).adversarial, plain)
    assert not torch.equal(Trades().attack(model, batch(LABELS, targets=(LABELS + 1) % 4)).adversarial, plain)


@pytest.mark.parametrize("objective", [AdversarialTraining(attack_bn="eval"), FriendlyAdversarialTraining(tau=2)])
def test_with_two_classes_descent_to_the_target_is_ascent_from_the_truth(objective: Objective) -> None:
    """AF-03 on a network: FAIR-TAT with K = 2 is AT (or FAT) with its margin."""
    model, labels = network(classes=2), torch.arange(12) % 2
    plain = objective.attack(model, batch(labels)).adversarial
    assert torch.equal(objective.attack(model, batch(labels, targets=1 - labels)).adversarial, plain)


@pytest.mark.parametrize("targets", [CfpsTargets(scale=0), CfpsTargets(scale=1e-12)])
def test_scores_without_scale_are_uniform_targets(targets: CfpsTargets) -> None:
    torch.testing.assert_close(targets.table(history()), UniformTargets().table(history()))


@pytest.mark.parametrize("from_scores", ["softmax", "proportional"])
def test_equal_scores_are_uniform_targets(from_scores: str) -> None:
    even = history_of(((4, 1, 1), (1, 4, 1), (1, 1, 4)))
    targets = CfpsTargets.model_validate({"from_scores": from_scores})
    torch.testing.assert_close(targets.table(even), UniformTargets().table(even))


def test_scores_of_a_large_scale_aim_at_the_worst_offender_alone() -> None:
    table = CfpsTargets(scale=400).table(history_of(((4, 1, 2), (2, 4, 3), (1, 1, 4))))
    expected = torch.tensor([[0, 0, 1], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(table, expected)


def test_a_margin_of_equal_robust_accuracies_is_a_constant_one_of_another_radius() -> None:
    even = history_of(((4, 1, 1), (1, 4, 1), (1, 1, 4)))
    torch.testing.assert_close(RobustAccuracyMargin(offset=0.1).factors(even), torch.full((3,), 0.1 + 2 / 3).double())
    assert torch.equal(RobustAccuracyMargin(offset=1 / 3).factors(even), ConstantMargin().factors(even))


@pytest.mark.parametrize("right", [1, 4])
def test_calibrated_weights_of_equal_accuracies_are_trades_with_another_beta(right: int) -> None:
    """q / (1 - q) = (lambda_2 + r) beta."""
    even = history_of(((right, 1, 1, 1), (1, right, 1, 1), (1, 1, right, 1), (1, 1, 1, right)))
    model, recall = network(), right / (right + 3)
    calibrated = loss(Trades(beta=3), model, batch(LABELS), even, part=CalibratedWeights(offset=0.5, begin_epoch=1))
    torch.testing.assert_close(calibrated, loss(Trades(beta=3 * (0.5 + recall)), model, batch(LABELS)))


def test_fat_that_never_steps_trains_on_its_start_and_says_so() -> None:
    idle = FriendlyAdversarialTraining(tau=0)
    one = batch(LABELS)
    start = torch.empty_like(one.images).uniform_(-1, 1, generator=torch.Generator().manual_seed(2)) * 0.1
    found = idle.attack(network(), one).adversarial
    torch.testing.assert_close(found, (one.images + start).clamp(0, 1))
    (caution,) = idle.cautions(200)
    assert "tau is 0 in 200 of 200 epochs" in caution
    assert "variant: original" in caution
    assert idle.model_copy(update={"tau": 1}).cautions(200) == []
    assert FriendlyAdversarialTraining(variant="original", tau=0).cautions(200) == []


def test_the_order_of_a_tau_schedule_does_not_matter() -> None:
    entries = [{"at": 90, "tau": 2}, {"at": 50, "tau": 1}]
    there, back = (
        FriendlyAdversarialTraining.model_validate({"tau": 0, "tau_schedule": order})
        for order in (entries, entries[::-1])
    )
    assert [there.tau_at(epoch) for epoch in range(100)] == [back.tau_at(epoch) for epoch in range(100)]


EVEN = torch.full((4, 4), 10, dtype=torch.int64) + 60 * torch.eye(4, dtype=torch.int64)
"""Every class has the same errors."""


def frl_history(clean: Tensor, robust: Tensor) -> ClassHistory:
    return ClassHistory(len(clean), (EpochRecord(-1, {"val.clean": clean, "val.pgd20": robust}),))


def test_frl_with_equal_errors_is_trades_and_at_most_two_percent_less_radius() -> None:
    """Within the tolerances nothing is raised: w = 1/K and m = 0.98."""
    past, model = frl_history(EVEN, EVEN), network()
    weighted = loss(ORIGINAL, model, batch(LABELS), past, part=FrlReweight())
    torch.testing.assert_close(weighted, loss(ORIGINAL, model, batch(LABELS)))
    assert FrlRemargin().factors(past).tolist() == pytest.approx([0.98] * 4)


def test_frl_without_rates_or_without_tolerated_gaps_is_constant() -> None:
    assert FrlRemargin(tau1=0).factors(frl_history(EVEN, EVEN)).tolist() == pytest.approx([1.0] * 4)
    assert FrlRemargin(rate2=0).factors(history()).tolist() == [1.0] * 5
    weights = FrlReweight(rate1=0).coefficients(history(), ORIGINAL)
    assert torch.cat([weights.clean, weights.robust]).tolist() == pytest.approx([0.2] * 10)


def test_frl_without_a_limit_raises_no_weight() -> None:
    weights = FrlReweight(limit=0, tau0=0, tau1=0).coefficients(history(), ORIGINAL)
    assert torch.cat([weights.clean, weights.robust]).tolist() == pytest.approx([0.2] * 10)


def test_bat_of_images_that_withstand_is_trades_at_the_last_iterate() -> None:
    """No wrong check and no uniform terms: CE(x_T, y) + beta KL(p(x) || p(x_T)), x_T from the attack of TRADES."""
    model = network()
    one = batch(all_right(model), epsilon=0.002)
    found = Trades().attack(model, batch(all_right(model), epsilon=0.002)).adversarial
    expected = cross_entropy(model(found), one.labels) + 3 * divergence(model(one.images), model(found))
    torch.testing.assert_close(loss(BalanceAdversarialTraining(beta=3, uniform_weight=0), model, one), expected.mean())


def test_bat_of_images_that_are_wrong_at_once_fits_its_start() -> None:
    model = network()
    one = batch((all_right(model) + 1) % 4)
    trace = BalanceAdversarialTraining(overshoot=0).attack(model, one)
    start = torch.empty_like(one.images).normal_(generator=torch.Generator().manual_seed(2)) * 0.001
    assert trace.last_clean is not None
    torch.testing.assert_close(trace.last_clean, (one.images + start).clamp(0, 1))
    torch.testing.assert_close(trace.adversarial, trace.last_clean)


def test_independent_trajectories_share_the_first_point_only() -> None:
    """The loss has no term with both points, so its expectation is the same."""
    model, points = network(), []
    for trajectories in ("shared", "independent"):
        objective = BalanceAdversarialTraining.model_validate({"trajectories": trajectories})
        points.append(objective.attack(model, batch(LABELS)))
    shared, independent = points
    assert torch.equal(shared.last_clean, independent.last_clean)
    assert not torch.equal(shared.adversarial, independent.adversarial)


def test_bat_that_fits_the_attacked_image_without_uniform_terms_is_trades() -> None:
    """Its Table 2, No. 6, without what is BAT's own; both boundary points are found and not used."""
    model, one = network(), batch(LABELS)
    objective = BalanceAdversarialTraining(beta=3, fits="trades", uniform_on=())
    trace = objective.attack(model, one)
    assert trace.attacked is not None
    ours, theirs = objective.terms(model, one, trace), ORIGINAL.terms(model, one, Trace(trace.attacked))
    torch.testing.assert_close((ours.clean, ours.robust, ours.logits), (theirs.clean, theirs.robust, theirs.logits))
    assert ours.auxiliary is None
    assert objective.coefficients == ORIGINAL.coefficients


def test_bat_without_uniform_points_is_bat_without_their_weight() -> None:
    """Its Table 2, No. 1."""
    model = network()
    without, weightless = BalanceAdversarialTraining(uniform_on=()), BalanceAdversarialTraining(uniform_weight=0)
    torch.testing.assert_close(loss(without, model, batch(LABELS)), loss(weightless, model, batch(LABELS)))


def test_the_uniform_terms_of_bat_add_up() -> None:
    """Its Table 2, No. 2, 3 and 5."""
    model, points = network(), (("last_clean",), ("first_wrong",), ("last_clean", "first_wrong"), ())
    first, second, both, none = (
        loss(BalanceAdversarialTraining.model_validate({"uniform_on": chosen}), model, batch(LABELS))
        for chosen in points
    )
    torch.testing.assert_close(first + second, both + none)


def test_wat_without_a_rate_weighs_all_classes_the_same() -> None:
    """2K / (K + 1) times TRADES, K = 5."""
    coefficients = NoRegretWeights(eta=0).coefficients(history(), ORIGINAL)
    assert coefficients.clean.tolist() == pytest.approx([10 / 6] * 5)
    assert coefficients.robust.tolist() == pytest.approx([30 / 6] * 5)


def test_wat_with_a_large_rate_weighs_the_costliest_class_alone() -> None:
    costs = sum((record["val.ce"] + 3 * record["val.kl"] for record in history().records[1:]), torch.zeros(5))
    weights = NoRegretWeights(eta=1e6).weights(history(), beta=3)
    assert weights.argmax() == costs.argmax()
    assert weights.max().item() == pytest.approx(5)


def test_dafa_without_strength_is_trades() -> None:
    coefficients = DistanceWeights(lam=0, begin_epoch=1).coefficients(history(), ORIGINAL)
    assert (coefficients.clean.tolist(), coefficients.robust.tolist()) == ([1.0] * 5, [3.0] * 5)
    assert DistanceMargin(lam=0, begin_epoch=1).factors(history()).tolist() == [1.0] * 5


def test_dafa_of_classes_that_are_never_confused_changes_nothing() -> None:
    assert distance_weights(torch.eye(3, dtype=torch.float64), 1.0).tolist() == [1.0] * 3


def test_a_class_without_images_takes_no_part_in_dafa() -> None:
    """The others are weighed as if it were not there."""
    soft = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64)
    absent = soft.clone()
    absent[2] = torch.nan
    weights = distance_weights(absent, 1.0)
    torch.testing.assert_close(weights[:2], distance_weights(soft[:2, :2], 1.0))
    assert weights[2] == 1


def test_dafa_steps_vanish_with_the_radius() -> None:
    assert (
        DistanceMargin().steps(torch.zeros(3), Threat(epsilon=0.0, step_size=0.1, num_steps=10)).tolist() == [0.0] * 3
    )


@pytest.mark.parametrize("checks", [0, 3, 4])
def test_gairat_of_images_that_withstand_alike_is_adversarial_training(checks: int) -> None:
    """Equal weights, after its start too."""
    model, one = network(), batch(LABELS, epoch=99)
    trace = Trace(one.images, correct_checks=torch.full((12,), checks))
    terms = Gairat(start_epoch=0).terms(model, one, trace)
    torch.testing.assert_close(terms.robust, AdversarialTraining().terms(model, one, trace).robust)


def test_gairat_needs_an_attack_of_two_steps() -> None:
    with pytest.raises(UserError, match=r"but the attack has 1\. Set threat\.num_steps .* to 2 or more\."):
        Gairat(start_epoch=0).terms(
            network(), batch(LABELS, num_steps=1), Trace(batch(LABELS).images, correct_checks=LABELS)
        )


@pytest.mark.parametrize(
    ("image", "steps"),
    [((0.5, 0.46, 0.3), 13), ((0.5, 0.4, 0.3), 1000), ((0.4, 0.46, 0.3), 0)],
    ids=["13", "never", "0"],
)
def test_the_checks_an_image_withstands_are_the_steps_that_break_it(image: tuple[float, ...], steps: int) -> None:
    """AF-32: zero start, step 0.4/255, radius 8/255, at most 1,000 steps; never broken counts 1,000."""
    label = torch.tensor([0])
    one = Batch(
        pixels(*image), label, None, torch.full((1,), 8 * UNIT).double(), torch.full((1,), 0.4 * UNIT).double(), 1000,
        torch.Generator(), 0,
    )  # fmt: skip
    checks = CorrectChecks(label)
    ascend(
        IdentityModel(),
        one,
        loss=lambda logits: cross_entropy(logits, label),
        start="zero",
        batch_norm="eval",
        observer=checks,
    )
    assert checks.count.tolist() == [steps]


def averages_after(settings: Averaging, values: list[float]) -> dict[str, float]:
    averages = Averages(settings, epochs=len(values))
    for epoch, value in enumerate(values):
        averages.update(epoch, {"weight": torch.tensor([value], dtype=torch.float64)}, worst_class=0.0, overall=0.0)
    return {name: state["weight"].item() for name, state in averages.sets.items()}


def test_averages_without_memory_or_gate_are_the_last_weights_and_ema() -> None:
    assert averages_after(Averaging(start_epoch=0, decay=0, threshold=0), [1, 2, 5])["ema"] == 5
    assert averages_after(Averaging(start_epoch=0, decay=1, threshold=0), [1, 2, 5])["ema"] == 1
    open_gate = averages_after(Averaging(start_epoch=0, threshold=0), [1, 2, 5])
    assert open_gate["fawa"] == open_gate["ema"]


@pytest.mark.parametrize(
    "parts",
    [
        {"objective": "at", "margin": {"kind": "robust_accuracy", "begin_epoch": 8}},
        {"objective": "trades", "class_weights": {"kind": "ccr", "begin_epoch": 8}},
        {"objective": "trades", "margin": {"kind": "distance", "begin_epoch": 8}, "class_weights": {"kind": "distance", "begin_epoch": 8}},
        {"objective": {"kind": "gairat", "start_epoch": 8}},
    ],
    ids=lambda parts: list(parts)[-1],
)  # fmt: skip
def test_a_part_that_begins_after_the_last_epoch_is_cautioned(parts: dict[str, Any]) -> None:
    """One sentence for both parts of DAFA."""
    method = Method.model_validate({"label": "test", **parts})
    (caution,) = method.cautions(8)
    assert "would act from epoch 8 on" in caution
    assert "only 8 epochs" in caution
    assert method.cautions(9) == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS["objective"] if kind != "clean"])
def test_renaming_the_classes_does_not_change_the_loss(kind: str) -> None:
    """The network's outputs, the labels and the targets renamed alike."""
    objective = build_part("objective", kind)
    order = torch.tensor([2, 0, 3, 1])
    model, renamed = network(), network()
    last_layer = {"3.weight", "3.bias"}
    state = renamed.state_dict()
    renamed.load_state_dict({name: value[order] if name in last_layer else value for name, value in state.items()})
    # Class `order[k]` is now called k.
    name_of = order.argsort()
    targets = (LABELS + 1) % 4 if objective.accepts_targets else None
    one = batch(LABELS, targets=targets, epoch=99)
    other = replace(batch(name_of[LABELS], epoch=99), targets=None if targets is None else name_of[targets])
    torch.testing.assert_close(loss(objective, model, one), loss(objective, renamed, other))


LOSSES = sorted({(parts["objective"], parts["class_weights"]) for parts in VALID})


@pytest.mark.parametrize(("kind", "weights"), LOSSES)
def test_the_loss_has_the_gradient_of_finite_differences(kind: str, weights: str) -> None:
    """As a function of the network's weights, at given training images: every term, every class weighting."""
    method = Method.model_validate({"label": "test", "objective": kind, "class_weights": weights})
    objective, one = method.objective, batch(LABELS, epoch=99)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 5)).to(torch.float64)
    trace = objective.attack(model, one)
    coefficients = method.class_weights.coefficients(history(), objective)

    def value(weight: Tensor, bias: Tensor) -> Tensor:
        class Given(nn.Module):
            def forward(self, images: Tensor) -> Tensor:
                return nn.functional.linear(images.flatten(1), weight, bias)

        return coefficients.combine(objective.terms(Given(), one, trace), one.labels)

    parameters = tuple(parameter.detach().clone().requires_grad_() for parameter in model.parameters())
    assert torch.autograd.gradcheck(value, parameters)
