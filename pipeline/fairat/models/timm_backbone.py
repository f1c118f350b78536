"""Networks of timm, which resize and normalize images themselves."""

from collections import OrderedDict
from difflib import get_close_matches
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fairat.errors import UserError
from fairat.models.normalization import Normalization
from fairat.models.pretrained import UNREADABLE, read_state, reason
from fairat.settings.architectures import TimmModel


class Resizing(nn.Module):
    """Images resized to `side` x `side` pixels by bilinear interpolation, so that radii stay those of the images."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel side side"]:
        """Values stay in [0, 1]."""
        return interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)


def build(settings: TimmModel, *, num_classes: int, channels: int) -> nn.Module:
    """The untrained network behind resizing and its own normalization; it takes images in [0, 1] of any size.

    Raises:
        UserError: timm is not installed or has no such network, or the images are not in color.
    """
    try:
        import timm
        from timm.data.config import resolve_data_config
    except ModuleNotFoundError:
        raise UserError(
            "Networks of timm need the package timm, which is not installed. "
            "Install the extra `zoo`: pip install -e '.[zoo]'."
        ) from None
    if not timm.is_model(settings.name):
        near = get_close_matches(settings.name, timm.list_models(), n=3, cutoff=0.3)
        raise UserError(
            f"timm has no network {settings.name!r}; names near it: {', '.join(near) or 'none'}. Correct architecture.name."
        )
    if channels != 3:
        raise UserError(
            f"{settings.name} takes images in color, but the data has {channels} channel. Choose another network."
        )
    wanted: dict[str, Any] = {} if settings.size is None else {"img_size": settings.size}
    try:
        network = timm.create_model(settings.name, num_classes=num_classes, **wanted)
    except TypeError:  # a convolutional network takes images of any size
        network = timm.create_model(settings.name, num_classes=num_classes)
    configuration = resolve_data_config({}, model=network)
    return nn.Sequential(
        OrderedDict(
            resizing=Resizing(settings.size or configuration["input_size"][1]),
            normalization=Normalization(configuration["mean"], configuration["std"]),
            network=network,
        )
    )


def load_start(network: nn.Module, settings: TimmModel) -> None:
    """Loads the weights of the file, its head included.

    Raises:
        UserError: the file is missing, or holds another network.
    """
    assert settings.checkpoint is not None
    try:
        network.get_submodule("network").load_state_dict(read_state(settings.checkpoint))
    except UNREADABLE as error:
        raise UserError(
            f"{settings.checkpoint} does not hold the weights of timm's {settings.name} for this data: {reason(error)}. "
            "Name another file in architecture.checkpoint, or correct architecture.name."
        ) from None
