"""Augmentation: every crop is one of the crops, and rotation and jitter are torchvision's."""

import pytest
import torch
from fairat.data.augmentation import AugmentedImages, jittered, rotated
from fairat.errors import UserError
from fairat.settings.recipe import Augmentation
from torchvision.transforms import InterpolationMode, functional


def images(channels: int = 3, height: int = 9, width: int = 12) -> torch.Tensor:
    return torch.rand(4, channels, height, width, generator=torch.Generator().manual_seed(0))


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_a_batch_is_a_random_crop_of_the_padded_image_flipped_half_the_time(padding: str) -> None:
    image = torch.arange(20, dtype=torch.uint8).view(1, 1, 4, 5)
    padded = torch.nn.functional.pad(
        image.float(), (2, 2, 2, 2), mode="reflect" if padding == "reflect" else "constant"
    )
    crops = [padded[0, :, top : top + 4, left : left + 5] for top in range(5) for left in range(5)]
    possible = {tuple(crop.flatten().tolist()) for crop in crops}
    flipped = {tuple(crop.flip(2).flatten().tolist()) for crop in crops}
    augmented = AugmentedImages(image, Augmentation.model_validate({"crop_padding": 2, "padding": padding}))
    batch = augmented.batch(torch.zeros(2000, dtype=torch.long), stream()).mul(255).round()
    seen = [tuple(one.flatten().tolist()) for one in batch]
    assert set(seen) == possible | flipped
    share = sum(one in flipped - possible for one in seen) / len(seen)
    # Reflected crops may be their own mirror images.
    assert share == pytest.approx(len(flipped - possible) / 50, abs=0.05)


def test_the_same_stream_gives_the_same_batch_and_another_stream_another() -> None:
    pixels = (images() * 255).to(torch.uint8)
    augmented = AugmentedImages(pixels, Augmentation(crop_padding=2, rotation=10, color_jitter=0.5))
    first, again, other = (augmented.batch(torch.arange(4), stream(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1


@pytest.mark.parametrize("angle", [0.0, 2.0, -17.0, 90.0])
def test_a_rotation_is_torchvisions(angle: float) -> None:
    original = images(height=16, width=12)
    expected = functional.rotate(original, angle, InterpolationMode.NEAREST)
    # A pixel that lies half-way between two may round either way.
    assert (rotated(original, torch.full((4,), angle)) == expected).float().mean() > 0.97


def test_jitter_is_torchvisions_brightness_then_contrast_then_saturation() -> None:
    original, factors = images(), torch.tensor([[0.75, 1.0, 1.25, 1.1], [1.2, 0.8, 1.0, 0.9], [0.8, 1.25, 1.1, 1.0]])
    for image, changed, (brightness, contrast, saturation) in zip(
        original, jittered(original, factors), factors.T.tolist(), strict=True
    ):
        expected = functional.adjust_contrast(functional.adjust_brightness(image, brightness), contrast)
        expected = functional.adjust_saturation(expected, saturation)
        torch.testing.assert_close(changed, expected, atol=2e-3, rtol=0)


def test_gray_images_have_no_saturation() -> None:
    original = images(channels=1)
    factors = torch.stack([torch.ones(4), torch.ones(4), torch.full((4,), 0.3)])
    torch.testing.assert_close(jittered(original, factors), original)


def test_an_image_too_small_to_be_reflected_is_refused() -> None:
    with pytest.raises(UserError, match="can be reflected by 7 at most"):
        AugmentedImages(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), Augmentation(crop_padding=8))


def test_without_padding_and_flips_images_are_as_read() -> None:
    pixels = (images() * 255).to(torch.uint8)
    indices = torch.tensor([2, 0, 2])
    augmented = AugmentedImages(pixels, Augmentation(crop_padding=0, flip=False))
    assert torch.equal(augmented.batch(indices, stream()), pixels[indices].float() / 255)


def test_every_crop_is_equally_likely() -> None:
    # No crop of so wide an image is another's mirror image.
    pixels = torch.arange(28, dtype=torch.uint8).view(1, 1, 4, 7)
    augmented = AugmentedImages(pixels, Augmentation(crop_padding=2))
    batch = augmented.batch(torch.zeros(2000, dtype=torch.long), stream())
    counts = batch.flatten(1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 5 * 5 * 2
    # Five standard deviations around the 40 draws that each expects.
    assert (counts - 40).abs().max() < 5 * 40**0.5


def test_the_images_of_a_batch_move_independently_and_every_epoch_anew() -> None:
    augmented = AugmentedImages((images() * 255).to(torch.uint8), Augmentation(crop_padding=2))
    same, source = torch.zeros(50, dtype=torch.long), stream()
    first, second = augmented.batch(same, source), augmented.batch(same, source)
    assert len(first.flatten(1).unique(dim=0)) > 10
    assert not torch.equal(first, second)
