"""The network that pyautoattack ships, against the network file beside it."""

import importlib
import runpy
from pathlib import Path

import pytest
import torch
from fairat.errors import UserError
from fairat.models import build_model
from fairat.settings.architectures import ShippedResNet18


def test_the_shipped_network_is_a_resnet18_without_normalization() -> None:
    model = build_model(ShippedResNet18(), num_classes=10, channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    assert [name for name, _ in model.named_children()] == ["network"]
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_173_962


def test_the_shipped_network_computes_what_its_authors_network_computes() -> None:
    package = importlib.import_module("pyautoattack").__file__
    source = Path(str(package)).parent / "examples" / "resnet.py"
    authors = runpy.run_path(str(source))["ResNet18"]()
    authors.load_state_dict(torch.load(source.parent / "model_test.pt", map_location="cpu", weights_only=True))
    ours = build_model(ShippedResNet18(), num_classes=10, channels=3, mean=None, std=None)
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), authors.eval()(images), atol=1e-4, rtol=1e-4)


def test_without_its_weights_the_shipped_network_is_as_initialized() -> None:
    weights = [
        build_model(ShippedResNet18(), num_classes=10, channels=3, mean=None, std=None, pretrained=pretrained)
        .get_parameter("network.bn1.bias")
        .detach()
        for pretrained in (True, False)
    ]
    assert weights[0].abs().sum() > 0
    assert torch.equal(weights[1], torch.zeros(64))


@pytest.mark.parametrize(
    ("num_classes", "channels", "given"), [(5, 1, "5 classes and 1 channel"), (10, 4, "10 classes and 4 channels")]
)
def test_other_images_than_it_was_trained_on_are_refused(num_classes: int, channels: int, given: str) -> None:
    with pytest.raises(UserError) as caught:
        build_model(ShippedResNet18(), num_classes=num_classes, channels=channels, mean=None, std=None)
    assert str(caught.value) == (
        "The network that pyautoattack ships was trained on cifar10, 10 classes of images with 3 channels; the data has "
        f"{given}. Choose another architecture for this suite."
    )
