"""AutoAttack and Square as evaluations, against the package's own driver and attacks."""

import warnings
from dataclasses import replace
from functools import partial
from typing import cast

import pytest
import torch
from fairat import seeds
from fairat.attacks import autoattack
from fairat.attacks.autoattack import Chunked, Member, Perturbing, attack_block, check_square
from fairat.attacks.pgd import attacking
from fairat.evaluation import evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.evaluation.survivors import Ensemble, block_predictions
from fairat.settings.evaluations import AutoAttackEvaluation, SquareEvaluation
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from tests.evaluation.toys import EPSILON, Ledger, Seeing, tiny_model, tiny_set

BUDGET = AutoAttackEvaluation(iterations=5, target_classes=2, queries=20)
UNUSED = {"model", "predict", "device", "logger"}


def driven(test: EvaluationSet, protocol: AutoAttackEvaluation, attacks: list[str], block: int = 0) -> list[int]:
    """The predictions that the package's own driver leaves, with its attacks on our budget and the seed of our block."""
    classes = len(test.class_names)
    model, targets = tiny_model(classes).eval().requires_grad_(False), classes - 1
    seed = seeds.derived(0, "evaluation.autoattack", block)
    driver = AutoAttack(model, eps=EPSILON, seed=seed)
    driver.attacks_to_run = attacks
    driver.apgd = APGDAttack(model, n_iter=protocol.iterations, eps=EPSILON)
    driver.apgd_targeted = APGDAttack_targeted(model, n_iter=protocol.iterations, eps=EPSILON, n_target_classes=targets)
    driver.fab = FABAttack_PT(model, n_iter=protocol.iterations, eps=EPSILON, n_target_classes=targets)
    driver.square.n_queries = protocol.queries
    _, predictions = driver.run_standard_evaluation(test.images / 255, test.labels, batch_size=len(test))
    return predictions.tolist()


@pytest.mark.parametrize("batch_size", [16, 512])
def test_autoattack_leaves_the_predictions_of_the_package_s_own_driver(batch_size: int) -> None:
    protocol = AutoAttackEvaluation(iterations=12, queries=60, batch_size=batch_size)
    expected = driven(tiny_set(), protocol, ["apgd-ce", "apgd-t", "fab-t", "square"])
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
    ledger, protocol, test = Ledger(), AutoAttackEvaluation(iterations=12, queries=20), tiny_set(classes=classes)
    expected = driven(test, protocol, ["apgd-ce", "fab-t", "square"])
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
    for epsilon, block_size, batch_size in ((0.0, 40, 40), (EPSILON, 40, 7), (EPSILON, 16, 16), (1.0, 16, 7)):
        ledger, sizes = Ledger(), {"block_size": block_size, "batch_size": batch_size}
        settings = protocol.model_copy(update=sizes)
        evaluate_model(name, tiny_model(), tiny_set(), settings, epsilon=epsilon, watcher=ledger.watcher)
        assert sum(ledger.steps) == pytest.approx(40)
        assert min(ledger.steps) >= 0


def test_the_package_s_warnings_are_passed_on_once() -> None:
    ledger, settings = Ledger(), SquareEvaluation(queries=2, block_size=16)
    model = nn.Sequential(tiny_model(), nn.Softmax(dim=1))
    evaluate_model("square", model, tiny_set(), settings, epsilon=EPSILON, watcher=ledger.watcher)
    assert ledger.remarks == [
        "AutoAttack warns: it seems that the output is a probability distribution, please be sure that the logits are "
        "used! See flags_doc.md for details."
    ]


class Scripted:
    """An attack that adds `shift` to the images in the given places, and notes what it attacked."""

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
    with attacking(model, "eval"):
        found = attack_block(members, model, images, labels, torch.tensor(predictions), epsilon=epsilon, batch_size=4)
    assert len(found) == 1 + len(script) and found[0].tolist() == predictions
    return found[-1].tolist()


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


SETTINGS = {
    "autoattack": BUDGET.model_copy(update={"block_size": 16}),
    "square": SquareEvaluation(queries=60, block_size=16),
}
ENSEMBLES: dict[str, Ensemble] = {
    "autoattack": partial(
        autoattack.standard, epsilon=EPSILON, num_classes=5, iterations=5, target_classes=2, queries=20
    ),
    "square": partial(autoattack.square, epsilon=EPSILON, queries=60),
}


def adversarial(name: str, test: EvaluationSet, seed: int = 0, **changes: int) -> list[int]:
    settings = SETTINGS[name].model_copy(update=changes)
    return evaluate_model(name, tiny_model(), test, settings, epsilon=EPSILON, seed=seed)["adversarial"].to_pylist()


@pytest.mark.parametrize("name", SETTINGS)
def test_the_batch_size_does_not_matter(name: str) -> None:
    expected = adversarial(name, tiny_set())
    for batch_size in (1, 5, 7, 16, 40):
        assert adversarial(name, tiny_set(), batch_size=batch_size) == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_blocks_computed_one_by_one_in_any_order_are_the_whole_evaluation(name: str) -> None:
    model, test = tiny_model().eval().requires_grad_(False), tiny_set()
    found = {
        number: block_predictions(
            ENSEMBLES[name], model, test, number, SETTINGS[name], name=name, epsilon=EPSILON, seed=4
        )
        for number in (2, 0, 1)
    }
    assert [found[number].shape[1] for number in range(3)] == [16, 16, 8]
    joined = torch.cat([found[number][-1] for number in range(3)])
    assert joined.tolist() == adversarial(name, test, seed=4)


def test_every_block_is_the_package_s_own_driver_with_the_block_s_seed() -> None:
    test, protocol = tiny_set(), AutoAttackEvaluation(iterations=12, queries=60, block_size=16)
    expected = []
    for number in range(3):
        here = slice(16 * number, 16 * (number + 1))
        block = replace(test, images=test.images[here], labels=test.labels[here])
        expected += driven(block, protocol, ["apgd-ce", "apgd-t", "fab-t", "square"], number)
    rows = evaluate_model("autoattack", tiny_model(), test, protocol, epsilon=EPSILON)
    assert rows["adversarial"].to_pylist() == expected


def first_noise(images: Tensor, number: int, seed: int, block_size: int) -> Tensor:
    """What Square adds first to the images of a block."""
    seen: list[Tensor] = []
    model, settings = tiny_model().eval(), SquareEvaluation(queries=1, block_size=block_size)
    # All images are attacked: their labels are what the network says.
    test = EvaluationSet(images, model(images / 255).argmax(dim=1), tuple("abcde"))
    block_predictions(
        ENSEMBLES["square"],
        Seeing(model, seen.append),
        test,
        number,
        settings,
        name="square",
        epsilon=EPSILON,
        seed=seed,
    )
    clean, _again_clean, noisy, *_ = seen
    return noisy - clean


def test_two_blocks_of_the_same_images_get_different_noise() -> None:
    images = tiny_set(8).images.repeat(2, 1, 1, 1)
    first, second = (first_noise(images, number, seed=0, block_size=8) for number in (0, 1))
    assert first.shape == second.shape
    assert not torch.equal(first, second)
    assert torch.equal(first, first_noise(images, 0, seed=0, block_size=8))


def test_another_seed_or_block_size_draws_other_noise() -> None:
    images = tiny_set(16).images
    noise = first_noise(images, 0, seed=0, block_size=16)
    assert not torch.equal(noise, first_noise(images, 0, seed=1, block_size=16))
    halves = torch.cat([first_noise(images, number, seed=0, block_size=8) for number in (0, 1)])
    assert noise.shape == halves.shape
    assert not torch.equal(noise[8:], halves[8:])


@pytest.mark.parametrize("count", [1, 5, 6, 12, 14])
def test_a_network_in_chunks_has_the_logits_and_the_gradient_of_the_whole(count: int) -> None:
    model, images = tiny_model().eval().requires_grad_(False), tiny_set(count).images / 255
    whole, parts = images.clone().requires_grad_(), images.clone().requires_grad_()
    expected, found = model(whole), Chunked(model, 5)(parts)
    torch.testing.assert_close(found, expected)
    weight = torch.linspace(-1, 1, count)[:, None]
    (found.square() * weight).sum().backward()
    (expected.square() * weight).sum().backward()
    torch.testing.assert_close(parts.grad, whole.grad)


def passes(count: int, *, gradient: bool) -> list[int]:
    """How many images a network sees, call by call, when `count` are classified five at a time."""
    sizes: list[int] = []
    model = Seeing(tiny_model().eval().requires_grad_(False), lambda batch: sizes.append(len(batch)))
    images = (tiny_set(count).images / 255).requires_grad_(gradient)
    with torch.set_grad_enabled(gradient):
        logits = Chunked(model, 5)(images)
    if gradient:
        logits.sum().backward()
    return sizes


def test_only_images_beyond_the_batch_size_are_computed_twice_and_only_for_gradients() -> None:
    assert passes(5, gradient=True) == passes(5, gradient=False) == [5]
    assert passes(12, gradient=False) == [5, 2, 5]
    assert passes(12, gradient=True) == [5, 2, 5, 2, 5]


def test_square_is_suspicious_where_it_breaks_more_than_two_images_in_a_thousand_of_all_blocks() -> None:
    members = [Scripted(0.0, []).member(name) for name in ("apgd-ce", "square")]
    labels, found = torch.zeros(1000, dtype=torch.long), torch.zeros(3, 1000, dtype=torch.long)
    found[:, :400] = 1
    found[-1, 400:402] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_square(members, found, labels)
    found[-1, 999] = 1
    with pytest.warns(Warning, match=r"Square Attack has decreased the robust accuracy of 0\.30%"):
        check_square(members, found, labels)


class Kept:
    """A tensor kept for a backward pass; counts how many live at a time."""

    alive, most = 0, 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        Kept.alive += 1
        Kept.most = max(Kept.most, Kept.alive)

    def __del__(self) -> None:
        Kept.alive -= 1


def most_kept(count: int) -> int:
    Kept.most = Kept.alive
    model, images = tiny_model().eval().requires_grad_(False), (tiny_set(count).images / 255).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        Chunked(model, 5)(images).sum().backward()
    return Kept.most


def test_of_many_chunks_only_one_keeps_more_than_its_images() -> None:
    assert most_kept(5) > 4
    assert most_kept(20) == most_kept(5) + 3
