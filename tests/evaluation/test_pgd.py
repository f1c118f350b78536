"""PGD as an evaluation, against a straightforward loop of its own."""

import pytest
import torch
import torch.nn.functional as F
from fairat import seeds
from fairat.evaluation import evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.settings.evaluations import PgdEvaluation
from torch import nn

from tests.evaluation.toys import EPSILON, Ledger, Seeing, tiny_model, tiny_set

STEP = EPSILON / 4


def settings(*steps: int, restarts: int = 1, batch_size: int = 512) -> PgdEvaluation:
    return PgdEvaluation(steps=steps, step_size=STEP, restarts=restarts, batch_size=batch_size)


def attacked(protocol: PgdEvaluation, *, epsilon: float = EPSILON, seed: int = 0) -> dict[str, list[int]]:
    """The adversarial predictions of the tiny model, by the name of the attack."""
    rows = evaluate_model("pgd", tiny_model(), tiny_set(), protocol, epsilon=epsilon, seed=seed).to_pandas()
    return {str(name): group["adversarial"].tolist() for name, group in rows.groupby("attack", observed=True)}


def reference(model: nn.Module, test: EvaluationSet, steps: int, *, restart: int = 0, seed: int = 0) -> list[int]:
    """PGD as Madry et al. 2018 wrote it, on images instead of perturbations, all at once."""
    images = test.images.float() / 255
    noise = torch.rand(images.shape, generator=seeds.stream(seed, "evaluation.pgd", restart)) * 2 - 1
    adversarial = (images + EPSILON * noise).clamp(0, 1)
    for _ in range(steps):
        adversarial = adversarial.detach().requires_grad_()
        F.cross_entropy(model(adversarial), test.labels).backward()
        assert adversarial.grad is not None
        adversarial = adversarial.detach() + STEP * adversarial.grad.sign()
        adversarial = torch.max(torch.min(adversarial, images + EPSILON), images - EPSILON).clamp(0, 1)
    return model(adversarial).argmax(dim=1).tolist()


@pytest.mark.parametrize("seed", [0, 1])
def test_predictions_are_those_of_a_straightforward_loop(seed: int) -> None:
    model, test = tiny_model().eval(), tiny_set()
    expected = {f"pgd{steps}": reference(model, test, steps, seed=seed) for steps in (10, 20)}
    assert attacked(settings(10, 20), seed=seed) == expected
    robust = sum(prediction == label for prediction, label in zip(expected["pgd20"], test.labels.tolist(), strict=True))
    assert 5 < robust < 35


def test_an_image_counts_as_robust_if_it_withstands_every_restart() -> None:
    model, test = tiny_model().eval(), tiny_set()
    alone = torch.tensor([reference(model, test, 2, restart=restart) for restart in range(4)])
    wrong = alone != test.labels
    together = torch.tensor(attacked(settings(2, restarts=4))["pgd2"])
    assert torch.equal(together != test.labels, wrong.any(dim=0))
    first = wrong.int().argmax(dim=0, keepdim=True)
    assert torch.equal(together, alone.gather(0, first).squeeze(0))
    assert wrong.any(dim=0).sum() > wrong[0].sum()


def test_rows_come_in_blocks_of_ascending_steps_in_the_order_of_the_test_set() -> None:
    test = tiny_set(7)
    rows = evaluate_model("pgd", tiny_model(), test, settings(3, 1, 3), weights="ema", epsilon=EPSILON).to_pandas()
    assert rows["attack"].tolist() == ["pgd1"] * 7 + ["pgd3"] * 7
    assert rows["index"].tolist() == list(range(7)) * 2
    assert rows["label"].tolist() == test.labels.tolist() * 2
    assert set(rows["weights"]) == {"ema"}
    assert rows["clean"].tolist() == tiny_model().eval()(test.images / 255).argmax(dim=1).tolist() * 2


def test_fewer_steps_are_a_part_of_the_longer_attack() -> None:
    longer = attacked(settings(5, 10, 20))
    assert longer["pgd10"] == attacked(settings(10))["pgd10"]
    assert longer["pgd5"] == attacked(settings(5))["pgd5"]


def test_the_batch_size_does_not_matter() -> None:
    assert attacked(settings(3, 6, restarts=2, batch_size=7)) == attacked(settings(3, 6, restarts=2))


def test_without_a_radius_nothing_changes() -> None:
    predictions = tiny_model().eval()(tiny_set().images / 255).argmax(dim=1)
    assert attacked(settings(4), epsilon=0.0)["pgd4"] == predictions.tolist()


def test_the_model_sees_images_inside_the_ball_and_in_the_unit_interval_only() -> None:
    test, seen = tiny_set(), []
    model = Seeing(tiny_model(), seen.append)
    evaluate_model("pgd", model, test, settings(6, restarts=2), epsilon=EPSILON)
    everything, clean = torch.stack(seen), test.images / 255
    assert everything.min() >= 0
    assert everything.max() <= 1
    distance = (everything - clean).abs().amax()
    assert EPSILON * 0.999 < distance <= EPSILON + 1e-6


def test_evaluating_changes_nothing_about_the_model() -> None:
    model = tiny_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate_model("pgd", model, tiny_set(), settings(3), epsilon=EPSILON)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_progress_adds_up_to_the_images_and_moves_with_every_step() -> None:
    ledger = Ledger()
    protocol = settings(2, 6, restarts=2, batch_size=16)
    evaluate_model("pgd", tiny_model(), tiny_set(), protocol, epsilon=EPSILON, watcher=ledger.watcher)
    assert len(ledger.steps) == 3 * 2 * 6
    assert sum(ledger.steps) == pytest.approx(40)
