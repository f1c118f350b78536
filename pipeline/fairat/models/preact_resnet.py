"""PreActResNet-18 (He et al. 2016b), as CFA, FAIR-TAT and RO train it.

Parameters are named as in the authors' files, so that their checkpoints load.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fairat.models.shortcut import Shortcut
from fairat.settings.architectures import PreActResNet18


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution with padding 1 and without bias."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class PreActBlock(nn.Module):
    """h = ReLU(BN(x)); x' = conv(ReLU(BN(conv(h)))) + skip.

    The skip is a 1x1 convolution of h where the stride is not 1 or the width changes, and x itself elsewhere.

    Args:
        inputs: channels of x.
        outputs: channels of x'.
        stride: of the first convolution and of the skip.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Sequential(Shortcut(inputs, outputs, stride))

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """One residual block."""
        # In place on the outputs of batch norm only: nobody else holds them, and x stays whole for the skip.
        activated = F.relu(self.bn1(x), inplace=True)
        skip = x if self.shortcut is None else self.shortcut(activated)
        return self.conv2(F.relu(self.bn2(self.conv1(activated)), inplace=True)) + skip


def stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    """Residual blocks in a row; the first one changes width and resolution."""
    first = PreActBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(PreActBlock(outputs, outputs, 1) for _ in range(blocks - 1)))


class PreActResNet(nn.Module):
    """Four stages of two pre-activation blocks behind a stem without batch norm.

    Args:
        num_classes: width of the logits.
        channels: of the images.
        width: of the first stage; it doubles with every stage.
        final_norm: whether batch norm and ReLU stand before the pooling.
    """

    def __init__(self, num_classes: int, channels: int, width: int, final_norm: bool) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width)
        self.layer1 = stage(width, width, stride=1, blocks=2)
        self.layer2 = stage(width, 2 * width, stride=2, blocks=2)
        self.layer3 = stage(2 * width, 4 * width, stride=2, blocks=2)
        self.layer4 = stage(4 * width, 8 * width, stride=2, blocks=2)
        self.bn = nn.BatchNorm2d(8 * width) if final_norm else None
        self.linear = nn.Linear(8 * width, num_classes)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Normalized images to logits; any height and width."""
        features = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(images)))))
        if self.bn is not None:
            features = F.relu(self.bn(features), inplace=True)
        # Global, not a fixed 4x4 window: smaller images work, and at 32x32 it is the same.
        return self.linear(features.mean(dim=(2, 3)))


def build(settings: PreActResNet18, *, num_classes: int, channels: int) -> PreActResNet:
    """The network with PyTorch's default initialization."""
    return PreActResNet(num_classes, channels, settings.width, settings.final_norm)
