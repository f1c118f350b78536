"""Small closed-form models and histories that the acceptance facts use."""

from collections.abc import Sequence
from typing import Any

import torch
from fairat.data.canonical import Manifest, Split, channel_statistics
from fairat.methods.history import ClassHistory, EpochRecord
from fairat.progress import Listener
from fairat.settings.architectures import PreActResNet18
from fairat.training.record import RunRecord
from torch import Tensor, nn

UNIT = 1 / 255


class IdentityModel(nn.Module):
    """f(x) = 10 x for x in R^3, K = 3."""

    def forward(self, images: Tensor) -> Tensor:
        return 10 * images.flatten(1)


class Ear(Listener):
    """Remembers every sentence that it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def pixels(*values: float) -> Tensor:
    """One image of float64 pixels, `1 n 1 1`."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1, 1)


def history_of(*confusions: Sequence[Sequence[int]], name: str = "train.robust") -> ClassHistory:
    """A history with one record per confusion matrix."""
    matrices = [torch.tensor(confusion) for confusion in confusions]
    records = tuple(EpochRecord(epoch, {name: matrix}) for epoch, matrix in enumerate(matrices))
    return ClassHistory(len(matrices[0]), records)


def run_record(**fields: Any) -> RunRecord:
    """What a run remembers about itself: the fields given, and something for each of the rest."""
    rest = {"suite": "tiny", "method": "at", "seed": 0, "class_names": ("cat", "dog"), "image_shape": (1, 6, 6)}
    rest |= {"architecture": PreActResNet18(), "statistics": None, "settings": {}, "weights": {}}
    rest |= {"fingerprint": "", "data": "", "commit": "", "versions": {}, "device": "cpu", "epochs": 1, "seconds": 1.0}
    return RunRecord(**(rest | fields))


def manifest_of(test: Split, **others: Split) -> Manifest:
    """Of a data directory with this test set, and other splits."""
    splits = {"test": test, **others}
    mean, std = channel_statistics(test.images)
    channels, height, width = test.images.shape[1:]
    return Manifest(
        dataset="tiny",
        source={},
        class_names=test.class_names,
        image_shape=(channels, height, width),
        counts={name: split.counts for name, split in splits.items()},
        sha256={name: split.sha256 for name, split in splits.items()},
        mean=mean,
        std=std,
    )
