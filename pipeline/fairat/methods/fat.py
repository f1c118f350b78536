"""FAT: stop the attack soon after it succeeds, so that training images stay learnable (Zhang et al. 2020)."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from fairat.attacks.pgd import BatchNormMode, StoppingRule
from fairat.methods.forwards import forward_each
from fairat.methods.losses import cross_entropy
from fairat.methods.parts import Batch, Objective, Terms, Trace, entropy_ascent
from fairat.settings.base import Settings


class CfaBudget:
    """CFA's rule: each success costs one of `tau` further steps; an image without budget is frozen for good.

    Args:
        missed: predicted classes to whether the attack has succeeded.
        tau: steps after success.
    """

    def __init__(self, missed: "Success", tau: int) -> None:
        self.missed, self.tau = missed, tau
        self.left: Tensor | None = None
        self.active: Tensor | None = None

    def __call__(self, predictions: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Which images step: those with budget, correct or not."""
        if self.left is None:
            self.left = torch.full_like(predictions, self.tau)
        self.active = self.left > 0
        self.left = self.left - (self.active & self.missed(predictions)).to(self.left.dtype)
        return self.active

    @property
    def ended_early(self) -> bool:
        """Whether the attack ended because no image was left to step; waits for the device."""
        return self.active is not None and not bool(self.active.any())


class OriginalBudget:
    """The original rule: as CFA's, but an image that is correct again steps even without budget."""

    def __init__(self, missed: "Success", tau: int) -> None:
        self.missed, self.tau = missed, tau
        self.left: Tensor | None = None
        self.frozen: Tensor | None = None

    def __call__(self, predictions: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Which images step: all but those that were ever misclassified without budget."""
        if self.left is None or self.frozen is None:
            self.left = torch.full_like(predictions, self.tau)
            self.frozen = torch.zeros_like(predictions, dtype=torch.bool)
        missed = self.missed(predictions)
        self.frozen = self.frozen | (missed & (self.left == 0))
        active = ~self.frozen
        self.left = self.left - (active & missed).to(self.left.dtype)
        return active


class Success:
    """When an attack counts as successful: the prediction has left the true class, or has reached the target."""

    def __init__(self, batch: Batch, on: Literal["misclassified", "target_hit"]) -> None:
        self.labels = batch.labels
        self.targets = batch.targets if on == "target_hit" else None

    def __call__(self, predictions: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Whether the attack has succeeded on each image."""
        return predictions != self.labels if self.targets is None else predictions == self.targets


class TauFrom(Settings):
    """From epoch `at` on (counted from 0), tau is `tau`."""

    at: NonNegativeFloat
    tau: NonNegativeInt


class FriendlyAdversarialTraining(Objective):
    r"""Friendly adversarial training (FAT) stops the attack soon after it succeeds, so that images stay learnable.

    It is AT on the iterate $x^{s_i}$ of the attack, where $s_i$ counts the steps up to $\tau$ steps after the image was first
    misclassified, at most $T$. In CFA's re-implementation, which is FAIR-TAT's FAT, an image whose $\tau$ steps are used up
    is frozen for good; in the original it moves on whenever it is correct again, batch norm is in eval mode, and small
    Gaussian noise joins every step. With $\tau = T$ FAT is AT.

    [untargeted] $$x^{t+1}_i = \Pi_{\varepsilon_i}(x^t_i + \alpha \, \mathrm{sign} \nabla \mathrm{CE}(x^t_i, y_i))$$
    [targeted] $$x^{t+1}_i = \Pi_{\varepsilon_i}(x^t_i - \alpha \, \mathrm{sign} \nabla \mathrm{CE}(x^t_i, t_i))$$
    $$x'_i = x^{s_i}_i, \quad \mathrm{rob}_i = \mathrm{CE}(x'_i, y_i)$$
    [unweighted] $$L = \frac{1}{B} \sum_i \mathrm{rob}_i$$

    Source: Zhang et al., Attacks Which Do Not Kill Training Make Adversarial Learning Stronger, ICML 2020, arXiv 2002.11242

    Attributes:
        variant: `cfa`: batch norm in train mode, an image without budget is frozen for good; `original`: eval mode, an
            image that is correct again steps even without budget, and 0.001 N(0, 1) is added to every step.
        tau: $\tau$, steps after success. In CFA's variant 0 means that nothing ever steps: training on random noise.
        tau_schedule: later values of tau by epoch (original: 0, then 1 from 50, 2 from 90).
        stop_on: with targets, whether `tau` counts from misclassification or from hitting the target (deviations, A8).
    """

    kind: Literal["fat"] = "fat"
    variant: Literal["cfa", "original"] = "cfa"
    tau: NonNegativeInt = 3
    tau_schedule: tuple[TauFrom, ...] = ()
    stop_on: Literal["misclassified", "target_hit"] = "misclassified"

    def scaled(self, scale: float) -> "FriendlyAdversarialTraining":
        schedule = tuple(TauFrom(at=entry.at * scale, tau=entry.tau) for entry in self.tau_schedule)
        return self.model_copy(update={"tau_schedule": schedule})

    def tau_at(self, epoch: int) -> int:
        """tau of one epoch."""
        reached = [entry for entry in self.tau_schedule if epoch >= entry.at]
        return max(reached, key=lambda entry: entry.at).tau if reached else self.tau

    def cautions(self, epochs: int) -> list[str]:
        """Without a step there is nothing to learn from."""
        idle = [epoch for epoch in range(epochs) if self.tau_at(epoch) == 0]
        if self.variant == "original" or not idle:
            return []
        return [
            f"objective fat: tau is 0 in {len(idle)} of {epochs} epochs, and in CFA's variant no image then ever steps: "
            "the network trains on random noise. Set tau to 1 or more, or variant: original"
        ]

    def stopping(self, batch: Batch) -> StoppingRule:
        """The variant's rule for one batch."""
        rule = CfaBudget if self.variant == "cfa" else OriginalBudget
        return rule(Success(batch, self.stop_on), self.tau_at(batch.epoch))

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """PGD with early stopping from a uniform start."""
        original, rule = self.variant == "original", self.stopping(batch)
        batch_norm: BatchNormMode = self.attack_bn or ("eval" if original else "train")
        rules: dict[str, Any] = {"stopping": rule}
        if original:
            rules["jitter"] = lambda images: 0.001 * torch.empty_like(images).normal_(generator=batch.generator)
        adversarial = entropy_ascent(model, batch, batch_norm, **rules)
        # CFA's loop checks the iterate after its last step too; where all steps were made that is x' itself.
        last_checked = isinstance(rule, CfaBudget) and batch_norm == "train" and not rule.ended_early
        return Trace(adversarial, last_checked=last_checked)

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """CE(x', y); the running statistics are those after the last check as well."""
        order = ("attacked", "attacked") if trace.last_checked else ("attacked",)
        logits = forward_each(model, {"attacked": trace.adversarial}, order)["attacked"]
        return Terms(clean=None, robust=cross_entropy(logits, batch.labels), logits=logits)
