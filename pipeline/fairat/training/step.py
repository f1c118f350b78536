"""One minimax step, in the order of the papers' algorithm boxes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fairat.methods.history import ClassHistory
from fairat.methods.method import Method
from fairat.methods.parts import Batch, ClassCoefficients
from fairat.methods.sampling import draw
from fairat.settings.recipe import CleanPass, Precision
from fairat.settings.threat import Threat
from fairat.training.precision import attacked


@dataclass(frozen=True)
class Policy:
    """What the class-wise parts decide at the start of an epoch, as tables on the training device.

    Attributes:
        epsilon: radius of each class, `class`, in units of [0, 1] images.
        targets: row y holds the target distribution for class y, or None for untargeted attacks.
        coefficients: class weights of the loss.
    """

    epsilon: Float[Tensor, " class"]
    targets: Float[Tensor, "class class"] | None
    coefficients: ClassCoefficients


def decide(method: Method, history: ClassHistory, threat: Threat, device: torch.device) -> Policy:
    """Asks every part once; all see records -1 .. e-1."""
    factors = method.margin.factors(history)
    return Policy(
        epsilon=(factors * threat.epsilon).to(device, torch.float32),
        targets=method.targets.table(history).to(device) if method.targets.targeted else None,
        coefficients=method.class_weights.coefficients(history, method.objective).to(device, torch.float32),
    )


class EpochTally:
    """What one epoch counts, on the device and without a host sync per step.

    Attributes:
        robust, clean: confusion counts `true predicted`, int64.
        soft: sums of p(x') by true class, float64, if wanted.
        losses: one value per batch.
    """

    def __init__(self, num_classes: int, num_batches: int, device: torch.device, soft: bool) -> None:
        self.num_classes = num_classes
        self.robust = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)
        self.clean = torch.zeros_like(self.robust)
        self.soft = torch.zeros(num_classes, num_classes, dtype=torch.float64, device=device) if soft else None
        self.losses = torch.zeros(num_batches, device=device)

    def count(self, confusion: Int[Tensor, "class class"], labels: Tensor, logits: Tensor) -> None:
        """Adds one batch of predictions to a confusion matrix."""
        cells = labels * self.num_classes + logits.detach().argmax(dim=1)
        confusion.view(-1).scatter_add_(0, cells, torch.ones_like(cells))

    def count_soft(self, labels: Tensor, logits: Tensor) -> None:
        """Adds one batch of predicted distributions."""
        if self.soft is not None:
            # On CUDA a float scatter is summed in no fixed order; a product with the one-hot labels is reproducible.
            one_hot = torch.nn.functional.one_hot(labels, self.num_classes).to(torch.float64)
            self.soft += one_hot.T @ logits.detach().to(torch.float64).softmax(dim=1)


class MinimaxStep:
    """Finds adversarial images, then descends the method's loss on them, with one optimizer step.

    Args:
        model: takes images in [0, 1]; stays in train mode.
        optimizer: over the model's parameters.
        method: the composition of parts.
        threat: radius, step size and number of steps of the training attack.
        clean_pass: train-mode forwards on the clean batch after the step, or before and after it; see `Recipe.clean_pass`.
        precision: of the attack's passes, see `Recipe.precision`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        method: Method,
        threat: Threat,
        *,
        clean_pass: CleanPass,
        precision: Precision = "tf32",
    ) -> None:
        self.model, self.optimizer, self.method, self.threat = model, optimizer, method, threat
        self.clean_pass, self.attacked = clean_pass, attacked(model, precision)

    def __call__(
        self,
        images: Float[Tensor, "batch channel height width"],
        labels: Int[Tensor, " batch"],
        policy: Policy,
        tally: EpochTally,
        *,
        number: int,
        epoch: int,
        attack_stream: torch.Generator,
        target_stream: torch.Generator,
    ) -> None:
        """Trains on one batch and counts its predictions; `number` is the batch's place in the epoch."""
        objective, model = self.method.objective, self.model
        epsilon = policy.epsilon[labels]
        batch = Batch(
            images=images,
            labels=labels,
            targets=None if policy.targets is None else draw(policy.targets, labels, target_stream),
            epsilon=epsilon,
            step_size=self.method.margin.steps(epsilon, self.threat),
            num_steps=self.threat.num_steps,
            generator=attack_stream,
            epoch=epoch,
        )
        trace = objective.attack(self.attacked, batch)
        terms = objective.terms(model, batch, trace)
        loss = policy.coefficients.combine(terms, labels)
        if self.clean_pass == "before_and_after":
            with torch.no_grad():
                model(images)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        tally.losses[number] = loss.detach()
        tally.count(tally.robust if objective.has_robust_term else tally.clean, labels, terms.logits)
        tally.count_soft(labels, terms.logits)
        if self.clean_pass != "none":
            with torch.no_grad():
                tally.count(tally.clean, labels, model(images))
