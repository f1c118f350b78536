"""FAIR-TAT: aim the training attack at classes that attract false predictions (Medi et al., arXiv 2410.23142; spec 3.13)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.methods.history import ClassHistory
from pipeline.methods.parts import Targets
from pipeline.methods.sampling import conditional_on_wrong
from pipeline.settings import Real


class UniformTargets(Targets):
    """UTS: a wrong class, each equally likely."""

    kind: Literal["uniform"] = "uniform"

    def table(self, history: ClassHistory) -> Float[Tensor, "class class"]:
        """1 / (K - 1) off the diagonal."""
        return conditional_on_wrong(torch.ones(history.num_classes, dtype=torch.float64))


class CfpsTargets(Targets):
    """CTS: classes that attract false predictions are aimed at more often.

        CFPS_c = wrong predictions of c / all wrong predictions,     pi = softmax(scale * CFPS),   y_t ~ pi given y_t != y

    FAIR-TAT eq. 8 and Sec. 4; spec 3.13, A1, A2. Until an error was seen: uniform.

    Attributes:
        from_scores: `softmax` as the code does, `proportional` as the paper's text says.
        scale: factor inside the softmax, 2 [newest driver].
        statistics: where the scores are measured: on the training batches of the epoch before (code) or on the validation
            set under PGD-10 (the paper's eq. 8).
    """

    kind: Literal["cfps"] = "cfps"
    from_scores: Literal["softmax", "proportional"] = "softmax"
    scale: Real = 2.0
    statistics: Literal["train", "validation"] = "train"

    @property
    def needs(self) -> frozenset[str]:
        """The confusion counts the scores come from."""
        return frozenset({self._field})

    @property
    def _field(self) -> str:
        return "train.robust" if self.statistics == "train" else "val.pgd10"

    def probabilities(self, history: ClassHistory) -> Float[Tensor, " class"]:
        """pi, before conditioning on y_t != y."""
        scores = history.false_positive_scores(self._field)
        if scores is None:
            return torch.full((history.num_classes,), 1 / history.num_classes, dtype=torch.float64)
        return torch.softmax(self.scale * scores, dim=0) if self.from_scores == "softmax" else scores

    def table(self, history: ClassHistory) -> Float[Tensor, "class class"]:
        """pi conditioned on y_t != y."""
        return conditional_on_wrong(self.probabilities(history))
