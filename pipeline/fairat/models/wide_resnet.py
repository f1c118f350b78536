"""WideResNet-28-10 (Zagoruyko and Komodakis 2016), without dropout and initialized as in TRADES."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fairat.models.preact_resnet import conv3x3, stage
from fairat.settings.architectures import Wrn28x10


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks behind a stem of 16 channels.

    Args:
        num_classes: width of the logits.
        channels: of the images.
        depth: 6 n + 4 for n blocks a stage.
        widen: multiplies the widths 16, 32, 64 of the stages.
    """

    def __init__(self, num_classes: int, channels: int, depth: int, widen: int) -> None:
        super().__init__()
        blocks, width = (depth - 4) // 6, 16 * widen
        self.conv1 = conv3x3(channels, 16)
        self.block1 = stage(16, width, stride=1, blocks=blocks)
        self.block2 = stage(width, 2 * width, stride=2, blocks=blocks)
        self.block3 = stage(2 * width, 4 * width, stride=2, blocks=blocks)
        self.bn1 = nn.BatchNorm2d(4 * width)
        self.fc = nn.Linear(4 * width, num_classes)
        # Convolutions N(0, 2 / (k k out)), batch norm (1, 0) as by default, no bias in the classifier (TRADES).
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Normalized images to logits; any height and width."""
        features = self.block3(self.block2(self.block1(self.conv1(images))))
        features = F.relu(self.bn1(features), inplace=True)
        return self.fc(features.mean(dim=(2, 3)))


def build(settings: Wrn28x10, *, num_classes: int, channels: int) -> WideResNet:
    """The network with the initialization of the TRADES family."""
    return WideResNet(num_classes, channels, settings.depth, settings.widen)
