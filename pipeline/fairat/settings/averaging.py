"""Which weights are kept: the last ones, their average over epochs (EMA), or over fair epochs only (FAWA)."""

import math
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from fairat.settings.base import Real, Settings

WeightSet = Literal["last", "ema", "fawa", "best"]
WEIGHT_SETS = ("last", "ema", "fawa", "best")
"""Every weight set that one training gives: after the last epoch, the two averages, and the best epoch by validation."""


class Averaging(Settings):
    r"""Every training keeps averages of its weights beside the last ones, at no cost to the last ones.

    EMA averages parameters and batch-norm statistics once per epoch; FAWA does so only after epochs in which the worst class
    of the live model reaches `threshold` on the validation set under PGD-10. The first use copies; an average that never
    began is absent.

    $$\bar{\theta} \leftarrow d \, \bar{\theta} + (1 - d) \, \theta$$

    Source: Wei et al., CFA: Class-wise Calibrated Fair Adversarial Training, CVPR 2023, arXiv 2303.14460.

    Attributes:
        decay: $d$; 0.85 in the newest FAIR-TAT driver, 0.88 in CFA (deviations, A10).
        threshold: FAWA averages an epoch only if the worst class of the live model reaches it on the validation set under
            `probe`; 0.20 [FAIR-TAT], 0.24 by CFA's default. On CIFAR-100 0.20 can never open; there 0 (deviations, A12).
        probe: the attack that FAWA's gate looks at, the same for all methods; TRADES' own where the newest driver's dead
            branches would take it.
        start_epoch: first epoch that is averaged; by default a quarter of all, the 50th of 200 (deviations, A11).
    """

    decay: Annotated[Real, Field(ge=0, le=1)] = 0.85
    threshold: Annotated[Real, Field(ge=0, le=1)] = 0.20
    probe: Literal["pgd10", "pgd20", "trades10"] = "pgd10"
    start_epoch: NonNegativeInt | None = None

    @property
    def gate(self) -> str:
        """The field of the class history that FAWA's gate reads."""
        return f"val.{self.probe}"

    def first_epoch(self, epochs: int) -> int:
        """The first averaged epoch of a training of that many epochs, counted from 0."""
        return max(math.ceil(epochs / 4) - 1, 0) if self.start_epoch is None else self.start_epoch
