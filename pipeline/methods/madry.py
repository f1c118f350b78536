"""Clean training, and adversarial training on the worst point of the ball (Madry et al. 2018; spec 3.1, 3.2)."""

from typing import ClassVar, Literal

from torch import nn

from pipeline.attacks.pgd import BatchNormMode
from pipeline.methods.losses import cross_entropy
from pipeline.methods.parts import Batch, Objective, Terms, Trace, ascend


class CleanObjective(Objective):
    """Ordinary training: mean CE(x, y), no attack; the upper bound for clean accuracy."""

    kind: Literal["clean"] = "clean"

    has_clean_term: ClassVar[bool] = True
    has_robust_term: ClassVar[bool] = False
    accepts_targets: ClassVar[bool] = False
    clean_pass: ClassVar[Literal["after_step", "none"]] = "none"

    @property
    def coefficients(self) -> tuple[float, float]:
        """Only the clean term."""
        return (1.0, 0.0)

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """No attack: x' = x."""
        return Trace(batch.images)

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """CE(x, y)."""
        logits = model(batch.images)
        return Terms(clean=cross_entropy(logits, batch.labels), robust=None, logits=logits)


class AdversarialTraining(Objective):
    """AT: mean CE(x', y) at the worst point of the ball.

        delta <- box(clip(delta + alpha sign(grad CE(x + delta, y)), +-eps_y)),   uniform start, T steps
        L = 1/B sum_i CE(x'_i, y_i)                              Madry et al. 2018, eq. 2.1; spec 3.2

    With a target y_t the attack descends CE(x', y_t) instead (FAIR-TAT, Algorithm 1, line 20); the outer loss keeps y.
    """

    kind: Literal["at"] = "at"

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """PGD from a uniform start; batch norm in train mode unless `attack_bn` says otherwise."""
        batch_norm: BatchNormMode = self.attack_bn or "train"
        aim = batch.labels if batch.targets is None else batch.targets
        adversarial = ascend(
            model,
            batch,
            loss=lambda logits: cross_entropy(logits, aim),
            start="uniform",
            batch_norm=batch_norm,
            direction=1 if batch.targets is None else -1,
        )
        return Trace(adversarial)

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """CE(x', y)."""
        logits = model(trace.adversarial)
        return Terms(clean=None, robust=cross_entropy(logits, batch.labels), logits=logits)
