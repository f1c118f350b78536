"""The optimizers of a recipe."""

import torch
from torch import nn

from fairat.settings.recipe import AdamW, Recipe, Sgd

NO_DECAY = ("cls_token", "pos_embed")
"""Parameters of transformers that AdamW leaves undecayed, besides biases and norms, by a part of their names."""


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer over all parameters of a model."""
    match recipe.optimizer:
        case Sgd() as settings:
            return sgd(settings, model, recipe.peak_learning_rate, recipe.weight_decay)
        case AdamW():
            return adamw(model, recipe.peak_learning_rate, recipe.weight_decay)


def sgd(settings: Sgd, model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.SGD:
    """Stochastic gradient descent; weight decay acts on all parameters, batch norm and biases too."""
    return torch.optim.SGD(
        model.parameters(),
        lr=learning_rate,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=weight_decay,
        fused=True,
    )


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW in two groups: biases, norms, class token and position terms are not decayed."""
    spared, decayed = [], []
    for name, parameter in model.named_parameters():
        spare = parameter.ndim <= 1 or not set(NO_DECAY).isdisjoint(name.split("."))
        (spared if spare else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, fused=True)
