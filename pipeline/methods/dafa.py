"""DAFA: hard classes take loss weight and radius from easier classes similar to them (Lee et al. 2024; spec 3.11)."""

from typing import Literal, Self

import torch
from jaxtyping import Float
from pydantic import PositiveInt
from torch import Tensor

from pipeline.errors import UserError
from pipeline.methods.history import ClassHistory
from pipeline.methods.parts import ClassCoefficients, ClassWeights, Margin, Objective, Threat, Vector
from pipeline.settings import Real, Settings


class ClassDistance(Settings):
    """What both parts of DAFA share: class weights from the soft confusion of one epoch.

        W_i <- W_i + lam S[i,j] S[j,j]   if S[i,i] < S[j,j],   else   W_i <- W_i - lam S[j,i] S[i,i],   over all i != j

    Lee et al. 2024, eq. 6; spec 3.11. S[i,:] is the mean of p(x') over the training images of class i in epoch
    `begin_epoch - 1`; W = 1 before `begin_epoch` and constant from then on.

    Attributes:
        lam: strength, 1.0 on CIFAR-10, 1.5 on CIFAR-100.
        begin_epoch: first epoch with weights, counted from 0.
    """

    lam: Real = 1.0
    begin_epoch: PositiveInt = 70

    @property
    def needs(self) -> frozenset[str]:
        """The soft confusion of the training images."""
        return frozenset({"train.soft"})

    def scaled(self, scale: float) -> Self:
        """`begin_epoch` multiplied."""
        return self.model_copy(update={"begin_epoch": max(1, round(self.begin_epoch * scale))})

    def class_weights(self, history: ClassHistory) -> Float[Tensor, " class"]:
        """W of the coming epoch.

        Raises:
            UserError: a weight is not positive.
        """
        record = history.at(self.begin_epoch - 1)
        if record is None:
            return torch.ones(history.num_classes, dtype=torch.float64)
        weights = distance_weights(record["train.soft"], self.lam)
        if (weights <= 0).any():
            worst = int(weights.argmin())
            raise UserError(
                f"DAFA gives class {worst} the weight {float(weights[worst]):.3f}, but weights must be positive. "
                f"Lower lam (now {self.lam:g}) in the method's margin and class_weights."
            )
        return weights


def distance_weights(soft: Float[Tensor, "class class"], lam: float) -> Float[Tensor, " class"]:
    """W from S (AF-28); a tie of two diagonal entries costs both."""
    own = soft.diagonal()
    harder = own[:, None] < own[None, :]
    gains = lam * soft * own[None, :]
    losses = lam * soft.T * own[:, None]
    changes = torch.where(harder, gains, -losses)
    return 1 + changes.sum(dim=1) - changes.diagonal()


class DistanceMargin(ClassDistance, Margin):
    """DAFA's radii and steps: eps_k = W_k eps, alpha_k = W_k alpha."""

    kind: Literal["distance"] = "distance"

    def factors(self, history: ClassHistory) -> Float[Tensor, " class"]:
        """W."""
        return self.class_weights(history)

    def steps(self, epsilon: Vector, threat: Threat) -> Vector:
        """alpha scaled as the radius is."""
        return epsilon * (threat.step_size / threat.epsilon)


class DistanceWeights(ClassDistance, ClassWeights):
    """DAFA's loss weights: W on the clean term only; on the robust term where there is no clean one (spec 1.6)."""

    kind: Literal["distance"] = "distance"

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        """W on one term, 1 on the other."""
        weights = self.class_weights(history)
        ones = torch.ones_like(weights)
        clean, robust = objective.coefficients
        on_clean = objective.has_clean_term
        return ClassCoefficients(clean * (weights if on_clean else ones), robust * (ones if on_clean else weights))
