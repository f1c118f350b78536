"""The one trained network that every installation has: the example of the package pyautoattack."""

from importlib.util import find_spec
from pathlib import Path

from torch import nn

from fairat.errors import UserError
from fairat.models.foreign import read_state
from fairat.models.resnet import ResNet
from fairat.settings.architectures import ShippedResNet18


def build(settings: ShippedResNet18, *, num_classes: int, channels: int) -> ResNet:
    """The untrained network; it takes images in [0, 1] as they are.

    Raises:
        UserError: the images or classes are not those of CIFAR-10.
    """
    if (num_classes, channels) != (10, 3):
        raise UserError(
            "The network that pyautoattack ships was trained on cifar10, 10 classes of images with 3 channels; the data "
            f"has {num_classes} classes and {channels} channel{'s' * (channels != 1)}. "
            "Choose another architecture for this suite."
        )
    return ResNet(num_classes, channels, width=64)


def load_start(network: nn.Module, settings: ShippedResNet18) -> None:
    """Loads the weights from the package's own directory."""
    package = find_spec("pyautoattack")
    assert package is not None and package.origin is not None
    network.load_state_dict(read_state(Path(package.origin).parent / "examples" / "model_test.pt"))
