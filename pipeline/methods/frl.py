"""FRL: raise the weights and radii of classes whose errors exceed the average (Xu et al. 2021; spec 3.8)."""

from typing import Literal, NamedTuple, Self

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt
from torch import Tensor

from pipeline.methods.history import ClassHistory
from pipeline.methods.parts import ClassCoefficients, ClassWeights, Margin, Objective, Threat, Vector
from pipeline.settings import Real, Settings

PerClass = Float[Tensor, " class"]


class Multipliers(NamedTuple):
    """The controller's state: lambda0 and lambda1 weigh the clean and boundary loss, lambda2 the radius."""

    clean: PerClass
    boundary: PerClass
    radius: PerClass


class FrlController(Settings):
    """What both parts of FRL share: multipliers that follow the gaps of each class to the average.

        g0_k = std_k - std(all) - tau0,     g1_k = bnd_k - bnd(all) - tau1         (validation set, before the epoch)
        lambda0 <- P(lambda0 + rate1 g0),   lambda1 <- P(lambda1 + 2 rate1 g1),    lambda2 <- lambda2 + rate2 g1
        P(v): negatives to 0; then, if sum(v) > limit, v <- limit v / sum(v)

    Xu et al. 2021, Algorithm 1; spec 3.8. A fold over all validation records, from the one before the first epoch on.

    Attributes:
        limit: of the sum of lambda0 and of lambda1.
        rate1: of lambda0 and, twice, lambda1; halved from epoch `halve_at` on (the 40th).
        rate2: of lambda2.
        tau0, tau1: tolerances of the clean and the boundary gap: 0.07 with remargin, 0.1 with reweight alone.
        halve_at: epoch counted from 0.
    """

    limit: Real = 0.5
    rate1: Real = 0.05
    rate2: Real = 0.2
    tau0: Real = 0.07
    tau1: Real = 0.07
    halve_at: NonNegativeInt = 39

    @property
    def needs(self) -> frozenset[str]:
        """Clean and PGD-20 counts of the validation set."""
        return frozenset({"val.clean", "val.pgd20"})

    @property
    def needs_start_record(self) -> bool:
        """FRL acts before the first epoch."""
        return True

    def scaled(self, scale: float) -> Self:
        """`halve_at` multiplied."""
        return self.model_copy(update={"halve_at": round(self.halve_at * scale)})

    def multipliers(self, history: ClassHistory) -> Multipliers:
        """The multipliers of the coming epoch."""
        zeros = torch.zeros(history.num_classes, dtype=torch.float64)
        state = Multipliers(zeros, zeros, zeros)
        for record in history.records:
            clean, robust = record["val.clean"].double(), record["val.pgd20"].double()
            standard, boundary = _gaps(clean, robust)
            rate1 = self.rate1 / 2 if record.epoch + 1 >= self.halve_at else self.rate1
            state = Multipliers(
                self._project(state.clean + rate1 * (standard - self.tau0)),
                self._project(state.boundary + 2 * rate1 * (boundary - self.tau1)),
                state.radius + self.rate2 * (boundary - self.tau1),
            )
        return state

    def _project(self, values: PerClass) -> PerClass:
        positive = values.clamp(min=0)
        return positive * (self.limit / positive.sum()) if positive.sum() > self.limit else positive


def _gaps(clean: Tensor, robust: Tensor) -> tuple[PerClass, PerClass]:
    """Clean and boundary error of each class minus that of all images."""
    count = clean.sum(dim=1)
    clean_recall, robust_recall = clean.diagonal() / count, robust.diagonal() / count
    clean_overall, robust_overall = clean.trace() / clean.sum(), robust.trace() / robust.sum()
    return clean_overall - clean_recall, (clean_recall - robust_recall) - (clean_overall - robust_overall)


class FrlReweight(FrlController, ClassWeights):
    """FRL's class weights, each term normalised by the sum of its own weights in the batch (spec 1.6).

    w0_k = 1/K + lambda0_k - sum(lambda0)/K,     w1_k likewise with lambda1
    L = sum w0 nat / sum w0 + beta sum w1 rob / sum w1
    """

    kind: Literal["frl_reweight"] = "frl_reweight"

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        """w0 and w1 of the coming epoch."""
        state = self.multipliers(history)
        return ClassCoefficients(
            clean=_weights(state.clean),
            robust=_weights(state.boundary),
            over="weights",
            scales=objective.coefficients,
        )


def _weights(multipliers: PerClass) -> PerClass:
    number = len(multipliers)
    return 1 / number + multipliers - multipliers.sum() / number


class FrlRemargin(FrlController, Margin):
    """FRL's radii: m_k = min(max(exp(2 lambda2_k), 0.98), 3); the step is a quarter of the batch's largest radius."""

    kind: Literal["frl_remargin"] = "frl_remargin"

    def factors(self, history: ClassHistory) -> PerClass:
        """m_k of the coming epoch."""
        return torch.exp(2 * self.multipliers(history).radius).clamp(0.98, 3.0)

    def steps(self, epsilon: Vector, threat: Threat) -> Vector:
        """max over the batch of eps_i / 4, for every image."""
        return (epsilon.max() / 4).expand_as(epsilon)
