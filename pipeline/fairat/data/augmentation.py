"""Random crops and flips of a whole batch in one gather, from images that stay on the device; rotation and jitter."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from fairat.errors import UserError
from fairat.settings.recipe import Augmentation


class AugmentedImages:
    """A training set on its device, once; a batch is one gather, padding is a matter of indices.

    Args:
        device: where batches will be used; by default where the images are.

    Raises:
        UserError: the images are too small to be reflected that far.
    """

    def __init__(
        self,
        images: UInt8[Tensor, "count channel height width"],
        augmentation: Augmentation,
        device: torch.device | None = None,
    ) -> None:
        height, width = images.shape[2:]
        largest = min(height, width) - 1
        if augmentation.padding == "reflect" and augmentation.crop_padding > largest:
            raise UserError(
                f"`crop_padding: {augmentation.crop_padding}` was given, but images of {height}x{width} pixels can be "
                f"reflected by {largest} at most. Set a smaller `crop_padding`, or `padding: zero`."
            )
        self.augmentation = augmentation
        # Channels last: a gathered batch then has the memory layout that convolutions prefer.
        self.pixels = images.permute(0, 2, 3, 1).contiguous().to(device or images.device)

    def batch(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> Float[Tensor, "batch channel height width"]:
        """The images of `indices`, each cropped and flipped at random, in [0, 1]."""
        count, device, settings = len(indices), self.pixels.device, self.augmentation
        height, width = self.pixels.shape[1:3]
        corners = torch.randint(0, 2 * settings.crop_padding + 1, (2, count, 1), generator=generator, device=device)
        rows = corners[0] - settings.crop_padding + torch.arange(height, device=device)
        columns = corners[1] - settings.crop_padding + torch.arange(width, device=device)
        if settings.flip:
            flipped = torch.rand((count, 1), generator=generator, device=device) < 0.5
            columns = torch.where(flipped, columns.flip(1), columns)
        near_rows, near_columns = _mirrored(rows, height), _mirrored(columns, width)
        pixels = self.pixels[indices[:, None, None], near_rows[:, :, None], near_columns[:, None, :]]
        if settings.padding == "zero":
            inside = (rows == near_rows)[:, :, None] & (columns == near_columns)[:, None, :]
            pixels *= inside[..., None].to(torch.uint8)
        images = pixels.permute(0, 3, 1, 2).to(torch.float32) / 255
        if settings.rotation:
            angles = torch.rand(count, generator=generator, device=device).mul(2).sub(1).mul(settings.rotation)
            images = rotated(images, angles)
        if settings.color_jitter:
            spread = torch.rand((3, count), generator=generator, device=device).mul(2).sub(1).mul(settings.color_jitter)
            images = jittered(images, 1 + spread)
        return images


def _mirrored(places: Int[Tensor, "batch size"], size: int) -> Int[Tensor, "batch size"]:
    """Places on an axis, those outside mirrored about its ends; clamped, as zero padding may be wider than the image."""
    return ((size - 1) - ((size - 1) - places.abs()).abs()).clamp(0, size - 1)


def rotated(
    images: Float[Tensor, "batch channel height width"], degrees: Float[Tensor, " batch"]
) -> Float[Tensor, "batch channel height width"]:
    """Each image, turned anticlockwise about its center by its own angle; nearest pixels, black outside."""
    _, _, height, width = images.shape
    angles = degrees.deg2rad()
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Coordinates of affine_grid run over [-1, 1] on both axes: an angle in pixels needs the ratio of the sides.
    rows = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def jittered(
    images: Float[Tensor, "batch channel height width"], factors: Float[Tensor, "3 batch"]
) -> Float[Tensor, "batch channel height width"]:
    """Brightness, contrast and saturation times each image's own factors, clipped to [0, 1].

    Always in this order, where torchvision's ColorJitter draws the order of each image: the order would have to reach the
    host in every batch. A gray image has no saturation to change.
    """
    brightness, contrast, saturation = factors.view(3, -1, 1, 1, 1)
    images = (images * brightness).clamp(0, 1)
    images = torch.lerp(_luminance(images).mean(dim=(1, 2, 3), keepdim=True), images, contrast).clamp(0, 1)
    return torch.lerp(_luminance(images), images, saturation).clamp(0, 1) if images.shape[1] == 3 else images


def _luminance(images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Rec. 601 luminance, as PIL and torchvision have it; a gray image is its own."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)
    return (images * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
