"""CFA: class-wise calibrated margins and TRADES weights (Wei et al. 2023; spec 3.5). FAWA is in `averaging.py`."""

from typing import ClassVar, Literal, Self

import torch
from jaxtyping import Float
from pydantic import NonNegativeInt
from torch import Tensor

from pipeline.methods.history import ClassHistory
from pipeline.methods.parts import ClassCoefficients, ClassWeights, Margin, Objective
from pipeline.settings import Real


class RobustAccuracyMargin(Margin):
    """CCM: a class that is already robust gets a larger radius.

        eps_k(e) = (offset + r_k(e-1)) * eps   for e >= begin_epoch, else eps            CFA; FAIR-TAT eq. 6; spec 3.5

    r_k is the robust accuracy of class k on the training batches of the epoch before, under the training attack itself.

    Attributes:
        offset: lambda_1, 0.5 [FAIR-TAT].
        begin_epoch: first epoch with adapted radii; 1 in the FAIR-TAT driver, 10 in CFA's (spec A13).
        cap: largest factor allowed; none, as published: factors above 1 are intended.
    """

    kind: Literal["robust_accuracy"] = "robust_accuracy"
    offset: Real = 0.5
    begin_epoch: NonNegativeInt = 1
    cap: Real | None = None

    @property
    def needs(self) -> frozenset[str]:
        """train.robust."""
        return frozenset({"train.robust"})

    def scaled(self, scale: float) -> Self:
        """`begin_epoch` multiplied."""
        return self.model_copy(update={"begin_epoch": round(self.begin_epoch * scale)})

    def factors(self, history: ClassHistory) -> Float[Tensor, " class"]:
        """offset + r_k; 1 before `begin_epoch` and for a class never seen."""
        neutral = torch.ones(history.num_classes, dtype=torch.float64)
        if history.epoch < self.begin_epoch:
            return neutral
        factors = self.offset + history.class_accuracy("train.robust")
        factors = torch.where(factors.isnan(), neutral, factors)
        return factors if self.cap is None else factors.clamp(max=self.cap)


class CalibratedWeights(ClassWeights):
    """CCR: a class that is already robust gets more weight on its robust term.

        q_k = (offset + r_k) beta / (1 + (offset + r_k) beta)    for e >= begin_epoch, else beta / (1 + beta)
        a_i = (1 - q_k) / B,    b_i = q_k / B                                          CFA, Sec. 4.2; spec 3.5, AF-17

    Attributes:
        offset: lambda_2, 0.5.
        begin_epoch: first epoch with adapted weights; 10 in CFA (spec A13).
    """

    kind: Literal["ccr"] = "ccr"
    offset: Real = 0.5
    begin_epoch: NonNegativeInt = 10

    needs_clean_term: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[str]:
        """train.robust."""
        return frozenset({"train.robust"})

    def scaled(self, scale: float) -> Self:
        """`begin_epoch` multiplied."""
        return self.model_copy(update={"begin_epoch": round(self.begin_epoch * scale)})

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
