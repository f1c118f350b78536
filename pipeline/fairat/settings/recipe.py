"""The training recipe: optimizer, schedule, epochs, batches and augmentation; the sixth part of a method."""

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from fairat.settings.base import Real, Settings

Precision = Literal["float32", "tf32", "bfloat16"]
CleanPass = Literal["none", "after_step", "before_and_after"]


class Augmentation(Settings):
    """A random crop after padding, and a horizontal flip with probability one half; fresh for every image and epoch.

    Attributes:
        crop_padding: pixels added on every side before the crop; 0 for none.
        padding: `reflect` (CFA, FAIR-TAT, RO) or `zero` (TRADES, FRL, BAT, DAFA originals).
        flip: whether images may be flipped.
        rotation: largest angle of a random rotation about the center, in degrees.
        color_jitter: brightness, contrast and saturation are multiplied by random factors in [1 - j, 1 + j].
    """

    crop_padding: NonNegativeInt = 4
    padding: Literal["reflect", "zero"] = "reflect"
    flip: bool = True
    rotation: Annotated[Real, Field(ge=0, le=180)] = 0.0
    color_jitter: Annotated[Real, Field(ge=0, le=1)] = 0.0


class Sgd(Settings):
    """Stochastic gradient descent; weight decay acts on all parameters, batch norm and biases too.

    Attributes:
        momentum: share of the last step in the next.
        nesterov: whether it looks ahead (DAFA).
    """

    kind: Literal["sgd"] = "sgd"
    momentum: Real = 0.9
    nesterov: bool = False


class AdamW(Settings):
    """AdamW (Loshchilov and Hutter 2019); weight decay spares biases, norms, class token and position terms."""

    kind: Literal["adamw"] = "adamw"


class Drop(Settings):
    """From epoch `at` on (counted from 0), the learning rate is multiplied by `factor` of its first value."""

    at: NonNegativeFloat
    factor: PositiveFloat


class Steps(Settings):
    """The learning rate is constant but for drops.

    Attributes:
        drops: where it changes, in epochs of the recipe.
    """

    kind: Literal["steps"] = "steps"
    drops: tuple[Drop, ...] = (Drop(at=100, factor=0.1), Drop(at=150, factor=0.01))

    def rate(self, peak: float, epoch: int, epochs: int) -> float:
        """The learning rate of one epoch, counted from 0."""
        passed = [drop.factor for drop in self.drops if epoch >= drop.at]
        return peak * (passed[-1] if passed else 1.0)

    def scaled(self, scale: float) -> "Steps":
        """The schedule of a training whose epochs are multiplied."""
        return Steps(drops=tuple(Drop(at=drop.at * scale, factor=drop.factor) for drop in self.drops))


class Cosine(Settings):
    """Linear warm-up, half a cosine, and some epochs at the minimum (the XCiT recipe).

    As in timm's scheduler, the cosine counts from epoch 0, not from the end of the warm-up.

    Attributes:
        warmup_epochs: from `warmup_from`, exclusive of the epoch that first has the cosine's rate.
        warmup_from: the learning rate of epoch 0, if there is a warm-up.
        minimum: the last learning rate.
        cooldown_epochs: the last epochs of the recipe, all at the minimum.
    """

    kind: Literal["cosine"] = "cosine"
    warmup_epochs: NonNegativeFloat = 5
    warmup_from: Real = 1e-6
    minimum: Real = 5e-6
    cooldown_epochs: NonNegativeFloat = 2

    def rate(self, peak: float, epoch: int, epochs: int) -> float:
        """The learning rate of one epoch, counted from 0."""
        if epoch < self.warmup_epochs:
            return self.warmup_from + (peak - self.warmup_from) * epoch / self.warmup_epochs
        period = max(1.0, epochs - self.cooldown_epochs)
        return self.minimum + (peak - self.minimum) * (1 + math.cos(math.pi * min(1.0, epoch / period))) / 2

    def scaled(self, scale: float) -> "Cosine":
        """The schedule of a training whose epochs are multiplied."""
        epochs = {"warmup_epochs": self.warmup_epochs * scale, "cooldown_epochs": self.cooldown_epochs * scale}
        return self.model_copy(update=epochs)


class Recipe(Settings):
    """How a network is trained; the defaults are R200.

    Attributes:
        epochs: number of passes over the training images.
        batch_size: images in a batch; the last, smaller one is kept.
        learning_rate: the highest.
        learning_rate_batch: the batch size that `learning_rate` is meant for, where it grows with the square root of the
            batch size (the XCiT recipe); by default it does not depend on the batch size.
        schedule: of the learning rate over epochs.
        optimizer: what descends.
        weight_decay: see the optimizers.
        augmentation: of the training images.
        precision: of the multiplications in passes over training batches. `tf32` is what PyTorch does by itself, and so what
            published code did: convolutions in TF32 on CUDA devices that have it, all else in float32. `float32` is never
            TF32. `bfloat16` has it in the passes of the attack; the others, and so the weights, as `tf32`.
        clean_pass: train-mode forwards on the clean batch for its predictions' sake. They move the running batch-norm
            statistics towards clean images, and so trade robust for clean accuracy: `after_step` (CFA's code: 13.9 % of the
            statistics are then clean), `before_and_after` one more before the step (FAIR-TAT's driver: 25.5 %), or `none`;
            by default what the objective's published code does.
    """

    epochs: PositiveInt = 200
    batch_size: PositiveInt = 128
    learning_rate: Real = 0.1
    learning_rate_batch: PositiveInt | None = None
    schedule: Annotated[Steps | Cosine, Field(discriminator="kind")] = Steps()
    optimizer: Annotated[Sgd | AdamW, Field(discriminator="kind")] = Sgd()
    weight_decay: Real = 5e-4
    augmentation: Augmentation = Augmentation()
    precision: Precision = "tf32"
    clean_pass: CleanPass | None = None

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate, at this recipe's batch size."""
        scale = 1.0 if self.learning_rate_batch is None else math.sqrt(self.batch_size / self.learning_rate_batch)
        return self.learning_rate * scale

    def scaled(self, scale: float) -> "Recipe":
        """The recipe with all its epochs multiplied, for suites that train shorter; at least one epoch."""
        epochs = max(1, round(self.epochs * scale))
        return self.model_copy(update={"epochs": epochs, "schedule": self.schedule.scaled(scale)})

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of one epoch, counted from 0."""
        return self.schedule.rate(self.peak_learning_rate, epoch, self.epochs)
