"""CFA: class-wise calibrated margins and TRADES weights (Wei et al. 2023). FAWA is in `averaging.py`."""

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, NonNegativeInt
from torch import Tensor

from fairat.methods.history import ClassHistory
from fairat.methods.parts import ClassCoefficients, ClassWeights, FollowsRobustAccuracy, Margin, Objective
from fairat.settings.base import Real


class RobustAccuracyMargin(FollowsRobustAccuracy, Margin):
    r"""The calibrated margin of CFA (CCM) gives a class that is already robust a larger radius.

    $r_k(e)$ is the robust accuracy of class $k$ on the training batches of epoch $e$, under the training attack itself.
    Before `begin_epoch` all radii are $\varepsilon$.

    $$\varepsilon_k(e) = (\lambda_1 + r_k(e - 1)) \, \varepsilon$$

    Source: Wei et al., CFA: Class-wise Calibrated Fair Adversarial Training, CVPR 2023, arXiv 2303.14460.

    Attributes:
        offset: $\lambda_1$, 0.5 [FAIR-TAT].
        begin_epoch: first epoch with adapted radii; 1 in the FAIR-TAT driver, 10 in CFA's (A13 in docs/deviations.md).
        cap: largest factor allowed; none, as published: factors above 1 are intended.
    """

    kind: Literal["robust_accuracy"] = "robust_accuracy"
    offset: Annotated[Real, Field(ge=0)] = 0.5
    begin_epoch: NonNegativeInt = 1
    cap: Annotated[Real, Field(ge=0)] | None = None

    def factors(self, history: ClassHistory) -> Float[Tensor, " class"]:
        """offset + r_k; 1 before `begin_epoch` and for a class never seen."""
        neutral = torch.ones(history.num_classes, dtype=torch.float64)
        if history.epoch < self.begin_epoch:
            return neutral
        factors = self.offset + history.class_accuracy("train.robust")
        factors = torch.where(factors.isnan(), neutral, factors)
        return factors if self.cap is None else factors.clamp(max=self.cap)


class CalibratedWeights(FollowsRobustAccuracy, ClassWeights):
    r"""The calibrated regularization of CFA (CCR) gives a class that is already robust more weight on its robust term.

    $r_k(e)$ is the robust accuracy of class $k$ on the training batches of epoch $e$. Before `begin_epoch`,
    $q_k = \beta / (1 + \beta)$.

    $$q_k(e) = \frac{(\lambda_2 + r_k(e - 1)) \beta}{1 + (\lambda_2 + r_k(e - 1)) \beta}$$
    $$L = \frac{1}{B} \sum_i ((1 - q_{y_i}) \, \mathrm{nat}_i + q_{y_i} \, \mathrm{rob}_i)$$

    Source: Wei et al., CFA: Class-wise Calibrated Fair Adversarial Training, CVPR 2023, arXiv 2303.14460.

    Attributes:
        offset: $\lambda_2$, 0.5.
        begin_epoch: first epoch with adapted weights; 10 in CFA (A13 in docs/deviations.md).
    """

    kind: Literal["ccr"] = "ccr"
    offset: Annotated[Real, Field(ge=0)] = 0.5
    begin_epoch: NonNegativeInt = 10

    needs_clean_term: ClassVar[bool] = True

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        """1 - q_k and q_k."""
        clean, robust = objective.coefficients
        beta = robust / clean
        factors = torch.ones(history.num_classes, dtype=torch.float64)
        if history.epoch >= self.begin_epoch:
            calibrated = self.offset + history.class_accuracy("train.robust")
            factors = torch.where(calibrated.isnan(), factors, calibrated)
        q = factors * beta / (1 + factors * beta)
        return ClassCoefficients(1 - q, q)
