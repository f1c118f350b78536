"""Networks of timm beside those of RobustBench: images of any size, with random weights or those of a file."""

import shutil
from pathlib import Path

import pytest
import torch
from fairat.errors import UserError
from fairat.models import build_model
from fairat.settings.architectures import TimmModel
from fairat.settings.presentation import Published
from pydantic import ValidationError
from torch import nn

TRANSFORMER = "vit_tiny_patch16_224"
CONVOLUTIONAL = "resnet10t"


def built(settings: TimmModel, num_classes: int = 3, channels: int = 3) -> nn.Module:
    return build_model(settings, num_classes=num_classes, channels=channels, mean=None, std=None).eval()


@pytest.mark.parametrize(("name", "size"), [(TRANSFORMER, 32), (CONVOLUTIONAL, 48)])
def test_images_are_resized_and_normalized_inside_and_their_gradient_has_their_own_shape(name: str, size: int) -> None:
    torch.manual_seed(0)
    model = built(TimmModel(name=name, size=size))
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    seen: list[torch.Tensor] = []
    model.get_submodule("network.network").register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    logits = model(images)
    assert logits.shape == (2, 3)
    (gradient,) = torch.autograd.grad(logits.sum(), images)
    assert gradient.shape == images.shape
    assert bool((gradient != 0).any())
    assert seen[0].shape == (2, 3, size, size)
    assert seen[0].min() < 0


def test_without_a_size_images_have_the_one_that_the_network_is_made_for() -> None:
    assert built(TimmModel(name=TRANSFORMER)).get_submodule("network.resizing").side == 224


def test_a_file_gives_all_weights_and_decides_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = built(TimmModel(name=CONVOLUTIONAL))
    torch.save({"state_dict": theirs.get_submodule("network.network").state_dict()}, tmp_path / "one.pth")
    shutil.copyfile(tmp_path / "one.pth", tmp_path / "two.pth")
    one, two = (TimmModel(name=CONVOLUTIONAL, checkpoint=tmp_path / f"{name}.pth") for name in ("one", "two"))
    ours, images = built(one), torch.rand(1, 3, 16, 16)
    assert torch.equal(ours(images), theirs(images))
    assert one.decisive() == two.decisive()
    assert str(tmp_path) not in str(one.decisive())
    torch.save({"state_dict": built(TimmModel(name=CONVOLUTIONAL)).state_dict()}, tmp_path / "two.pth")
    assert one.decisive() != two.decisive()


def test_weights_of_another_number_of_classes_are_refused(tmp_path: Path) -> None:
    torch.save(
        built(TimmModel(name=CONVOLUTIONAL), num_classes=5).get_submodule("network.network").state_dict(),
        tmp_path / "w.pth",
    )
    with pytest.raises(
        UserError, match=r"does not hold the weights of timm's resnet10t for this data: size mismatch for fc"
    ):
        built(TimmModel(name=CONVOLUTIONAL, checkpoint=tmp_path / "w.pth"))


def test_an_unknown_name_and_gray_images_are_refused() -> None:
    with pytest.raises(UserError, match=r"timm has no network 'resnet10x'; names near it: .*resnet10t"):
        built(TimmModel(name="resnet10x"))
    with pytest.raises(UserError, match=r"takes images in color, but the data has 1 channel\. Choose another network"):
        built(TimmModel(name=CONVOLUTIONAL), channels=1)


def test_a_published_network_without_weights_is_refused() -> None:
    with pytest.raises(ValidationError, match="names no weights; give the file that holds them as `checkpoint`"):
        Published(label="Mine", architecture=TimmModel(name=CONVOLUTIONAL))
