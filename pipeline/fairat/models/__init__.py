"""The study's networks. Every model takes images in [0, 1]; normalisation is its first layer."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from fairat.errors import UserError
from fairat.settings.architectures import CIFAR10_STATISTICS, CIFAR100_STATISTICS, Architecture, ChannelStatistics

if TYPE_CHECKING:
    import torch

__all__ = ["CIFAR10_STATISTICS", "CIFAR100_STATISTICS", "Architecture", "ChannelStatistics", "build_model"]


def build_model(
    architecture: Architecture,
    *,
    num_classes: int,
    channels: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    pretrained: bool = True,
) -> "torch.nn.Module":
    """A model from images `batch channel height width` in [0, 1] to logits `batch class`, on the CPU, in train mode.

    Its children are `normalisation` (absent without statistics) and `network`. Initial weights come from torch's global
    random stream; seed it before.

    Args:
        architecture: which network, and its settings.
        num_classes: at least 2.
        channels: of the images.
        mean: per channel, in units of [0, 1] images, or None for no normalisation. Ignored by published networks, which
            bring the statistics they were trained with.
        std: per channel, positive; None exactly where `mean` is.
        pretrained: whether to load the weights that the architecture starts from, if it names any. Say False where
            weights of one's own follow, so that the file need not be there.

    Raises:
        UserError: fewer than two classes, statistics that do not fit the images, or a start that cannot be loaded.
    """
    if num_classes < 2:
        raise UserError(
            f"The data has {num_classes} class{'es' * (num_classes != 1)}, but a classifier needs at least two. "
            "Give every class a folder of its own under train/ and test/."
        )
    # Imported by name: a stage then loads, and its fingerprint holds, only the architecture it uses.
    room = import_module(architecture.module)
    network = room.build(architecture, num_classes=num_classes, channels=channels)
    if pretrained and architecture.has_start:
        room.load_start(network, architecture)
    if architecture.normalises_itself:
        mean = std = None
    return import_module("fairat.models.normalization").normalised(network, mean, std, channels=channels)
