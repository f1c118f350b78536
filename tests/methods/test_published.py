"""Details that the published code fixes, method by method: params.yaml against the specification."""

from typing import Any

import pytest
import torch
from fairat.methods import KINDS, build_part
from fairat.methods.parts import Batch
from fairat.settings.base import merged
from fairat.settings.recipe import Recipe
from fairat.study import load_study
from torch import Tensor, nn

METHODS = load_study().methods


def small_batch() -> Batch:
    labels = torch.arange(6) % 3
    quantity = torch.full((6,), 0.05)
    return Batch(torch.rand(6, 1, 2, 2), labels, None, quantity, quantity / 4, 3, torch.Generator().manual_seed(0), 0)


ATTACKS: list[tuple[dict[str, Any], str, str]] = [
    ({"kind": "at"}, "uniform", "train"),
    ({"kind": "fat"}, "uniform", "train"),
    ({"kind": "fat", "variant": "original", "tau": 1}, "uniform", "eval"),
    ({"kind": "trades"}, "gauss", "eval"),
    ({"kind": "bat"}, "boxed_gauss", "eval"),
    ({"kind": "gairat"}, "uniform", "eval"),
]


@pytest.mark.parametrize(("settings", "start", "mode"), ATTACKS)
def test_an_attack_has_its_published_start_and_batch_norm_mode(
    settings: dict[str, Any], start: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`attack_bn` selects the other mode."""
    starts: list[str] = []

    def recorded(kind: str, images: Tensor, *_: object) -> Tensor:
        starts.append(kind)
        return torch.zeros_like(images)

    monkeypatch.setattr("fairat.methods.parts.initial_perturbation", recorded)
    for chosen, expected in (({}, mode), ({"attack_bn": "train"}, "train"), ({"attack_bn": "eval"}, "eval")):
        norm = nn.BatchNorm2d(1)
        model = nn.Sequential(norm, nn.Flatten(), nn.Linear(4, 3))
        build_part("objective", {**settings, **chosen}).attack(model, small_batch())
        assert (norm.state_dict()["num_batches_tracked"] > 0) == (expected == "train")
        assert model.training
    assert set(starts) == {start}


def test_a_clean_pass_follows_the_step_of_at_trades_fat_and_fair_tat_and_precedes_it_in_fair_tat_on_at_only() -> None:
    passes = {when: {name for name in PARTS if clean_pass(name) == when} for when in ("after_step", "before_and_after")}
    assert passes["before_and_after"] == {
        "fair_tat_uniform_constant", "fair_tat_uniform", "fair_tat_constant", "fair_tat", "xcit_fair_tat",
    }  # fmt: skip
    assert passes["after_step"] == {
        "at_constant", "at", "trades", "trades_cfa", "fat", "xcit_at",
        "fair_tat_constant_one_pass", "fair_tat_one_pass", "fair_tat_trades", "fair_tat_fat",
    }  # fmt: skip


def clean_pass(name: str) -> str:
    return merged(Recipe(), METHODS[name].recipe).clean_pass or METHODS[name].clean_pass


RECIPES: dict[str, tuple[int, float, dict[int, float]]] = {
    "clean": (200, 5e-4, {0: 0.1, 99: 0.1, 100: 0.01, 150: 0.001}),
    "at": (200, 5e-4, {0: 0.1, 99: 0.1, 100: 0.01, 150: 0.001}),
    "fair_tat": (200, 5e-4, {0: 0.1, 99: 0.1, 100: 0.01, 150: 0.001}),
    "trades": (200, 5e-4, {0: 0.1, 99: 0.1, 100: 0.01, 150: 0.001}),
    "fat": (200, 5e-4, {0: 0.1, 99: 0.1, 100: 0.01, 150: 0.001}),
    "fat_original": (120, 2e-4, {0: 0.1, 58: 0.1, 59: 0.01, 89: 0.001, 109: 0.0005}),
    "frl": (40, 5e-4, {0: 0.001, 39: 0.001}),
    "frl_reweight": (40, 5e-4, {0: 0.001, 39: 0.001}),
    "bat": (200, 2e-4, {73: 0.1, 74: 0.01, 89: 0.001, 99: 0.0001, 199: 0.0001}),
    "wat": (100, 2e-4, {73: 0.1, 74: 0.01, 89: 0.001, 99: 0.0001}),
    "dafa": (110, 5e-4, {98: 0.1, 99: 0.01, 104: 0.001}),
    "gairat": (100, 2e-4, {28: 0.1, 29: 0.01, 58: 0.01, 59: 0.001}),
    **dict.fromkeys(
        ("pgd_at", "trades_original_1", "trades_original_6", "fat_bat"),
        (200, 2e-4, {73: 0.1, 74: 0.01, 89: 0.001, 99: 0.0001, 199: 0.0001}),
    ),
    **dict.fromkeys(("frl_005", "frl_007"), (40, 5e-4, {0: 0.001, 39: 0.001})),
}
REFLECTED = {"clean", "at", "fair_tat", "trades", "fat", "frl", "frl_reweight"}
"""The crops of CFA and FAIR-TAT; the scripts of all others pad with zeros."""

"""Epochs, weight decay, and learning rates by epoch."""


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_published_numbers(name: str) -> None:
    epochs, weight_decay, rates = RECIPES[name]
    recipe = merged(Recipe(), METHODS[name].recipe)
    assert (recipe.epochs, recipe.weight_decay, recipe.batch_size) == (epochs, weight_decay, 128)
    assert {epoch: recipe.learning_rate_at(epoch) for epoch in rates} == pytest.approx(rates)
    assert recipe.augmentation.padding == ("reflect" if name in REFLECTED else "zero")
    assert recipe.optimizer.model_dump() == {"kind": "sgd", "momentum": 0.9, "nesterov": name == "dafa"}


PARTS: dict[str, tuple[str, str, str, str]] = {
    "clean": ("clean", "untargeted", "constant", "none"),
    "at_constant": ("at", "untargeted", "constant", "none"),
    "at": ("at", "untargeted", "robust_accuracy", "none"),
    "fair_tat_uniform_constant": ("at", "uniform", "constant", "none"),
    "fair_tat_uniform": ("at", "uniform", "robust_accuracy", "none"),
    "fair_tat_constant": ("at", "cfps", "constant", "none"),
    "fair_tat": ("at", "cfps", "robust_accuracy", "none"),
    "fair_tat_constant_one_pass": ("at", "cfps", "constant", "none"),
    "fair_tat_one_pass": ("at", "cfps", "robust_accuracy", "none"),
    "xcit_at": ("at", "untargeted", "robust_accuracy", "none"),
    "xcit_fair_tat": ("at", "cfps", "robust_accuracy", "none"),
    "trades": ("trades", "untargeted", "robust_accuracy", "none"),
    "fair_tat_trades": ("trades", "cfps", "robust_accuracy", "none"),
    "trades_cfa": ("trades", "untargeted", "robust_accuracy", "ccr"),
    "fat": ("fat", "untargeted", "robust_accuracy", "none"),
    "fat_original": ("fat", "untargeted", "constant", "none"),
    "fair_tat_fat": ("fat", "cfps", "robust_accuracy", "none"),
    "frl_reweight": ("trades", "untargeted", "constant", "frl_reweight"),
    "frl": ("trades", "untargeted", "frl_remargin", "frl_reweight"),
    "pgd_at": ("at", "untargeted", "constant", "none"),
    "trades_original_1": ("trades", "untargeted", "constant", "none"),
    "trades_original_6": ("trades", "untargeted", "constant", "none"),
    "fat_bat": ("fat", "untargeted", "constant", "none"),
    "frl_005": ("trades", "untargeted", "frl_remargin", "frl_reweight"),
    "frl_007": ("trades", "untargeted", "frl_remargin", "frl_reweight"),
    "bat": ("bat", "untargeted", "constant", "none"),
    "wat": ("trades", "untargeted", "constant", "no_regret"),
    "dafa": ("trades", "untargeted", "distance", "distance"),
    "gairat": ("gairat", "untargeted", "constant", "none"),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_method_is_composed_as_the_specification_says(name: str) -> None:
    assert tuple(getattr(METHODS[name], slot).kind for slot in KINDS) == PARTS[name]
    starts = {"frl_reweight": "at_constant", "frl": "at_constant", "frl_005": "pgd_at", "frl_007": "pgd_at"}
    assert METHODS[name].starts_from == starts.get(name)


@pytest.mark.parametrize(
    ("name", "fields", "start_record"),
    [
        ("at_constant", set(), False),
        ("fair_tat", {"train.robust"}, False),
        ("trades_cfa", {"train.robust"}, False),
        ("frl_reweight", {"val.clean", "val.pgd20"}, True),
        ("frl", {"val.clean", "val.pgd20"}, True),
        ("wat", {"val.clean", "val.ce", "val.kl"}, False),
        ("dafa", {"train.soft"}, False),
        ("bat", set(), False),
        ("gairat", set(), False),
    ],
)
def test_a_method_has_exactly_the_measurements_it_needs(name: str, fields: set[str], start_record: bool) -> None:
    assert METHODS[name].needs == fields
    assert METHODS[name].needs_start_record == start_record


@pytest.mark.parametrize(
    ("name", "coefficients"),
    [
        ("clean", (1, 0)), ("at", (0, 1)), ("fat", (0, 1)), ("gairat", (0, 1)), ("trades", (1 / 7, 6 / 7)),
        ("frl", (1, 1.5)), ("wat", (1, 6)), ("dafa", (1, 6)), ("bat", (1, 6)),
    ],
)  # fmt: skip
def test_the_terms_of_a_loss_have_the_published_weights(name: str, coefficients: tuple[float, float]) -> None:
    assert METHODS[name].objective.coefficients == pytest.approx(coefficients)
