"""Which weights are kept: the last ones, their average over epochs (EMA), or over fair epochs only (FAWA)"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fairat.settings.averaging import Averaging

State = dict[str, Tensor]


@torch.no_grad()
def averaged(average: State | None, live: Mapping[str, Tensor], decay: float) -> State:
    """One update of an average; the first use copies. Integer buffers are the live model's."""
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
    live weights.
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
        """Why a weight set is not there (an average that never began is absent, not random)."""
        first = self.settings.first_epoch(self.epochs)
        if first >= self.epochs:
            return f"averaging begins at epoch {first}, after the last of {self.epochs} epochs"
        if name == "fawa":
            return f"FAWA's gate never opened: no epoch's worst class reached {self.settings.threshold:g} on validation"
        return "no epoch finished"
