"""The training recipe: optimiser, schedule, epochs, batches and augmentation (spec 1.5); the sixth part of a method."""

from typing import TYPE_CHECKING, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from pipeline.settings import Real, Settings

if TYPE_CHECKING:
    import torch


class Augmentation(Settings):
    """A random crop after padding, and a horizontal flip with probability one half; fresh for every image and epoch.

    Attributes:
        crop_padding: pixels added on every side before the crop; 0 for none.
        padding: `reflect` (CFA, FAIR-TAT, RO) or `zero` (TRADES, FRL, BAT, DAFA originals).
        flip: whether images may be flipped.
    """

    crop_padding: NonNegativeInt = 4
    padding: Literal["reflect", "zero"] = "reflect"
    flip: bool = True


class Drop(Settings):
    """From epoch `at` on (counted from 0), the learning rate is multiplied by `factor` of its first value."""

    at: NonNegativeFloat
    factor: PositiveFloat


class Recipe(Settings):
    """How a network is trained; the defaults are R200 (spec 1.5).

    Attributes:
        epochs: number of passes over the training images.
        batch_size: images in a batch; the last, smaller one is kept.
        learning_rate: of the first epoch.
        drops: where the learning rate changes, in epochs of this recipe.
        momentum: of SGD.
        nesterov: whether SGD looks ahead (DAFA).
        weight_decay: on all parameters, batch norm and biases too.
        augmentation: of the training images.
        clean_pass: one more train-mode forward on the clean batch after the step, which gives the clean training statistics
            and moves the batch-norm statistics (spec 1.3); by default what the objective's published code does.
    """

    epochs: PositiveInt = 200
    batch_size: PositiveInt = 128
    learning_rate: Real = 0.1
    drops: tuple[Drop, ...] = (Drop(at=100, factor=0.1), Drop(at=150, factor=0.01))
    momentum: Real = 0.9
    nesterov: bool = False
    weight_decay: Real = 5e-4
    augmentation: Augmentation = Augmentation()
    clean_pass: Literal["after_step", "none"] | None = None

    def scaled(self, scale: float) -> "Recipe":
        """The recipe with all its epochs multiplied, for suites that train shorter; at least one epoch."""
        drops = tuple(Drop(at=drop.at * scale, factor=drop.factor) for drop in self.drops)
        return self.model_copy(update={"epochs": max(1, round(self.epochs * scale)), "drops": drops})

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of one epoch, counted from 0."""
        passed = [drop.factor for drop in self.drops if epoch >= drop.at]
        return self.learning_rate * (passed[-1] if passed else 1.0)

    def optimizer(self, parameters: "list[torch.nn.Parameter]") -> "torch.optim.Optimizer":
        """SGD over all parameters."""
        import torch

        return torch.optim.SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )
