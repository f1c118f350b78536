"""WAT: an opponent puts exponential weight on the classes with the largest validation loss (Li and Liu 2023; spec 3.10)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.methods.history import ClassHistory
from pipeline.methods.parts import ClassCoefficients, ClassWeights, Objective
from pipeline.settings import Real


class NoRegretWeights(ClassWeights):
    """Hedge over K classes and their average.

        cost_k = CE_k + beta KL_k on the validation set after each epoch,   cost_K = the same mean over all its images
        w = K softmax(eta sum of costs) over K + 1 entries, all 1 at first;  a_i = (w_{y_i} + w_K) / B,  b_i = beta a_i

    WAT training script; spec 3.10. Weights sum to K, so the loss is about 2K/(K+1) times TRADES.

    Attributes:
        eta: rate of the opponent.
    """

    kind: Literal["no_regret"] = "no_regret"
    eta: Real = 0.1

    @property
    def needs(self) -> frozenset[str]:
        """Class means of both losses on the validation set, and its class counts."""
        return frozenset({"val.ce", "val.kl", "val.clean"})

    def weights(self, history: ClassHistory, beta: float) -> Float[Tensor, " class_and_average"]:
        """The K + 1 weights of the coming epoch."""
        total = torch.zeros(history.num_classes + 1, dtype=torch.float64)
        if not history.all("val.ce"):
            return torch.ones_like(total)
        for record in history.records:
            cost = record["val.ce"] + beta * record["val.kl"]
            count = record["val.clean"].sum(dim=1)
            total += torch.cat([cost, (cost * count).sum(dim=0, keepdim=True) / count.sum()])
        return history.num_classes * torch.softmax(self.eta * total, dim=0)

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        """w_k + w_K on both terms."""
        clean, robust = objective.coefficients
        weights = self.weights(history, robust / clean if clean else 0.0)
        by_class = weights[:-1] + weights[-1]
        return ClassCoefficients(clean * by_class, robust * by_class)
