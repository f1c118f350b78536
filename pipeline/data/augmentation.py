"""Random crops and flips of a whole batch in one gather, from images that stay on the device."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pipeline.training.recipe import Augmentation


class AugmentedImages:
    """A training set on its device, padded once; a batch is one gather (spec 1.5).

    Args:
        images: uint8, `count channel height width`, on the device where they will be used.
        augmentation: padding, its mode, and whether images are flipped.
    """

    def __init__(self, images: UInt8[Tensor, "count channel height width"], augmentation: Augmentation) -> None:
        self.height, self.width = images.shape[2:]
        self.padding, self.flip = augmentation.crop_padding, augmentation.flip
        pads = (self.padding,) * 4
        if augmentation.padding == "reflect" and self.padding:
            # uint8 has no reflection padding; half precision holds 0..255 exactly.
            images = F.pad(images.to(torch.float16), pads, mode="reflect").to(torch.uint8)
        elif self.padding:
            images = F.pad(images, pads)
        # Channels last: a gathered batch then has the memory layout that convolutions prefer.
        self.pixels = images.permute(0, 2, 3, 1).contiguous()

    def batch(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> Float[Tensor, "batch channel height width"]:
        """The images of `indices`, each cropped and flipped at random, in [0, 1]."""
        count, device = len(indices), self.pixels.device
        offsets = torch.randint(0, 2 * self.padding + 1, (2, count, 1), generator=generator, device=device)
        rows = offsets[0] + torch.arange(self.height, device=device)
        columns = offsets[1] + torch.arange(self.width, device=device)
        if self.flip:
            flipped = torch.rand((count, 1), generator=generator, device=device) < 0.5
            columns = torch.where(flipped, columns.flip(1), columns)
        pixels = self.pixels[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
        return pixels.permute(0, 3, 1, 2).to(torch.float32) / 255
