"""BAT: train on two boundary points per image, the last correct and the first wrong one (Sun et al. 2023; spec 3.9)."""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import NonNegativeInt
from torch import Tensor, nn

from pipeline.attacks.pgd import Images
from pipeline.methods.fat import OriginalBudget, Success
from pipeline.methods.losses import Logits, cross_entropy, divergence
from pipeline.methods.parts import Batch, Objective, Terms, Trace
from pipeline.methods.trades import divergence_ascent


class BoundaryObserver:
    """Remembers the last iterate before the first wrong prediction: x_(t1-1), or x_0 where the first check is wrong."""

    def __init__(self) -> None:
        self.last_clean: Tensor | None = None
        self.crossed: Tensor | None = None

    def __call__(self, number: int, iterate: Images, correct: Bool[Tensor, " batch"]) -> None:
        """Moves on every image that has been correct at all checks so far, this one included."""
        if self.last_clean is None or self.crossed is None:
            self.last_clean, self.crossed = iterate, ~correct
            return
        self.crossed = self.crossed | ~correct
        self.last_clean = torch.where(self.crossed.view(-1, 1, 1, 1), self.last_clean, iterate)


class BalanceAdversarialTraining(Objective):
    """BAT.

        x_c = last correct iterate, x_a = first wrong iterate of the TRADES attack (x_c = x_a = x_T if none is wrong)
        L = CE(x_c, y) + beta KL(p(x) || p(x_a)) + a_u [U(x_c) + U(x_a)],    U(z) = KL(p(z) || uniform)

    Sun et al. 2023, Algorithm 1 and eq. 9; spec 3.9. Gradients flow through p(x), p(x_c) and p(x_a): three train-mode
    forwards.

    Attributes:
        beta: weight of the divergence, 6 [code].
        uniform_weight: a_u, 1 [code].
        uniform_kl: `code`: KL(p(z) || uniform) = log K - entropy; `paper`: KL(uniform || p(z)).
        overshoot: after the first wrong prediction keep stepping until that many more wrong checks (code 1, paper 0).
        trajectories: one attack for both points, or as the code two with separate noise: equal in expectation, twice the
            cost.
    """

    kind: Literal["bat"] = "bat"
    beta: float = 6.0
    uniform_weight: float = 1.0
    uniform_kl: Literal["code", "paper"] = "code"
    overshoot: NonNegativeInt = 1
    trajectories: Literal["shared", "independent"] = "shared"

    has_clean_term: ClassVar[bool] = True
    accepts_targets: ClassVar[bool] = False
    clean_pass: ClassVar[Literal["after_step", "none"]] = "none"

    @property
    def coefficients(self) -> tuple[float, float]:
        """(1, beta)."""
        return (1.0, self.beta)

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """The two boundary points."""
        last_clean, adversarial = self._trajectory(model, batch)
        if self.trajectories == "independent":
            _, adversarial = self._trajectory(model, batch)
        return Trace(adversarial, last_clean=last_clean)

    def _trajectory(self, model: nn.Module, batch: Batch) -> tuple[Images, Images]:
        observer = BoundaryObserver()
        adversarial = divergence_ascent(
            model,
            batch,
            self.attack_bn or "eval",
            observer=observer,
            stopping=OriginalBudget(Success(batch, "misclassified"), self.overshoot),
        )
        assert observer.last_clean is not None
        assert observer.crossed is not None
        return torch.where(observer.crossed.view(-1, 1, 1, 1), observer.last_clean, adversarial), adversarial

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """CE(x_c, y), KL(p(x) || p(x_a)) and the uniform terms."""
        assert trace.last_clean is not None
        clean, boundary, adversarial = model(batch.images), model(trace.last_clean), model(trace.adversarial)
        auxiliary = self.uniform_weight * (self.to_uniform(boundary) + self.to_uniform(adversarial))
        return Terms(
            clean=cross_entropy(boundary, batch.labels),
            robust=divergence(clean, adversarial),
            logits=adversarial,
            auxiliary=auxiliary,
        )

    def to_uniform(self, logits: Logits) -> Float[Tensor, " batch"]:
        """U: distance of each prediction from 1/K."""
        log_p = logits.log_softmax(dim=1)
        log_uniform = -math.log(logits.shape[1])
        if self.uniform_kl == "code":
            return (log_p.exp() * (log_p - log_uniform)).sum(dim=1)
        return (log_uniform - log_p).mean(dim=1)
