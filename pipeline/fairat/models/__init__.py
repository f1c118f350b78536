"""The study's networks. Every model takes images in [0, 1]; normalization is its first layer."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from fairat.errors import UserError
from fairat.models import preact_resnet, resnet, timm_backbone, wide_resnet, xcit
from fairat.models.normalization import normalized
from fairat.models.pretrained import build_zoo_model, load_shipped, load_zoo_model
from fairat.settings.architectures import (
    Architecture,
    NetworkSettings,
    PreActResNet18,
    ResNet18,
    ShippedResNet18,
    TimmModel,
    Wrn28x10,
    XcitS12,
    ZooModel,
)

NETWORKS: dict[type[NetworkSettings], tuple[Callable[..., nn.Module], Callable[[nn.Module, Any], None] | None]] = {
    PreActResNet18: (preact_resnet.build, None),
    ResNet18: (resnet.build, None),
    Wrn28x10: (wide_resnet.build, None),
    XcitS12: (xcit.build, xcit.load_start),
    ZooModel: (build_zoo_model, load_zoo_model),
    ShippedResNet18: (resnet.build, load_shipped),
    TimmModel: (timm_backbone.build, timm_backbone.load_start),
}
"""Architecture -> what builds the network, and what loads the weights that it starts from, if there may be any."""


def build_model(
    architecture: Architecture,
    *,
    num_classes: int,
    channels: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    pretrained: bool = True,
) -> nn.Module:
    """A model from images `batch channel height width` in [0, 1] to logits `batch class`, on the CPU, in train mode.

    Its children are `normalization` (absent without statistics) and `network`. Initial weights come from torch's global
    random stream; seed it before.

    Args:
        architecture: which network, and its settings.
        num_classes: at least 2.
        channels: of the images.
        mean: per channel, in units of [0, 1] images, or None for no normalization. Ignored by published networks, which
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
    build, load_start = NETWORKS[type(architecture)]
    network = build(architecture, num_classes=num_classes, channels=channels)
    if load_start and pretrained and architecture.has_start:
        load_start(network, architecture)
    if architecture.normalizes_itself:
        mean = std = None
    return normalized(network, mean, std, channels=channels)
