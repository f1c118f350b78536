"""AutoAttack and Square as evaluations, against the package's own driver and attacks."""

from dataclasses import replace
from typing import cast

import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from pipeline import seeds
from pipeline.attacks import autoattack
from pipeline.attacks.autoattack import Member, Perturbing, attack_survivors
from pipeline.attacks.pgd import attacking
from pipeline.config import AutoAttackEvaluation, SquareEvaluation
from pipeline.evaluation.protocol import evaluate_model
from tests.evaluation.toys import EPSILON, Ledger, Seeing, tiny_model, tiny_set

BUDGET = AutoAttackEvaluation(iterations=5, target_classes=2, queries=20)
UNUSED = {"model", "predict", "device", "logger"}


def driven(classes: int, protocol: AutoAttackEvaluation, attacks: list[str]) -> list[int]:
    """The predictions that the package's own driver leaves, with its attacks on our budget and our evaluation's seed."""
    model, test = tiny_model(classes).eval().requires_grad_(False), tiny_set(classes=classes)
    seed, targets = seeds.derived(0, "evaluation.autoattack"), classes - 1
    driver = AutoAttack(model, eps=EPSILON, seed=seed)
    driver.attacks_to_run = attacks
    driver.apgd = APGDAttack(model, n_iter=protocol.iterations, eps=EPSILON)
    driver.apgd_targeted = APGDAttack_targeted(model, n_iter=protocol.iterations, eps=EPSILON, n_target_classes=targets)
    driver.fab = FABAttack_PT(model, n_iter=protocol.iterations, eps=EPSILON, n_target_classes=targets)
    driver.square.n_queries = protocol.queries
    _, predictions = driver.run_standard_evaluation(test.images / 255, test.labels, batch_size=protocol.batch_size)
    return predictions.tolist()


def test_autoattack_leaves_the_predictions_of_the_package_s_own_driver() -> None:
    protocol = AutoAttackEvaluation(iterations=12, queries=60, batch_size=16)
    expected = driven(5, protocol, ["apgd-ce", "apgd-t", "fab-t", "square"])
    rows = evaluate_model("autoattack", tiny_model(), tiny_set(), protocol, epsilon=EPSILON).to_pandas()
    assert rows["adversarial"].tolist() == expected
    clean, robust = (rows[name].to_numpy() == rows["label"].to_numpy() for name in ("clean", "adversarial"))
    assert 40 > clean.sum() > robust.sum() > 5
    assert clean[robust].all()


def test_the_published_budget_builds_the_attacks_of_the_package_s_standard_version() -> None:
    protocol, model = AutoAttackEvaluation(), tiny_model()
    driver = AutoAttack(model, eps=0.03, seed=7)
    driver.fab.targeted = True  # as the driver does before it runs fab-t
    ensemble = autoattack.standard(
        epsilon=0.03,
        seed=7,
        num_classes=10,
        iterations=protocol.iterations,
        target_classes=protocol.target_classes,
        queries=protocol.queries,
    )
    assert [member.name for member in ensemble] == driver.attacks_to_run
    for member, theirs in zip(ensemble, (driver.apgd, driver.apgd_targeted, driver.fab, driver.square), strict=True):
        ours = member.build(model)
        assert type(ours) is type(theirs)
        assert [(name, value) for name, value in vars(ours).items() if name not in UNUSED] == [
            (name, value) for name, value in vars(theirs).items() if name not in UNUSED
        ]


@pytest.mark.parametrize("classes", [2, 3])
def test_with_few_classes_autoattack_runs_without_the_attack_whose_loss_needs_four(classes: int) -> None:
    ledger, protocol = Ledger(), AutoAttackEvaluation(iterations=12, queries=20, batch_size=64)
    expected = driven(classes, protocol, ["apgd-ce", "fab-t", "square"])
    test = tiny_set(classes=classes)
    rows = evaluate_model(
        "autoattack", tiny_model(classes), test, protocol, epsilon=EPSILON, watcher=ledger.watcher
    ).to_pandas()
    assert rows["adversarial"].tolist() == expected
    assert ledger.remarks == [
        f"AutoAttack ran without APGD-T: its loss compares four classes, and there are {classes}."
    ]


def test_square_breaks_what_the_package_s_own_attack_breaks() -> None:
    test, model = tiny_set(), tiny_model().eval().requires_grad_(False)
    images, predictions = test.images / 255, tiny_model().eval()(test.images / 255).argmax(dim=1)
    right = predictions == test.labels
    attack = SquareAttack(
        model, n_queries=60, eps=EPSILON, p_init=0.8, seed=seeds.derived(3, "evaluation.square"), resc_schedule=False
    )
    predictions[right] = model(attack.perturb(images[right], test.labels[right])).argmax(dim=1)
    rows = evaluate_model(
        "square", tiny_model(), test, SquareEvaluation(queries=60), epsilon=EPSILON, seed=3
    ).to_pandas()
    assert rows["adversarial"].tolist() == predictions.tolist()
    assert 5 < (predictions == test.labels).sum() < right.sum()
    assert set(rows["attack"]) == {"square"}


def test_the_standard_ensemble_targets_at_most_every_wrong_class() -> None:
    settings = {"epsilon": 0.1, "seed": 0, "iterations": 100, "target_classes": 9, "queries": 5000}
    ten, four = (autoattack.standard(**settings, num_classes=classes) for classes in (100, 4))
    assert [member.name for member in ten] == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert [member.passes for member in ten] == [101, 9 * 101, 2 * 9 * 100, 5000]
    assert [member.passes for member in four] == [101, 3 * 101, 2 * 3 * 100, 5000]


def test_only_some_images_of_every_class_are_attacked_if_so_asked() -> None:
    order = torch.arange(40).reshape(8, 5).T.flatten()
    test = tiny_set()
    test = replace(test, images=test.images[order], labels=test.labels[order])
    for name, protocol in (
        ("autoattack", BUDGET.model_copy(update={"images": 10})),
        ("square", SquareEvaluation(images=10, queries=5)),
    ):
        rows = evaluate_model(name, tiny_model(), test, protocol, epsilon=EPSILON).to_pandas()
        assert rows["index"].tolist() == [0, 1, 8, 9, 16, 17, 24, 25, 32, 33]
        assert rows["label"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_the_attacked_images_stay_inside_the_ball_and_the_unit_interval() -> None:
    seen: list[Tensor] = []
    model = Seeing(tiny_model(), seen.append)
    evaluate_model("square", model, tiny_set(), SquareEvaluation(queries=20), epsilon=EPSILON)
    nearest = [(batch[:, None] - tiny_set().images / 255).abs().amax(dim=(2, 3, 4)).amin(dim=1) for batch in seen]
    assert EPSILON * 0.999 < torch.cat(nearest).max() <= EPSILON + 1e-6
    assert all(batch.min() >= 0 and batch.max() <= 1 for batch in seen)


def test_evaluating_changes_neither_the_model_nor_the_random_state() -> None:
    model = tiny_model().train()
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    first, second = (
        evaluate_model("autoattack", model, tiny_set(), BUDGET, epsilon=EPSILON)["adversarial"].to_pylist()
        for _ in range(2)
    )
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["autoattack", "square"])
def test_progress_adds_up_to_the_images(name: str) -> None:
    protocol = {"autoattack": BUDGET, "square": SquareEvaluation(queries=20)}[name]
    for epsilon in (0.0, EPSILON, 1.0):
        ledger = Ledger()
        evaluate_model(name, tiny_model(), tiny_set(), protocol, epsilon=epsilon, watcher=ledger.watcher)
        assert sum(ledger.steps) == pytest.approx(40)
        assert min(ledger.steps) >= 0


def test_the_package_s_warnings_are_passed_on_once() -> None:
    ledger = Ledger()
    model = nn.Sequential(tiny_model(), nn.Softmax(dim=1))
    evaluate_model("square", model, tiny_set(), SquareEvaluation(queries=2), epsilon=EPSILON, watcher=ledger.watcher)
    assert ledger.remarks == [
        "AutoAttack warns: it seems that the output is a probability distribution, please be sure that the logits are "
        "used! See flags_doc.md for details."
    ]


class Scripted:
    """An attack that adds `shift` to the images in the given places of the first batch, and notes what it attacked."""

    def __init__(self, shift: float, places: list[int]) -> None:
        self.shift, self.places, self.attacked = shift, places, torch.empty(0)

    def perturb(self, x: Tensor, y: Tensor) -> Tensor:
        self.attacked, adversarial = y, x.clone()
        adversarial[self.places] += self.shift
        return adversarial

    def member(self, name: str) -> Member:
        return Member(name, lambda network: cast(Perturbing, self), passes=1, cost=1)


class BrightIsOne(nn.Module):
    """Class 1 where an image of one pixel is brighter than 0.5."""

    def forward(self, images: Tensor) -> Tensor:
        bright = images.flatten(1) - 0.5
        return torch.cat([-bright, bright], dim=1)


def survivors(*script: Scripted, predictions: list[int], epsilon: float = 0.1) -> list[int]:
    model, images = BrightIsOne(), torch.full((4, 1, 1, 1), 0.45)
    labels = torch.zeros(4, dtype=torch.long)
    members = [attack.member(f"attack {number}") for number, attack in enumerate(script)]
    ledger = Ledger()
    with attacking(model, "eval"):
        return attack_survivors(
            members,
            model,
            images,
            labels,
            torch.tensor(predictions),
            epsilon=epsilon,
            batch_size=4,
            advance=ledger.watcher.advance,
            remark=ledger.watcher.remark,
        ).tolist()


def test_an_attack_sees_only_images_that_withstood_all_before_it() -> None:
    first, second, third = Scripted(0.1, [1]), Scripted(0.1, [0, 1]), Scripted(0.0, [])
    assert survivors(first, second, third, predictions=[0, 0, 1, 0]) == [1, 1, 1, 1]
    assert [len(attack.attacked) for attack in (first, second, third)] == [3, 2, 0]
    assert survivors(Scripted(0.1, [1]), Scripted(0.0, []), predictions=[0, 0, 1, 0]) == [0, 1, 1, 0]


def test_an_attack_that_leaves_the_ball_or_the_unit_interval_is_not_believed() -> None:
    with pytest.raises(AssertionError, match=r"attack 0 left the ball of 0\.1: 0\.19"):
        survivors(Scripted(0.2, [0]), predictions=[0, 0, 0, 0])
    with pytest.raises(AssertionError, match=r"attack 0 left the ball of 0\.1: nan"):
        survivors(Scripted(float("nan"), [0]), predictions=[0, 0, 0, 0])
    with pytest.raises(AssertionError, match=r"attack 0 left \[0, 1\]: \[0\.4.*, 1\.0"):
        survivors(Scripted(0.6, [0]), predictions=[0, 0, 0, 0], epsilon=0.9)
