"""FRL: raise the weights and radii of classes whose errors exceed the average (Xu et al. 2021)."""

from typing import Literal, NamedTuple, Self

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt
from torch import Tensor

from fairat.methods.history import ClassHistory
from fairat.methods.parts import ClassCoefficients, ClassWeights, Controller, Margin, Objective, Vector
from fairat.settings.base import Real
from fairat.settings.threat import Threat

PerClass = Float[Tensor, " class"]


class Multipliers(NamedTuple):
    """The controller's state: the first two multipliers weigh the clean and the boundary loss, the third the radius."""

    clean: PerClass
    boundary: PerClass
    radius: PerClass


class FrlController(Controller):
    r"""Fair robust learning (FRL) favors classes whose error exceeds the average by more than a tolerance.

    Before each epoch the clean error $s_k$ and the boundary error $b_k$ (robust minus clean error under PGD-20) of every class
    are compared with those of all validation images, $\bar{s}$ and $\bar{b}$. The multipliers $\mu$ start at 0 and follow
    the gaps; $P$ sets negative entries to 0 and then scales the vector down to the sum `limit`.

    $$g^0_k = s_k - \bar{s} - \tau_0, \quad g^1_k = b_k - \bar{b} - \tau_1$$
    $$\mu^0 \leftarrow P(\mu^0 + \eta_1 g^0), \quad \mu^1 \leftarrow P(\mu^1 + 2 \eta_1 g^1)$$
    $$\mu^2 \leftarrow \mu^2 + \eta_2 g^1$$

    Source: Xu et al., To be Robust or to be Fair: Towards Fairness in Adversarial Training, ICML 2021, arXiv 2010.06121

    Attributes:
        limit: of the sums of the first two multipliers.
        rate1: $\eta_1$, of the first multiplier and, twice, of the second; halved from epoch `halve_at` on (the 40th).
        rate2: $\eta_2$, of the third multiplier.
        tau0: $\tau_0$, tolerance of the clean gap: 0.07 with remargin, 0.1 with reweight alone.
        tau1: $\tau_1$, tolerance of the boundary gap, likewise.
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
        return True

    def scaled(self, scale: float) -> Self:
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
    r"""Reweighting: each term is normalized by the sum of its own weights in the batch.

    $$w^m_k = \frac{1}{K} + \mu^m_k - \frac{1}{K} \sum_j \mu^m_j, \quad W^m = \sum_i w^m_{y_i}, \quad m = 0, 1$$
    $$L = \frac{1}{W^0} \sum_i w^0_{y_i} \mathrm{nat}_i + \frac{\beta}{W^1} \sum_i w^1_{y_i} \mathrm{rob}_i$$
    """

    kind: Literal["frl_reweight"] = "frl_reweight"

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
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
    r"""Remargin: the radii follow the third multiplier, and the step is a quarter of the batch's largest radius.

    $$\varepsilon_k = \min(\max(\exp(2 \mu^2_k), 0.98), 3) \, \varepsilon, \quad \alpha = \frac{1}{4} \max_i \varepsilon_i$$
    """

    kind: Literal["frl_remargin"] = "frl_remargin"

    def factors(self, history: ClassHistory) -> PerClass:
        return torch.exp(2 * self.multipliers(history).radius).clamp(0.98, 3.0)

    def steps(self, epsilon: Vector, threat: Threat) -> Vector:
        """max over the batch of eps_i / 4, for every image."""
        return (epsilon.max() / 4).expand_as(epsilon)
