"""The contracts of the parts that make a method, and their neutral choices.

A method is an objective, a target sampler, a margin, class weights, an averaging and a recipe. Parts are frozen schemas:
their fields are their settings, their methods pure functions of what they are given. A part that remembers reads the class
history; none keeps state of its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from jaxtyping import Float, Int
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fairat.attacks.pgd import BatchNormMode, Images, Start, attacking, initial_perturbation, pgd
from fairat.methods.history import ClassHistory
from fairat.methods.losses import cross_entropy
from fairat.settings.base import PixelDistance, Settings
from fairat.settings.recipe import CleanPass
from fairat.settings.threat import Threat

Vector = Float[Tensor, " batch"]


class Part(Settings, ABC):
    """What all parts share.

    A part's docstring says what it does, its equations between double dollars, its source, and its settings under
    `Attributes:`; docs/methods.md says the same of each method for readers.

    Attributes:
        kind: what params.yaml calls the part: a name in the table of this room, or else its place, my_module.MyPart.
    """

    kind: Any = ""

    def __init_subclass__(cls, **options: Any) -> None:
        # Also where it derives from a part that has a name: two parts never bear the same one.
        if "kind" not in cls.__annotations__:
            cls.__annotations__["kind"] = str
            cls.kind = f"{cls.__module__.removeprefix('fairat.methods.')}.{cls.__name__}"
        super().__init_subclass__(**options)

    @property
    def needs(self) -> frozenset[str]:
        """The fields of the class history this part reads; the trainer measures exactly the union."""
        return frozenset()

    @property
    def needs_start_record(self) -> bool:
        """Whether the validation record before the first epoch (e = -1) is needed."""
        return False

    def scaled(self, scale: float) -> Self:
        """The part with its epochs multiplied, for suites that train shorter (see `Recipe.scaled`)."""
        return self

    def cautions(self, epochs: int) -> list[str]:
        """What a training of that many epochs would do that its user hardly wants, a sentence each."""
        return []


class Controller(Settings):
    """The numbers of a policy that two parts of one method carry out, such as FRL's margin and class weights.

    They are stated once, with the margin; the class weights of the same method take them from there.
    """


def begins_too_late(kind: str, begin_epoch: int, epochs: int) -> list[str]:
    """The caution of a part that acts from `begin_epoch` on, if the training ends before."""
    if begin_epoch < epochs:
        return []
    return [
        f"{kind} would act from epoch {begin_epoch} on (counted from 0), but the training has only {epochs} epochs: it "
        "never acts. Lower its first epoch, or train longer"
    ]


class FollowsRobustAccuracy(Part):
    """A part that follows the robust accuracies of the training batches from an epoch on, such as CFA's two policies.

    Attributes:
        begin_epoch: first epoch with adapted values, counted from 0.
    """

    begin_epoch: NonNegativeInt

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"train.robust"})

    def scaled(self, scale: float) -> Self:
        return self.model_copy(update={"begin_epoch": round(self.begin_epoch * scale)})

    def cautions(self, epochs: int) -> list[str]:
        return begins_too_late(self.kind, self.begin_epoch, epochs)


@dataclass(frozen=True)
class Trace:
    """What an attack leaves behind for the loss: the adversarial images, and for some objectives more of its path.

    Attributes:
        adversarial: x'; of BAT the first wrong iterate.
        last_clean: BAT's last iterate before the first wrong one.
        attacked: the end of a TRADES attack that did not stop, for BAT's ablation.
        correct_checks: GAIRAT's kappa.
        last_checked: whether public code would have checked x' itself once more, in train mode (FAT as in CFA).
    """

    adversarial: Images
    last_clean: Images | None = None
    attacked: Images | None = None
    correct_checks: Int[Tensor, " batch"] | None = None
    last_checked: bool = False


@dataclass(frozen=True)
class Terms:
    """Unreduced losses of one batch: no objective reduces; class weights do.

    Attributes:
        clean: nat_i, or None if the objective has no clean term.
        robust: rob_i, or None if it has none.
        auxiliary: c_i * aux_i without the 1/B, or None.
        logits: f(x'), `batch class`: the predictions that train.robust counts.
    """

    clean: Vector | None
    robust: Vector | None
    logits: Float[Tensor, "batch class"]
    auxiliary: Vector | None = None


class Objective(Part):
    """Owns the inner problem (loss, direction, start, batch-norm mode, stopping) and the unreduced outer losses.

    Attributes:
        attack_bn: batch-norm mode inside the attack; None is the published mode of the objective.
        step_size: replaces the suite's training step size.
        num_steps: replaces the suite's number of training attack steps.

    `clean_pass` is the default of `Recipe.clean_pass`, with targets `targeted_clean_pass`.
    """

    attack_bn: BatchNormMode | None = None
    step_size: PixelDistance | None = None
    num_steps: PositiveInt | None = None

    has_clean_term: ClassVar[bool] = False
    has_robust_term: ClassVar[bool] = True
    accepts_targets: ClassVar[bool] = True
    clean_pass: ClassVar[CleanPass] = "after_step"
    targeted_clean_pass: ClassVar[CleanPass] = "after_step"

    @property
    def coefficients(self) -> tuple[float, float]:
        """The weights of the clean and the robust term under the policy `none`, without the 1/B."""
        return (0.0, 1.0)

    @abstractmethod
    def attack(self, model: nn.Module, batch: "Batch") -> Trace:
        """Finds the training images; the model comes back in train mode."""

    @abstractmethod
    def terms(self, model: nn.Module, batch: "Batch", trace: Trace) -> Terms:
        """The outer losses, by forwards in train mode."""


@dataclass(frozen=True)
class Batch:
    """One training batch with all that its attack needs.

    Attributes:
        images: augmented, in [0, 1].
        labels: true classes.
        targets: wrong classes to aim at, or None for an untargeted attack.
        epsilon: radius of each image.
        step_size: step of each image.
        num_steps: steps of the attack.
        generator: the stream of the attack's random numbers.
        epoch: the epoch the batch belongs to.
    """

    images: Images
    labels: Int[Tensor, " batch"]
    targets: Int[Tensor, " batch"] | None
    epsilon: Vector
    step_size: Vector
    num_steps: int
    generator: torch.Generator
    epoch: int


def ascend(
    model: nn.Module,
    batch: Batch,
    *,
    loss: Callable[[Tensor], Tensor],
    start: Start,
    batch_norm: BatchNormMode,
    direction: Literal[1, -1] = 1,
    **rules: Any,
) -> Images:
    """Runs the one PGD loop for an objective on a batch: parameters frozen, batch norm in the given mode."""
    with attacking(model, batch_norm):
        return pgd(
            model,
            batch.images,
            loss=loss,
            epsilon=batch.epsilon,
            step_size=batch.step_size,
            num_steps=batch.num_steps,
            start=initial_perturbation(start, batch.images, batch.epsilon, batch.generator),
            direction=direction,
            **rules,
        )


def entropy_ascent(
    model: nn.Module, batch: Batch, batch_norm: BatchNormMode, *, start: Start = "uniform", **rules: Any
) -> Images:
    """Ascends CE(x', y); with targets, descends CE(x', t). `rules` go to the loop (observer, stopping, jitter)."""
    aim, direction = (batch.labels, 1) if batch.targets is None else (batch.targets, -1)
    return ascend(
        model,
        batch,
        loss=lambda logits: cross_entropy(logits, aim),
        start=start,
        batch_norm=batch_norm,
        direction=direction,
        **rules,
    )


class Targets(Part):
    """Draws the wrong class that a targeted training attack aims at."""

    targeted: ClassVar[bool] = True

    @abstractmethod
    def table(self, history: ClassHistory) -> Float[Tensor, "class class"]:
        """Row y: the probability of every target class for images of class y, this epoch; zero at y; rows sum to 1."""


class Untargeted(Targets):
    """No targets: the attack leads away from the true class."""

    kind: Literal["untargeted"] = "untargeted"

    targeted: ClassVar[bool] = False

    def table(self, history: ClassHistory) -> Float[Tensor, "class class"]:
        """Never asked: an untargeted method draws nothing."""
        raise AssertionError("an untargeted method has no target table")


class Margin(Part):
    """Gives every class its radius, and every image its step."""

    @abstractmethod
    def factors(self, history: ClassHistory) -> Float[Tensor, " class"]:
        """Radius of each class in this epoch, in units of the suite's epsilon."""

    def steps(self, epsilon: Vector, threat: Threat) -> Vector:
        """Step of each image of a batch, given the images' radii."""
        return torch.full_like(epsilon, threat.step_size)


class ConstantMargin(Margin):
    """The same radius for every class."""

    kind: Literal["constant"] = "constant"

    def factors(self, history: ClassHistory) -> Float[Tensor, " class"]:
        return torch.ones(history.num_classes, dtype=torch.float64)


@dataclass(frozen=True)
class ClassCoefficients:
    """Per-class weights of the clean and robust terms in one epoch, and how a batch is normalized.

    Each term is the weighted sum of its losses over `images` (their number B) or over `weights` (the sum of its own weights
    in the batch: FRL), times its entry of `scales`.
    """

    clean: Float[Tensor, " class"]
    robust: Float[Tensor, " class"]
    over: Literal["images", "weights"] = "images"
    scales: tuple[float, float] = (1.0, 1.0)

    def to(self, device: torch.device, dtype: torch.dtype) -> "ClassCoefficients":
        """The same weights where the losses are."""
        return ClassCoefficients(self.clean.to(device, dtype), self.robust.to(device, dtype), self.over, self.scales)

    def combine(self, terms: Terms, labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """L = sum_i a_i nat_i + sum_i b_i rob_i + sum_i c_i aux_i."""
        total = terms.logits.new_zeros(())
        for loss, table, scale in zip((terms.clean, terms.robust), (self.clean, self.robust), self.scales, strict=True):
            if loss is not None:
                weight = table[labels]
                normalizer = weight.sum() if self.over == "weights" else len(labels)
                total = total + scale * (weight * loss).sum() / normalizer
        if terms.auxiliary is not None:
            total = total + terms.auxiliary.mean()
        return total


class ClassWeights(Part):
    """Weighs the clean and robust losses of every class."""

    needs_clean_term: ClassVar[bool] = False

    @abstractmethod
    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        """The weights of the coming epoch."""


class EqualWeights(ClassWeights):
    """The policy `none`: every class counts the same."""

    kind: Literal["none"] = "none"

    def coefficients(self, history: ClassHistory, objective: Objective) -> ClassCoefficients:
        clean, robust = objective.coefficients
        ones = torch.ones(history.num_classes, dtype=torch.float64)
        return ClassCoefficients(clean * ones, robust * ones)
