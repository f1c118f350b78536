"""With how many bits a training multiplies: float32, TF32 or bfloat16, a setting of the recipe."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fairat.settings.recipe import Precision


@contextmanager
def multiplying(precision: Precision) -> Iterator[None]:
    """The one place that decides over TF32: `float32` forbids it, the others leave it to PyTorch."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    if precision == "float32":
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def attacked(model: nn.Module, precision: Precision) -> nn.Module:
    """The network as an attack sees it: itself, or behind `BFloat16Forward`."""
    return BFloat16Forward(model).train(model.training) if precision == "bfloat16" else model


class BFloat16Forward(nn.Module):
    """The same network, its convolutions and products in bfloat16, forward and backward; losses stay in float32.

    Batch norm keeps its statistics in float32.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch class"]:
        """Float32 logits, so that a loss loses no more bits than the network did."""
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.network(images).float()
