"""The optimizers of a recipe."""

import torch
from torch import nn

from fairat.settings.recipe import AdamW, Recipe

NO_DECAY = ("cls_token", "pos_embed")
"""Parameters of transformers that AdamW leaves undecayed, besides biases and norms, by a part of their names."""


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of a model; see the settings of each."""
    rate = recipe.peak_learning_rate
    if isinstance(recipe.optimizer, AdamW):
        return adamw(model, rate, recipe.weight_decay)
    options = recipe.optimizer.model_dump(include={"momentum", "nesterov"})
    return torch.optim.SGD(model.parameters(), lr=rate, weight_decay=recipe.weight_decay, fused=True, **options)


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW in two groups: biases, norms, class token and position terms are not decayed."""
    spared, decayed = [], []
    for name, parameter in model.named_parameters():
        spare = parameter.ndim <= 1 or not set(NO_DECAY).isdisjoint(name.split("."))
        (spared if spare else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
