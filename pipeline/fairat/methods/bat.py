"""BAT: train on two boundary points per image, the last correct and the first wrong one (Sun et al. 2023)."""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from fairat.attacks.pgd import Images
from fairat.methods.fat import OriginalBudget, Success
from fairat.methods.forwards import forward_each
from fairat.methods.losses import Logits, cross_entropy, divergence
from fairat.methods.parts import Batch, Objective, Terms, Trace
from fairat.methods.trades import divergence_ascent
from fairat.settings.recipe import CleanPass


class BoundaryObserver:
    """Remembers the last iterate before the first wrong prediction: x_(t1-1), or x_0 where the first check is wrong."""

    def __init__(self, labels: Int[Tensor, " batch"]) -> None:
        self.labels = labels
        self.last_clean: Tensor | None = None
        self.crossed: Tensor | None = None

    def __call__(self, number: int, iterate: Images, predictions: Int[Tensor, " batch"]) -> None:
        """Moves on every image that has been correct at all checks so far, this one included."""
        wrong = predictions != self.labels
        if self.last_clean is None or self.crossed is None:
            self.last_clean, self.crossed = iterate, wrong
            return
        self.crossed = self.crossed | wrong
        self.last_clean = torch.where(self.crossed.view(-1, 1, 1, 1), self.last_clean, iterate)


class BalanceAdversarialTraining(Objective):
    r"""Balance adversarial training (BAT) trains on two boundary points per image and evens out the classes it is drawn to.

    Along the TRADES attack, $x^c$ is the last iterate before the first wrong prediction, at check $t_1$, and $x^a$ the first
    wrong one, followed by `overshoot` more; an image that withstands all checks has $x^c = x^a = x^T$. The first point is
    fitted, the second kept close to the clean prediction, and both, the set $Z$, are pulled towards the uniform distribution
    (the paper's text has the divergence $U$ the other way round: `uniform_kl`). Gradients flow through all predictions.

    $$x^c_i = x^{t_1 - 1}_i, \quad x^a_i = x^{t_1}_i$$
    $$U(z) = \mathrm{KL}(p(z) \parallel 1/K) = \log K - H(p(z))$$
    [boundary] $$\mathrm{nat}_i = \mathrm{CE}(x^c_i, y_i), \quad \mathrm{rob}_i = \mathrm{KL}(p(x_i) \parallel p(x^a_i))$$
    [trades] $$\mathrm{nat}_i = \mathrm{CE}(x_i, y_i), \quad \mathrm{rob}_i = \mathrm{KL}(p(x_i) \parallel p(x^T_i))$$
    [unweighted] $$L = \frac{1}{B} \sum_i (\mathrm{nat}_i + \beta \, \mathrm{rob}_i + a_u \sum_{z \in Z} U(z_i))$$

    Source: Sun et al., Improving Robust Fairness via Balance Adversarial Training, AAAI 2023, arXiv 2209.07534, Algorithm 1

    Attributes:
        beta: $\beta$, weight of the divergence, 6 [code].
        uniform_weight: $a_u$, 1 [code].
        uniform_kl: `code`: KL(p(z) || uniform) = log K - entropy; `paper`: KL(uniform || p(z)).
        overshoot: after the first wrong prediction keep stepping until that many more wrong checks (code 1, paper 0).
        trajectories: one attack for both points, or as the code two with separate noise: equal in expectation, twice the
            cost.
        uniform_on: $Z$, the points that are pulled towards the uniform distribution: `last_clean` ($x^c$), `first_wrong`
            ($x^a$), `attacked` (the end of a TRADES attack that never stops; one more attack). Others than the first two are
            BAT's ablation, its Table 2, No. 1 to 4.
        fits: `boundary`: the terms nat and rob are of $x^c$ and $x^a$; `trades`: of the image and its attacked one, as in
            TRADES (Table 2, No. 6).
    """

    kind: Literal["bat"] = "bat"
    beta: NonNegativeFloat = 6.0
    uniform_weight: NonNegativeFloat = 1.0
    uniform_kl: Literal["code", "paper"] = "code"
    overshoot: NonNegativeInt = 1
    trajectories: Literal["shared", "independent"] = "shared"
    uniform_on: tuple[Literal["last_clean", "first_wrong", "attacked"], ...] = ("last_clean", "first_wrong")
    fits: Literal["boundary", "trades"] = "boundary"

    has_clean_term: ClassVar[bool] = True
    accepts_targets: ClassVar[bool] = False
    clean_pass: ClassVar[CleanPass] = "none"

    @property
    def coefficients(self) -> tuple[float, float]:
        return (1.0, self.beta)

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """The two boundary points, and where the ablation asks for it the end of an attack that does not stop at them."""
        last_clean, adversarial = self._trajectory(model, batch)
        if self.trajectories == "independent":
            _, adversarial = self._trajectory(model, batch)
        attacked = None
        if self.fits == "trades" or "attacked" in self.uniform_on:
            attacked = divergence_ascent(model, batch, self.attack_bn or "eval", start="boxed_gauss")
        return Trace(adversarial, last_clean=last_clean, attacked=attacked)

    def _trajectory(self, model: nn.Module, batch: Batch) -> tuple[Images, Images]:
        observer = BoundaryObserver(batch.labels)
        adversarial = divergence_ascent(
            model,
            batch,
            self.attack_bn or "eval",
            start="boxed_gauss",
            observer=observer,
            stopping=OriginalBudget(Success(batch, "misclassified"), self.overshoot),
        )
        assert observer.last_clean is not None
        assert observer.crossed is not None
        return torch.where(observer.crossed.view(-1, 1, 1, 1), observer.last_clean, adversarial), adversarial

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """CE(x_c, y), KL(p(x) || p(x_a)) and the uniform terms; each point that a term needs has one forward, x the last."""
        points = {"last_clean": trace.last_clean, "first_wrong": trace.adversarial, "attacked": trace.attacked}
        fitted = ("last_clean", "first_wrong") if self.fits == "boundary" else ("attacked",)
        inputs = {
            name: images
            for name, images in points.items()
            if images is not None and (name in fitted or name in self.uniform_on)
        }
        inputs["clean"] = batch.images
        logits = forward_each(model, inputs, tuple(inputs))
        clean, robust = logits["clean"], logits[fitted[-1]]
        uniform = [self.to_uniform(logits[name]) for name in self.uniform_on]
        return Terms(
            clean=cross_entropy(logits["last_clean"] if self.fits == "boundary" else clean, batch.labels),
            robust=divergence(clean, robust),
            logits=robust,
            auxiliary=self.uniform_weight * torch.stack(uniform).sum(dim=0) if uniform else None,
        )

    def to_uniform(self, logits: Logits) -> Float[Tensor, " batch"]:
        """U: distance of each prediction from 1/K."""
        log_p = logits.log_softmax(dim=1)
        log_uniform = -math.log(logits.shape[1])
        if self.uniform_kl == "code":
            return (log_p.exp() * (log_p - log_uniform)).sum(dim=1)
        return (log_uniform - log_p).mean(dim=1)
