"""TRADES: fit clean images, keep predictions inside the ball close to the clean one (Zhang et al. 2019)."""

from typing import Any, ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, field_validator
from torch import nn

from fairat.attacks.pgd import BatchNormMode, Start, attacking
from fairat.methods.forwards import forward_each
from fairat.methods.losses import cross_entropy, divergence
from fairat.methods.parts import Batch, Objective, Terms, Trace, ascend, entropy_ascent


class Trades(Objective):
    r"""TRADES fits clean images and keeps predictions inside the ball close to the clean prediction.

    The attack starts at small Gaussian noise, because the divergence has no gradient at the image itself, with batch norm in
    eval mode. In the loss the divergence's gradient flows through both predictions.

    [untargeted] $$x'_i = \arg\max_{x' \in \mathcal{B}(x_i, \varepsilon_i)} \mathrm{KL}(p(x_i) \parallel p(x'))$$
    [targeted] $$x'_i = \arg\min_{x' \in \mathcal{B}(x_i, \varepsilon_i)} \mathrm{CE}(x', t_i)$$
    $$\mathrm{nat}_i = \mathrm{CE}(x_i, y_i), \quad \mathrm{rob}_i = \mathrm{KL}(p(x_i) \parallel p(x'_i))$$
    [normalized] $$L = \frac{1}{(1 + \beta) B} \sum_i (\mathrm{nat}_i + \beta \, \mathrm{rob}_i)$$
    [original] $$L = \frac{1}{B} \sum_i (\mathrm{nat}_i + \beta \, \mathrm{rob}_i)$$

    Source: Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019, arXiv 1901.08573

    Attributes:
        beta: $\beta$, weight of the divergence; 6 by the code and the printed rows, 2 by FAIR-TAT's text (deviations, A6).
        normalize: divide by 1 + beta, as the CFA and FAIR-TAT code does. Not the same training: for beta 6 the gradient is
            7 times smaller against the same weight decay.
        targeted_inner: with a target y_t, `ce` descends CE(x', y_t) (FAIR-TAT, Algorithm 1), `kl_untargeted` ignores y_t as
            the only driver whose call fits does (deviations, A7).
        forwards: the train-mode forwards of one update, in order. They decide the running batch-norm statistics: x, x', x in
            the code of TRADES, CFA and FRL, x', x in that of WAT and DAFA. The forward that repeats x is not made; its
            effect is.
    """

    kind: Literal["trades"] = "trades"
    beta: NonNegativeFloat = 6.0
    normalize: bool = True
    targeted_inner: Literal["ce", "kl_untargeted"] = "ce"
    forwards: tuple[Literal["clean", "attacked"], ...] = ("clean", "attacked", "clean")

    has_clean_term: ClassVar[bool] = True

    @field_validator("forwards")
    @classmethod
    def _both_terms_have_logits(cls, forwards: tuple[str, ...]) -> tuple[str, ...]:
        if set(forwards) != {"clean", "attacked"}:
            raise ValueError(
                f"[{', '.join(forwards)}] leaves one term without logits; name clean and attacked, each at least once, as "
                "in [attacked, clean]"
            )
        return forwards

    @property
    def coefficients(self) -> tuple[float, float]:
        """(1, beta), divided by 1 + beta if normalized."""
        scale = 1 + self.beta if self.normalize else 1.0
        return (1 / scale, self.beta / scale)

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """Ascends the divergence, or descends the cross-entropy of the target class; start and mode stay TRADES' own."""
        batch_norm: BatchNormMode = self.attack_bn or "eval"
        if batch.targets is not None and self.targeted_inner == "ce":
            return Trace(entropy_ascent(model, batch, batch_norm, start="gauss"))
        return Trace(divergence_ascent(model, batch, batch_norm))

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """CE(x, y) and KL(p(x) || p(x')): one forward of x serves both terms."""
        logits = forward_each(model, {"clean": batch.images, "attacked": trace.adversarial}, self.forwards)
        clean, attacked = logits["clean"], logits["attacked"]
        return Terms(clean=cross_entropy(clean, batch.labels), robust=divergence(clean, attacked), logits=attacked)


def divergence_ascent(
    model: nn.Module, batch: Batch, batch_norm: BatchNormMode, *, start: Start = "gauss", **rules: Any
) -> torch.Tensor:
    """The TRADES attack: ascends KL(p(x) || p(x')) with p(x) held constant. `rules` go to the loop (observer, stopping)."""
    with torch.no_grad(), attacking(model, batch_norm):
        clean = model(batch.images)
    # Start from noise: at the image itself the divergence has zero gradient.
    return ascend(
        model, batch, loss=lambda logits: divergence(clean, logits), start=start, batch_norm=batch_norm, **rules
    )
