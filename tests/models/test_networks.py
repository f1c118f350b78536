"""The convolutional networks: counts worked out by hand, and independent forwards on the same weights."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from fairat.errors import UserError
from fairat.models import NETWORKS, build_model
from fairat.models.shortcut import Shortcut
from fairat.settings.architectures import Architecture, PreActResNet18, ResNet18, Wrn28x10
from torch import Tensor, nn

from tests.models.toys import CIFAR10_STATISTICS

Weights = dict[str, Tensor]

COUNTS = [
    (PreActResNet18(), 17, 20, {2: 11_168_066, 10: 11_172_170, 100: 11_218_340}),
    (PreActResNet18(final_norm=False), 16, 20, {2: 11_167_042, 10: 11_171_146, 100: 11_217_316}),
    (ResNet18(), 20, 20, {2: 11_169_858, 10: 11_173_962, 100: 11_220_132}),
    (Wrn28x10(), 25, 28, {2: 36_474_066, 10: 36_479_194, 100: 36_536_884}),
]
SMALL = [PreActResNet18(width=4), PreActResNet18(width=4, final_norm=False), ResNet18(width=4), Wrn28x10(widen=1)]


def published(architecture: Architecture, num_classes: int) -> nn.Module:
    # Without memory, except where initialization draws normal numbers: on the meta device that imports a compiler.
    with torch.device("cpu" if isinstance(architecture, Wrn28x10) else "meta"):
        return build_model(architecture, num_classes=num_classes, channels=3, **CIFAR10_STATISTICS)


def small_network(architecture: Architecture, *, channels: int = 3) -> nn.Module:
    """A network in float64 whose batch norms are far from neutral."""
    torch.manual_seed(0)
    model = build_model(architecture, num_classes=5, channels=channels, mean=None, std=None).double()
    for name, value in model.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif value.ndim == 1 and value.is_floating_point():
            value.normal_(1 if name.endswith("weight") else 0, 0.3)
    return model


def count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def batch_norm(weights: Weights, name: str, x: Tensor, training: bool) -> Tensor:
    mean, var = weights[f"{name}.running_mean"].clone(), weights[f"{name}.running_var"].clone()
    return F.batch_norm(x, mean, var, weights[f"{name}.weight"], weights[f"{name}.bias"], training)


def preact_reference(weights: Weights, images: Tensor, training: bool, stages: list[str], head: str) -> Tensor:
    x = F.conv2d(images, weights["conv1.weight"], padding=1)
    for stage in stages:
        block = 0
        while f"{stage}.{block}.conv1.weight" in weights:
            here, stride = f"{stage}.{block}", 2 if block == 0 and stage != stages[0] else 1
            h = batch_norm(weights, f"{here}.bn1", x, training).relu()
            out = F.conv2d(h, weights[f"{here}.conv1.weight"], stride=stride, padding=1)
            out = batch_norm(weights, f"{here}.bn2", out, training).relu()
            out = F.conv2d(out, weights[f"{here}.conv2.weight"], padding=1)
            shortcut = weights.get(f"{here}.shortcut.0.weight")
            x = out + (x if shortcut is None else F.conv2d(h, shortcut, stride=stride))
            block += 1
    if f"{head}.weight" in weights:
        x = batch_norm(weights, head, x, training).relu()
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def preact_resnet_reference(weights: Weights, images: Tensor, training: bool) -> Tensor:
    features = preact_reference(weights, images, training, ["layer1", "layer2", "layer3", "layer4"], "bn")
    return F.linear(features, weights["linear.weight"], weights["linear.bias"])


def wide_resnet_reference(weights: Weights, images: Tensor, training: bool) -> Tensor:
    features = preact_reference(weights, images, training, ["block1", "block2", "block3"], "bn1")
    return F.linear(features, weights["fc.weight"], weights["fc.bias"])


def resnet_reference(weights: Weights, images: Tensor, training: bool) -> Tensor:
    x = batch_norm(weights, "bn1", F.conv2d(images, weights["conv1.weight"], padding=1), training).relu()
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            here, stride = f"layer{layer}.{block}", 2 if block == 0 and layer > 1 else 1
            out = F.conv2d(x, weights[f"{here}.conv1.weight"], stride=stride, padding=1)
            out = batch_norm(weights, f"{here}.bn1", out, training).relu()
            out = batch_norm(
                weights, f"{here}.bn2", F.conv2d(out, weights[f"{here}.conv2.weight"], padding=1), training
            )
            if stride == 2:
                x = F.conv2d(x, weights[f"{here}.shortcut.0.weight"], stride=stride)
                x = batch_norm(weights, f"{here}.shortcut.1", x, training)
            x = (out + x).relu()
    return F.linear(x.mean(dim=(2, 3)), weights["linear.weight"], weights["linear.bias"])


REFERENCES: list[tuple[Architecture, Callable[[Weights, Tensor, bool], Tensor]]] = [
    (PreActResNet18(width=4), preact_resnet_reference),
    (PreActResNet18(width=4, final_norm=False), preact_resnet_reference),
    (Wrn28x10(depth=16, widen=2), wide_resnet_reference),
    (ResNet18(width=4), resnet_reference),
]


@pytest.mark.parametrize(("architecture", "norms", "convolutions", "parameters"), COUNTS)
def test_parameters_and_layers_are_as_many_as_specified(
    architecture: Architecture, norms: int, convolutions: int, parameters: dict[int, int]
) -> None:
    for num_classes, expected in parameters.items():
        model = published(architecture, num_classes)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected
        assert count(model, nn.BatchNorm2d) == norms
        assert count(model, nn.Conv2d) == convolutions


def preact_parameters(width: int, num_classes: int, channels: int) -> int:
    """Weights and biases, layer by layer, from the papers' description."""
    total, inputs = 9 * channels * width, width
    for outputs in (width, 2 * width, 4 * width, 8 * width):
        total += 2 * inputs + 9 * inputs * outputs + 2 * outputs + 9 * outputs**2
        total += inputs * outputs if inputs != outputs else 0
        total += 2 * (2 * outputs + 9 * outputs**2)
        inputs = outputs
    return total + 2 * inputs + (inputs + 1) * num_classes


@pytest.mark.parametrize(("width", "channels"), [(64, 3), (16, 3), (8, 1), (1, 1)])
def test_a_width_scales_every_layer_of_preact_resnet(width: int, channels: int) -> None:
    with torch.device("meta"):
        model = build_model(PreActResNet18(width=width), num_classes=7, channels=channels, mean=None, std=None)
    assert sum(parameter.numel() for parameter in model.parameters()) == preact_parameters(width, 7, channels)


def test_a_width_scales_every_layer_of_resnet() -> None:
    for width in (64, 16, 1):
        with torch.device("meta"):
            model = build_model(ResNet18(width=width), num_classes=7, channels=3, mean=None, std=None)
        widths = {module.num_features / width for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
        assert widths == {1, 2, 4, 8}


@pytest.mark.parametrize("num_classes", [2, 10])
def test_preact_resnet_at_full_width_gives_one_logit_per_class(num_classes: int) -> None:
    model = build_model(PreActResNet18(), num_classes=num_classes, channels=3, **CIFAR10_STATISTICS)
    with torch.no_grad():
        assert model(torch.rand(2, 3, 32, 32)).shape == (2, num_classes)


def test_preact_resnet_has_107_state_entries_besides_the_normalization() -> None:
    names = list(published(PreActResNet18(), 10).state_dict())
    assert sum(name.startswith("network.") for name in names) == 107
    assert [name for name in names if not name.startswith("network.")] == ["normalization.mean", "normalization.std"]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("architecture", "reference"), REFERENCES)
def test_a_network_equals_an_independent_forward_on_its_weights(
    architecture: Architecture, reference: Callable[[Weights, Tensor, bool], Tensor], training: bool
) -> None:
    model = small_network(architecture).train(training)
    weights = {name.removeprefix("network."): value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(model(images), reference(weights, images, training))


def test_the_skip_of_a_stride_block_starts_from_the_activated_input_and_else_from_the_input() -> None:
    network = small_network(PreActResNet18(width=4)).eval().get_submodule("network")
    seen: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            seen[f"{name}.in"], seen[f"{name}.out"] = inputs[0].clone(), output.clone()

        return hook

    for name in ("layer2.0", "layer2.0.bn1", "layer2.0.shortcut", "layer2.1", "layer2.1.conv2"):
        network.get_submodule(name).register_forward_hook(remember(name))
    network(torch.rand(2, 3, 32, 32, dtype=torch.float64))
    torch.testing.assert_close(seen["layer2.0.shortcut.in"], seen["layer2.0.bn1.out"].relu())
    assert seen["layer2.0.in"].min() < 0
    torch.testing.assert_close(seen["layer2.1.out"], seen["layer2.1.in"] + seen["layer2.1.conv2.out"])


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_small_gray_images_in_any_memory_format_give_the_same_logits(
    architecture: Architecture, memory_format: torch.memory_format
) -> None:
    model, images = small_network(architecture, channels=1), torch.rand(2, 1, 8, 8, dtype=torch.float64)
    expected = model(images)
    assert expected.shape == (2, 5)
    model.to(memory_format=memory_format)
    torch.testing.assert_close(model(images.contiguous(memory_format=memory_format)), expected)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("architecture", SMALL)
def test_images_have_a_gradient_while_all_parameters_are_frozen(architecture: Architecture, training: bool) -> None:
    model = small_network(architecture).train(training).requires_grad_(False)
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    logits = model(images)
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([0, 1])), images)
    assert gradient.abs().amin(dim=(1, 2, 3)).isfinite().all()
    assert (gradient.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_gradient_is_that_of_finite_differences() -> None:
    """In-place activations would spoil it silently if they overwrote what a skip or a backward pass needs."""
    for architecture in SMALL:
        model = small_network(architecture, channels=1).requires_grad_(False)
        images = torch.rand(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda images, model=model: model(images).square().sum(), images)


def test_the_wide_resnet_is_initialized_as_in_trades() -> None:
    torch.manual_seed(0)
    model = build_model(Wrn28x10(depth=10, widen=8), num_classes=3, channels=3, mean=None, std=None)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            expected = math.sqrt(2 / (module.kernel_size[0] ** 2 * module.out_channels))
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.03)
    assert torch.equal(model.state_dict()["network.fc.bias"], torch.zeros(3))


def test_the_initial_weights_follow_from_the_global_seed() -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        model = build_model(PreActResNet18(width=2), num_classes=2, channels=1, mean=None, std=None)
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(("num_classes", "text"), [(1, "1 class, but"), (0, "0 classes, but")])
def test_fewer_than_two_classes_are_refused(num_classes: int, text: str) -> None:
    settings: dict[str, Any] = {"channels": 3, "mean": None, "std": None}
    with pytest.raises(UserError) as caught:
        build_model(ResNet18(width=1), num_classes=num_classes, **settings)
    assert str(caught.value) == (
        f"The data has {text} a classifier needs at least two. "
        "Give every class a folder of its own under train/ and test/."
    )


def test_the_room_imports_no_package_of_published_networks() -> None:
    """It takes RobustBench and timm many seconds to load."""
    heavy = {"timm", "robustbench", "torchvision", "pyautoattack", "gdown"}
    code = f"import sys, fairat.models; print(sorted({heavy} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": "pipeline"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout == "[]\n"


def test_every_architecture_has_a_network() -> None:
    assert set(get_args(get_args(Architecture)[0])) == set(NETWORKS)


@pytest.mark.parametrize("inputs", [1, 2, 3, 5, 8, 16])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_shortcut_of_any_width_has_the_gradients_of_float64(inputs: int, stride: int) -> None:
    # Torch 2.15 has another weight gradient than this for fewer than 8 channels, on a CPU with AVX2.
    torch.manual_seed(0)
    images = torch.rand(20, inputs, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    shortcut = Shortcut(inputs, 2 * inputs, stride).to(memory_format=torch.channels_last)
    found = torch.autograd.grad(shortcut(images).square().sum(), (images, shortcut.weight))
    exact = F.conv2d(images.double(), shortcut.weight.double(), stride=stride)
    for gradient, right in zip(
        found, torch.autograd.grad(exact.square().sum(), (images, shortcut.weight)), strict=True
    ):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-4)
