import pytest
import torch
from fairat.errors import UserError
from fairat.models import build_model
from fairat.models.normalization import Normalization, check_images
from fairat.settings.architectures import PreActResNet18

from tests.models.toys import CIFAR10_STATISTICS, CIFAR100_STATISTICS


def test_normalizing_inside_the_model_equals_normalizing_outside() -> None:
    torch.manual_seed(0)
    inside = build_model(PreActResNet18(width=4), num_classes=3, channels=3, **CIFAR100_STATISTICS)
    outside = build_model(PreActResNet18(width=4), num_classes=3, channels=3, mean=None, std=None)
    outside.load_state_dict({name: v for name, v in inside.state_dict().items() if name.startswith("network.")})
    images = torch.rand(4, 3, 16, 16)
    mean = torch.tensor([0.5071, 0.4867, 0.4408])[:, None, None]
    std = torch.tensor([0.2675, 0.2565, 0.2761])[:, None, None]
    torch.testing.assert_close(inside(images), outside((images - mean) / std))


def test_the_constants_are_saved_but_not_trained() -> None:
    layer = Normalization(**CIFAR10_STATISTICS)
    assert list(layer.parameters()) == []
    assert layer.state_dict()["mean"].flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465])
    assert layer.state_dict()["std"].flatten().tolist() == pytest.approx([0.2471, 0.2435, 0.2616])


@pytest.mark.parametrize(
    ("mean", "std", "given"),
    [
        ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "mean (0.5, 0.4, 0.3) and std (0.2, 0.2, 0.2)"),
        ((0.5,), (0.0,), "mean (0.5) and std (0)"),
        ((0.5,), None, "mean (0.5) and std absent"),
    ],
)
def test_statistics_that_do_not_fit_the_images_are_refused(
    mean: tuple[float, ...], std: tuple[float, ...] | None, given: str
) -> None:
    with pytest.raises(UserError) as caught:
        build_model(PreActResNet18(width=1), num_classes=2, channels=1, mean=mean, std=std)
    assert str(caught.value) == (
        f"The statistics are {given}, but the images have 1 channel: each needs a mean and a positive std, in units of "
        "[0, 1] images. Correct `statistics` of the suite, or leave it out to take those of the training images."
    )


def test_images_in_the_unit_interval_pass_up_to_its_very_ends() -> None:
    unit = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3)
    check_images(unit)
    for end, outward in ((0, -1.0), (2, 2.0)):
        beyond = unit.clone()
        beyond[..., end] = torch.nextafter(unit[..., end], torch.tensor(outward))
        with pytest.raises(UserError, match=r"images must lie in \[0, 1\]"):
            check_images(beyond)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            [-2.43, 0.0, 2.75],
            "images must lie in [0, 1], but range over [-2.43, 2.75]: they look normalized already. "
            "Pass them as read; every model normalizes in its first layer.",
        ),
        (
            [0.0, 17.0, 255.0],
            "images must lie in [0, 1], but range over [0.00, 255.00]: they look like 8-bit values. Divide them by 255.",
        ),
        (
            [0.0, float("nan"), 1.0],
            "images must lie in [0, 1], but hold values that are not finite. Look at the source of these images.",
        ),
        (
            [0.0, float("inf"), 1.0],
            "images must lie in [0, 1], but hold values that are not finite. Look at the source of these images.",
        ),
    ],
)
def test_other_images_are_refused_with_what_they_look_like(values: list[float], text: str) -> None:
    with pytest.raises(UserError) as caught:
        check_images(torch.tensor(values).view(1, 1, 1, 3))
    assert str(caught.value) == text
