"""First layer of every model, so that images stay in [0, 1] outside it and every radius is in pixel units."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fairat.errors import UserError


class Normalization(nn.Module):
    """(x - mean) / std per channel, with constants that are saved with the weights and never trained.

    Args:
        mean: one number per channel, in units of [0, 1] images.
        std: likewise, positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Images in [0, 1] to images of about zero mean and unit variance."""
        return (images - self.mean) / self.std


def normalized(
    network: nn.Module, mean: Sequence[float] | None, std: Sequence[float] | None, *, channels: int
) -> nn.Sequential:
    """The network behind a normalization, or alone where there are no statistics.

    Raises:
        UserError: not one mean and one positive standard deviation per channel.
    """
    if mean is None and std is None:
        return nn.Sequential(OrderedDict(network=network))
    if mean is None or std is None or not len(mean) == len(std) == channels or min(std) <= 0:
        raise UserError(
            f"The statistics are mean {_listed(mean)} and std {_listed(std)}, but the images have {channels} "
            f"channel{'s' * (channels != 1)}: each needs a mean and a positive std, in units of [0, 1] images. "
            "Correct `statistics` of the suite, or leave it out to take those of the training images."
        )
    return nn.Sequential(OrderedDict(normalization=Normalization(mean, std), network=network))


def check_images(images: Float[Tensor, "batch channel height width"]) -> None:
    """Refuses images that are not in [0, 1]. For the boundaries: it waits for the device.

    Raises:
        UserError: a value is outside [0, 1] or no number; the text says what the images look like.
    """
    low, high = (float(bound) for bound in images.aminmax())
    if low >= 0 and high <= 1:
        return
    if not (low > -float("inf") and high < float("inf")):
        raise UserError(
            "images must lie in [0, 1], but hold values that are not finite. Look at the source of these images."
        )
    if low < 0:
        looks = "they look normalized already. Pass them as read; every model normalizes in its first layer."
    else:
        looks = "they look like 8-bit values. Divide them by 255."
    raise UserError(f"images must lie in [0, 1], but range over [{low:.2f}, {high:.2f}]: {looks}")


def _listed(values: Sequence[float] | None) -> str:
    return "absent" if values is None else f"({', '.join(f'{value:g}' for value in values)})"
