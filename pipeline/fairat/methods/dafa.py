"""DAFA: hard classes take loss weight and radius from easier classes similar to them (Lee et al. 2024)."""

from typing import Annotated, Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor

from fairat.errors import UserError
from fairat.methods.history import ClassHistory
from fairat.methods.parts import ClassCoefficients, ClassWeights, Controller, Margin, Objective, Vector, begins_too_late
from fairat.settings.base import Real
from fairat.settings.threat import Threat


class ClassDistance(Controller):
    r"""Distance-aware training (DAFA) moves loss weight and radius from easy classes to hard classes similar to them.

    Row $S_{k,\cdot}$ is the mean of $p(x')$ over the training images of class $k$ in the epoch before `begin_epoch`. The
    weights $W_k$ are 1 before `begin_epoch` and constant from then on.

    $$\Delta_{kj} = \lambda \, S_{kj} S_{jj} \quad \mathrm{if} \quad S_{kk} < S_{jj}$$
    $$\Delta_{kj} = -\lambda \, S_{jk} S_{kk} \quad \mathrm{otherwise}$$
    $$W_k = 1 + \sum_{j \neq k} \Delta_{kj}$$

    Source: Lee et al., DAFA: Distance-Aware Fair Adversarial Training, ICLR 2024, arXiv 2401.12532.

    Attributes:
        lam: $\lambda$, strength, 1.0 on CIFAR-10, 1.5 on CIFAR-100.
        begin_epoch: first epoch with weights, counted from 0.
    """

    lam: Annotated[Real, Field(ge=0)] = 1.0
    begin_epoch: PositiveInt = 70

    @property
    def needs(self) -> frozenset[str]:
        """The soft confusion of the training images."""
        return frozenset({"train.soft"})

    def scaled(self, scale: float) -> Self:
        return self.model_copy(update={"begin_epoch": max(1, round(self.begin_epoch * scale))})

    def cautions(self, epochs: int) -> list[str]:
        return begins_too_late("distance", self.begin_epoch, epochs)

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
    """W from S; a tie of two diagonal entries costs both. A class without images (a row of nan) takes no part."""
    own = soft.diagonal()
    harder = own[:, None] < own[None, :]
    gains = lam * soft * own[None, :]
    losses = lam * soft.T * own[:, None]
    changes = torch.where(harder, gains, -losses)
    changes = changes.nan_to_num(nan=0.0)
    return 1 + changes.sum(dim=1) - changes.diagonal()


class DistanceMargin(ClassDistance, Margin):
    r"""Its radii and steps grow with the weights.

    $$\varepsilon_k = W_k \, \varepsilon, \quad \alpha_k = W_k \, \alpha$$
    """

    kind: Literal["distance"] = "distance"

    def factors(self, history: ClassHistory) -> Float[Tensor, " class"]:
        return self.class_weights(history)

    def steps(self, epsilon: Vector, threat: Threat) -> Vector:
        """alpha scaled as the radius is."""
        return epsilon * (threat.step_size / threat.epsilon if threat.epsilon else 0.0)


class DistanceWeights(ClassDistance, ClassWeights):
    r"""Its loss weights act on the clean term only; on the robust term where there is no clean one.

    $$L = \frac{1}{B} \sum_i (W_{y_i} \, \mathrm{nat}_i + \beta \, \mathrm{rob}_i)$$
    """

    kind: Literal["distance"] = "distance"

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        """W on one term, 1 on the other."""
        weights = self.class_weights(history)
        ones = torch.ones_like(weights)
        clean, robust = objective.coefficients
        on_clean = objective.has_clean_term
        return ClassCoefficients(clean * (weights if on_clean else ones), robust * (ones if on_clean else weights))
