import argparse
import sys
from pathlib import Path

import pytest
import torch
from fairat.errors import UserError
from fairat.models import build_model
from fairat.settings.architectures import XcitS12
from torch import Tensor, nn

from tests.models.toys import CIFAR10_STATISTICS, write_halves


def without_memory(num_classes: int) -> nn.Module:
    with torch.device("meta"):
        return build_model(XcitS12(), num_classes=num_classes, channels=3, mean=None, std=None)


@pytest.mark.parametrize(("num_classes", "parameters"), [(10, 25_872_154), (100, 25_906_804)])
def test_parameters_and_batch_norms_are_as_many_as_specified(num_classes: int, parameters: int) -> None:
    """AF-29."""
    model = without_memory(num_classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 16


@pytest.mark.parametrize(("size", "channels", "tokens"), [(32, 3, 64), (8, 1, 4)])
def test_patches_of_four_pixels_become_tokens(size: int, channels: int, tokens: int) -> None:
    """AF-29."""
    model = build_model(XcitS12(), num_classes=10, channels=channels, mean=None, std=None)
    seen = []
    model.get_submodule("network.patch_embed").register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        assert model(torch.rand(2, channels, size, size)).shape == (2, 10)
    assert seen[0][0].shape == (2, tokens, 384)


def test_branches_are_dropped_with_the_given_probability() -> None:
    with torch.device("meta"):
        model = build_model(XcitS12(drop_path=0.25), num_classes=2, channels=3, mean=None, std=None)
    drops = [module for module in model.modules() if type(module).__name__ == "DropPath"]
    assert {module.drop_prob for module in drops} == {0.25}


def test_training_starts_from_the_checkpoint_with_a_fresh_head(tmp_path: Path) -> None:
    path = tmp_path / "xcit.pth.tar"
    write_halves(
        path, without_memory(1000).get_submodule("network"), prefix="module.", args=argparse.Namespace(lr=1e-4)
    )
    model = build_model(XcitS12(checkpoint=path), num_classes=10, channels=3, **CIFAR10_STATISTICS)
    state: dict[str, Tensor] = model.get_submodule("network").state_dict()
    head = {name: state.pop(name) for name in ("head.weight", "head.bias")}
    assert all(bool((value == 0.5).all()) for value in state.values() if value.is_floating_point())
    assert head["head.weight"].shape == (10, 384)
    assert not (head["head.weight"] == 0.5).any()
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    model.requires_grad_(False)
    assert model(images).requires_grad


def test_weights_of_ones_own_need_no_start(tmp_path: Path) -> None:
    absent = XcitS12(checkpoint=tmp_path / "absent.pth")
    with torch.device("meta"):
        build_model(absent, num_classes=2, channels=3, mean=None, std=None, pretrained=False)
        with pytest.raises(UserError) as caught:
            build_model(absent, num_classes=2, channels=3, mean=None, std=None)
    assert str(caught.value) == (
        f"There is no file {tmp_path / 'absent.pth'}. Put the checkpoint there, or correct its path."
    )


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with torch.device("meta"), pytest.raises(UserError) as caught:
        build_model(XcitS12(checkpoint=path), num_classes=2, channels=3, mean=None, std=None)
    assert str(caught.value) == (
        f"{path} does not hold an XCiT-S12 with patch 16 for color images; it differs in blocks.0.attn.proj.bias. "
        "Name the authors' file for xcit_small_12_p16_224 in architecture.checkpoint, or leave it out to start untrained."
    )


def test_color_weights_are_refused_for_gray_images(tmp_path: Path) -> None:
    path = tmp_path / "xcit.pth"
    write_halves(path, without_memory(10).get_submodule("network"))
    with pytest.raises(UserError, match=r"size mismatch for patch_embed\.proj\.0\.0\.weight"):
        build_model(XcitS12(checkpoint=path), num_classes=10, channels=1, mean=None, std=None)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    page, tensor = tmp_path / "page.pth", tmp_path / "tensor.pth"
    page.write_text("<html>quota exceeded</html>")
    torch.save(torch.zeros(2), tensor)
    with torch.device("meta"):
        with pytest.raises(UserError) as unreadable:
            build_model(XcitS12(checkpoint=page), num_classes=2, channels=3, mean=None, std=None)
        with pytest.raises(UserError) as bare:
            build_model(XcitS12(checkpoint=tensor), num_classes=2, channels=3, mean=None, std=None)
    assert str(unreadable.value).startswith(f"{page} cannot be read as PyTorch weights (")
    assert str(unreadable.value).endswith("Download it again, or name another file.")
    assert str(bare.value) == (
        f"{tensor} cannot be read as PyTorch weights (it holds Tensor, not a dictionary of weights). Download it again, or "
        "name another file."
    )


def test_without_timm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm.models.xcit", None)
    with pytest.raises(UserError) as caught:
        build_model(XcitS12(), num_classes=2, channels=3, mean=None, std=None)
    assert str(caught.value) == (
        "The architecture xcit_s12 needs the package timm, which is not installed. "
        "Install the extra `zoo`: pip install -e '.[zoo]'."
    )
