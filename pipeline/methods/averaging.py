"""Which weights are kept: the last ones, their average over epochs (EMA), or over fair epochs only (FAWA); spec 3.6, 3.7."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeInt
from torch import Tensor

from pipeline.settings import Real, Settings

State = dict[str, Tensor]

WEIGHT_SETS = ("last", "ema", "fawa", "best")
"""Every weight set that one training gives: after the last epoch, the two averages, and the best epoch by validation."""


class Averaging(Settings):
    r"""Every training keeps averages of its weights beside the last ones, at no cost to the last ones.

    EMA averages parameters and batch-norm statistics once per epoch; FAWA does so only after epochs in which the worst class
    of the live model reaches `threshold` on the validation set under PGD-10. The first use copies; an average that never
    began is absent.

    $$\bar{\theta} \leftarrow d \, \bar{\theta} + (1 - d) \, \theta$$

    Source: Wei et al., CFA: Class-wise Calibrated Fair Adversarial Training, CVPR 2023, arXiv 2303.14460 (spec 3.6 and 3.7).

    Attributes:
        decay: $d$; 0.85 in the newest FAIR-TAT driver, 0.88 in CFA (spec A10).
        threshold: FAWA averages an epoch only if the worst class of the live model reaches it on the validation set under
            `probe`; 0.20 [FAIR-TAT], 0.24 by CFA's default. On CIFAR-100 0.20 can never open; there 0 (spec A12).
        probe: the attack that FAWA's gate looks at, the same for all methods; TRADES' own where the newest driver's dead
            branches would take it (spec 3.7).
        start_epoch: first epoch that is averaged; by default a quarter of the epochs (the 50th of 200; spec A11).
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


@torch.no_grad()
def averaged(average: State | None, live: Mapping[str, Tensor], decay: float) -> State:
    """One update of an average; the first use copies. Integer buffers are the live model's (spec 3.6, AF-21)."""
    if average is None:
        return {name: value.detach().clone() for name, value in live.items()}
    return {
        name: torch.lerp(value.detach(), average[name], decay) if value.is_floating_point() else value.detach().clone()
        for name, value in live.items()
    }


@dataclass
class Averages:
    """The averaged weight sets of one training, and the best epoch by validation.

    Reads the live state and the validation record, writes nothing back: a run with averages and one without have the same
    live weights (AF-39).
    """

    settings: Averaging
    epochs: int
    sets: dict[str, State] = field(default_factory=dict)
    best_score: float = -1.0

    def update(self, epoch: int, live: Mapping[str, Tensor], *, worst_class: float, overall: float) -> None:
        """Takes in one finished epoch: `worst_class` and `overall` are robust validation accuracies of the live model."""
        if overall > self.best_score:
            self.best_score = overall
            self.sets["best"] = averaged(None, live, 0.0)
        if epoch < self.settings.first_epoch(self.epochs):
            return
        self.sets["ema"] = averaged(self.sets.get("ema"), live, self.settings.decay)
        if worst_class >= self.settings.threshold:
            self.sets["fawa"] = averaged(self.sets.get("fawa"), live, self.settings.decay)

    def reason_for_absence(self, name: str) -> str:
        """Why a weight set is not there (an average that never began is absent, not random: spec 3.6, 3.7)."""
        first = self.settings.first_epoch(self.epochs)
        if first >= self.epochs:
            return f"averaging begins at epoch {first}, after the last of {self.epochs} epochs"
        if name == "fawa":
            return f"FAWA's gate never opened: no epoch's worst class reached {self.settings.threshold:g} on validation"
        return "no epoch finished"
