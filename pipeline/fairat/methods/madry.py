"""Clean training, and adversarial training on the worst point of the ball (Madry et al. 2018)."""

from typing import ClassVar, Literal

from torch import nn

from fairat.methods.losses import cross_entropy
from fairat.methods.parts import Batch, Objective, Terms, Trace, entropy_ascent
from fairat.settings.recipe import CleanPass


class CleanObjective(Objective):
    r"""Clean training minimizes the cross-entropy of the images as they are: the upper bound for clean accuracy.

    $$\mathrm{nat}_i = \mathrm{CE}(x_i, y_i)$$
    [unweighted] $$L = \frac{1}{B} \sum_i \mathrm{nat}_i$$
    """

    kind: Literal["clean"] = "clean"

    has_clean_term: ClassVar[bool] = True
    has_robust_term: ClassVar[bool] = False
    accepts_targets: ClassVar[bool] = False
    clean_pass: ClassVar[CleanPass] = "none"

    @property
    def coefficients(self) -> tuple[float, float]:
        return (1.0, 0.0)

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        return Trace(batch.images)

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        logits = model(batch.images)
        return Terms(clean=cross_entropy(logits, batch.labels), robust=None, logits=logits)


class AdversarialTraining(Objective):
    r"""Adversarial training (AT) minimizes the cross-entropy at the worst point of the ball around each image.

    The attack starts at uniform noise in the ball, with batch norm in train mode.

    [untargeted] $$x'_i = \arg\max_{x' \in \mathcal{B}(x_i, \varepsilon_i)} \mathrm{CE}(x', y_i)$$
    [targeted] $$x'_i = \arg\min_{x' \in \mathcal{B}(x_i, \varepsilon_i)} \mathrm{CE}(x', t_i)$$
    $$\mathrm{rob}_i = \mathrm{CE}(x'_i, y_i)$$
    [unweighted] $$L = \frac{1}{B} \sum_i \mathrm{rob}_i$$

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, arXiv 1706.06083.
    """

    kind: Literal["at"] = "at"

    targeted_clean_pass: ClassVar[CleanPass] = "before_and_after"

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """PGD from a uniform start; batch norm in train mode unless `attack_bn` says otherwise."""
        return Trace(entropy_ascent(model, batch, self.attack_bn or "train"))

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        logits = model(trace.adversarial)
        return Terms(clean=None, robust=cross_entropy(logits, batch.labels), logits=logits)
