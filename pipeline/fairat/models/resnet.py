"""ResNet-18 for small images (He et al. 2016a), as BAT, WAT and DAFA train it.

Parameters are named as in the authors' files, so that their checkpoints load.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fairat.models.shortcut import Shortcut
from fairat.settings.architectures import ResNet18, ShippedResNet18


class BasicBlock(nn.Module):
    """x' = ReLU(BN(conv(ReLU(BN(conv(x))))) + skip).

    The skip is a 1x1 convolution and batch norm where the shape changes, and x elsewhere.

    Args:
        inputs: channels of x.
        outputs: channels of x'.
        stride: of the first convolution and of the skip.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut.append(Shortcut(inputs, outputs, stride))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """One residual block."""
        # In place on fresh tensors only (outputs of batch norm, the sum): x is still needed by the skip.
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """Four stages of two basic blocks behind a stem without pooling.

    Args:
        num_classes: width of the logits.
        channels: of the images.
        width: of the first stage; it doubles with every stage.
    """

    def __init__(self, num_classes: int, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width, 1))
        self.linear = nn.Linear(8 * width, num_classes)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Normalized images to logits; any height and width."""
        features = F.relu(self.bn1(self.conv1(images)), inplace=True)
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        return self.linear(features.mean(dim=(2, 3)))


def build(settings: ResNet18 | ShippedResNet18, *, num_classes: int, channels: int) -> ResNet:
    """The network with PyTorch's default initialization."""
    return ResNet(num_classes, channels, settings.width)
