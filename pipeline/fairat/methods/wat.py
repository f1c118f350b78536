"""WAT: an opponent puts exponential weight on the classes with the largest validation loss (Li and Liu 2023)."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fairat.methods.history import ClassHistory
from fairat.methods.parts import ClassCoefficients, ClassWeights, Objective
from fairat.settings.base import Real

_FIELDS = ("val.ce", "val.kl", "val.clean")


class NoRegretWeights(ClassWeights):
    r"""Worst-class training (WAT) plays against an opponent who weighs classes by their accumulated validation loss.

    After each epoch the cost of class $k$ is the mean of its losses on the validation set under the TRADES attack; $c_{K+1}$
    is the mean over all validation images. All $K + 1$ weights are 1 at first and sum to $K$ afterwards, so the loss is about
    $2K / (K+1)$ times that of TRADES.

    $$c_k = \mathrm{mean}_{i : y_i = k} (\mathrm{CE}(x_i, y_i) + \beta \, \mathrm{KL}(p(x_i) \parallel p(x'_i)))$$
    $$w = K \, \mathrm{softmax}(\eta \sum_{e} c(e))$$
    $$L = \frac{1}{B} \sum_i (w_{y_i} + w_{K+1}) (\mathrm{nat}_i + \beta \, \mathrm{rob}_i)$$

    Source: Li and Liu, WAT: Improve the Worst-class Robustness in Adversarial Training, AAAI 2023, arXiv 2302.04025

    Attributes:
        eta: $\eta$, rate of the opponent.
    """

    kind: Literal["no_regret"] = "no_regret"
    eta: Annotated[Real, Field(ge=0)] = 0.1

    @property
    def needs(self) -> frozenset[str]:
        """Class means of both losses on the validation set, and its class counts."""
        return frozenset(_FIELDS)

    def weights(self, history: ClassHistory, beta: float) -> Float[Tensor, " class_and_average"]:
        total = torch.zeros(history.num_classes + 1, dtype=torch.float64)
        if history.epoch == 0:
            return torch.ones_like(total)
        for entropy, divergence, confusion in zip(*map(history.all, _FIELDS), strict=True):
            cost = entropy + beta * divergence
            count = confusion.sum(dim=1)
            total += torch.cat([cost, (cost * count).sum(dim=0, keepdim=True) / count.sum()])
        return history.num_classes * torch.softmax(self.eta * total, dim=0)

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        """w_k + w_K on both terms."""
        clean, robust = objective.coefficients
        weights = self.weights(history, robust / clean if clean else 0.0)
        by_class = weights[:-1] + weights[-1]
        return ClassCoefficients(clean * by_class, robust * by_class)
