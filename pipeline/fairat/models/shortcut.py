"""The 1x1 convolution beside a residual block that changes the number of channels or the resolution."""

from jaxtyping import Float
from torch import Tensor, nn

_VECTOR = 8
"""Channels that a vector register of AVX2 holds."""


class Shortcut(nn.Conv2d):
    """A 1x1 convolution without bias, right on every processor.

    With fewer than 8 input channels, channels last and a stride, the weight gradient of torch 2.15 on a CPU with AVX2 is
    wrong and writes outside of its memory. A narrow one therefore takes every `stride`-th pixel first, which is the same.

    Args:
        inputs: channels of the images.
        outputs: channels of the result.
        stride: in pixels, of both axes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        every = stride if inputs < _VECTOR else 1
        super().__init__(inputs, outputs, 1, stride=stride // every, bias=False)
        self.every = every

    def forward(self, input: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs rows columns"]:
        """The convolution of every `stride`-th pixel."""
        return super().forward(input[:, :, :: self.every, :: self.every] if self.every > 1 else input)
