"""Recipes: learning rates of the papers' schedules, and what weight decay spares."""

from itertools import pairwise

import pytest
import torch
from fairat.settings.base import merged
from fairat.settings.recipe import AdamW, Cosine, Recipe, Sgd
from fairat.study import load_study
from fairat.training.optimizers import optimizer_of
from torch import nn


def test_r200_drops_at_half_and_three_quarters() -> None:
    """AF-30."""
    rates = [Recipe().learning_rate_at(epoch) for epoch in (0, 99, 100, 149, 150, 199)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(("batch_size", "rate"), [(128, 1e-4), (512, 2e-4), (1024, 2.8284e-4)])
def test_the_learning_rate_of_xcit_grows_with_the_square_root_of_the_batch(batch_size: int, rate: float) -> None:
    """AF-37."""
    recipe = merged(load_study().suite("cifar10_xcit").recipe, {"batch_size": batch_size})
    assert recipe.peak_learning_rate == pytest.approx(rate, rel=1e-4)


def test_the_attack_step_of_xcit() -> None:
    """AF-37: 1.5 epsilon / T = 1.2/255."""
    threat = load_study().suite("cifar10_xcit").threat
    assert threat.step_size == pytest.approx(1.2 / 255)
    assert threat.step_size == pytest.approx(1.5 * threat.epsilon / threat.num_steps)


def test_xcit_warms_up_descends_a_cosine_and_cools_down() -> None:
    recipe = load_study().suite("cifar10_xcit").recipe
    rates = [recipe.learning_rate_at(epoch) for epoch in range(recipe.epochs)]
    assert recipe.epochs == 22
    assert rates[0] == pytest.approx(1e-6)
    assert [later - earlier for earlier, later in pairwise(rates[:5])] == pytest.approx(4 * [(1e-4 - 1e-6) / 5])
    assert all(earlier > later for earlier, later in pairwise(rates[5:21]))
    assert rates[10] == pytest.approx((1e-4 + 5e-6) / 2)
    assert rates[20:] == pytest.approx([5e-6, 5e-6])


def test_scaling_a_recipe_scales_its_schedule() -> None:
    schedule = Cosine(warmup_epochs=5, cooldown_epochs=2).scaled(0.5)
    assert (schedule.warmup_epochs, schedule.cooldown_epochs) == (2.5, 1)
    assert Recipe(epochs=200).scaled(0.06).learning_rate_at(6) == pytest.approx(0.01)


class Small(nn.Module):
    """A parameter of each kind that weight decay treats differently."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.norm = nn.LayerNorm(3)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 3))
        self.pos_embed = nn.Conv2d(2, 3, 1)


def test_adamw_decays_matrices_only_and_sgd_everything() -> None:
    model = Small()
    decayed, spared = optimizer_of(Recipe(optimizer=AdamW(), weight_decay=0.5), model).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.5, 0.0)
    assert [id(parameter) for parameter in decayed["params"]] == [id(model.linear.weight)]
    assert len(spared["params"]) == 6
    (everything,) = optimizer_of(Recipe(), model).param_groups
    assert everything["weight_decay"] == 5e-4
    assert len(everything["params"]) == 7


def test_settings_of_another_kind_replace_those_of_the_suite_whole() -> None:
    recipe = merged(Recipe(optimizer=AdamW(), schedule=Cosine()), {"optimizer": {"kind": "sgd", "nesterov": True}})
    assert recipe.optimizer == Sgd(nesterov=True)
    kept = merged(Recipe(optimizer=Sgd(momentum=0.5)), {"optimizer": {"nesterov": True}})
    assert kept.optimizer == Sgd(momentum=0.5, nesterov=True)
