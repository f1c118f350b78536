"""FAIR-TAT: aim the training attack at classes that attract false predictions (Medi et al., arXiv 2410.23142)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fairat.methods.history import ClassHistory
from fairat.methods.parts import Targets
from fairat.methods.sampling import conditional_on_wrong
from fairat.settings.base import Real


class UniformTargets(Targets):
    r"""FAIR-TAT moves the training attack towards a wrong class; uniform target sampling (UTS) draws each with the same chance.

    The outer loss keeps the true class.

    $$P(t_i = c \mid y_i) = \frac{1}{K - 1}, \quad c \neq y_i$$

    Source: Medi et al., FAIR-TAT: Improving Model Fairness Using Targeted Adversarial Training, WACV 2025, arXiv 2410.23142
    """

    kind: Literal["uniform"] = "uniform"

    def table(self, history: ClassHistory) -> Float[Tensor, "class class"]:
        """1 / (K - 1) off the diagonal."""
        return conditional_on_wrong(torch.ones(history.num_classes, dtype=torch.float64))


class CfpsTargets(Targets):
    r"""FAIR-TAT moves the training attack towards a wrong class, more often one that attracts false predictions (CTS).

    The outer loss keeps the true class. $C_{kc}$ counts how often training images of class $k$ were predicted as $c$ under
    attack in the epoch before; the class false positive score (CFPS) of $c$ is the share of all errors that landed in $c$.
    Until there was an error, targets are uniform.

    $$\mathrm{CFPS}_c = \frac{\sum_{k \neq c} C_{kc}}{\sum_{j} \sum_{k \neq j} C_{kj}}$$
    $$\pi = \mathrm{softmax}(s \, \mathrm{CFPS})$$
    $$P(t_i = c \mid y_i) = \frac{\pi_c}{1 - \pi_{y_i}}, \quad c \neq y_i$$

    Source: Medi et al., FAIR-TAT: Improving Model Fairness Using Targeted Adversarial Training, WACV 2025, arXiv 2410.23142,
    eq. 8 and Algorithm 1.

    Attributes:
        from_scores: `softmax` as the code does, or `proportional`, pi = CFPS, as the paper's text says (deviations, A1).
        scale: $s$, factor inside the softmax, 2 [newest driver].
        statistics: where the scores are measured: on the training batches of the epoch before (code) or on the validation
            set under PGD-10 (the paper's eq. 8; A2 in docs/deviations.md).
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
