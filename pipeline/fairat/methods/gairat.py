"""GAIRAT: images that few attack steps can break get more weight (Zhang et al. 2021)."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeInt
from torch import Tensor, nn

from fairat.attacks.pgd import Images
from fairat.errors import UserError
from fairat.methods.losses import cross_entropy
from fairat.methods.parts import Batch, Objective, Terms, Trace, begins_too_late, entropy_ascent
from fairat.settings.base import Real
from fairat.settings.recipe import CleanPass


class CorrectChecks:
    """Counts kappa: at how many checks each image was classified correctly."""

    def __init__(self, labels: Tensor) -> None:
        self.labels, self.count = labels, torch.zeros_like(labels)

    def __call__(self, number: int, iterate: Images, predictions: Int[Tensor, " batch"]) -> None:
        """Adds one check."""
        self.count = self.count + (predictions == self.labels).to(self.count.dtype)


class Gairat(Objective):
    r"""Geometry-aware instance-reweighted training (GAIRAT) is AT that gives images which few steps break more weight.

    $\kappa_i$ counts at how many of the checks $t = 0 \ldots T-1$ the prediction was correct. Batch norm is in eval mode
    during the attack. Before `start_epoch` all weights are 1; with $\Lambda = \infty$ GAIRAT is AT.

    $$x'_i = \arg\max_{x' \in \mathcal{B}(x_i, \varepsilon_i)} \mathrm{CE}(x', y_i)$$
    $$v_i = \frac{1}{2} (1 + \tanh(\Lambda + 5 (1 - 2 \kappa_i / T))), \quad u_i = \frac{B v_i}{\sum_j v_j}$$
    $$\mathrm{rob}_i = u_i \, \mathrm{CE}(x'_i, y_i)$$
    [unweighted] $$L = \frac{1}{B} \sum_i \mathrm{rob}_i$$

    Source: Zhang et al., Geometry-aware Instance-reweighted Adversarial Training, ICLR 2021, arXiv 2010.01736.

    Attributes:
        offset: $\Lambda$, -1.
        start_epoch: first epoch with weights; before it all are 1.
    """

    kind: Literal["gairat"] = "gairat"
    offset: Real = -1.0
    start_epoch: NonNegativeInt = 59

    accepts_targets: ClassVar[bool] = False
    clean_pass: ClassVar[CleanPass] = "none"

    def scaled(self, scale: float) -> "Gairat":
        return self.model_copy(update={"start_epoch": round(self.start_epoch * scale)})

    def cautions(self, epochs: int) -> list[str]:
        return begins_too_late(self.kind, self.start_epoch, epochs)

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """PGD from a uniform start, counting correct checks."""
        checks = CorrectChecks(batch.labels)
        adversarial = entropy_ascent(model, batch, self.attack_bn or "eval", observer=checks)
        return Trace(adversarial, correct_checks=checks.count)

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """u_i CE(x', y)."""
        assert trace.correct_checks is not None
        logits = model(trace.adversarial)
        loss = cross_entropy(logits, batch.labels)
        if batch.epoch >= self.start_epoch:
            loss = self.image_weights(trace.correct_checks, batch.num_steps).to(loss.dtype) * loss
        return Terms(clean=None, robust=loss, logits=logits)

    def image_weights(self, checks: Int[Tensor, " batch"], num_steps: int) -> Float[Tensor, " batch"]:
        """u_i of a batch, float64, mean 1.

        Raises:
            UserError: an attack of one step cannot tell images apart.
        """
        half = num_steps // 2  # for odd T the published script divides by the rounded half
        if half == 0:
            raise UserError(
                f"GAIRAT weighs images by how many attack steps they withstand, but the attack has {num_steps}. "
                "Set threat.num_steps of the suite, or num_steps of the method's objective, to 2 or more."
            )
        argument = self.offset + 5 * (half - checks.to(torch.float64)) / half
        values = torch.sigmoid(2 * argument)
        return len(values) * values / values.sum()
