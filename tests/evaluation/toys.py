"""Images and networks small enough to attack in a test."""

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from fairat.evaluation.protocol import EvaluationSet, Watcher
from torch import Tensor, nn

EPSILON = 0.08


def tiny_set(count: int = 40, *, classes: int = 5, seed: int = 0) -> EvaluationSet:
    """A class brightens its own column of a 6x6 image, over noise; neighboring images are of different classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = torch.randint(0, 160, (count, 1, 6, 6), generator=generator)
    images[torch.arange(count), 0, :, labels] += 60
    return EvaluationSet(images.to(torch.uint8), labels, tuple(f"class {number}" for number in range(classes)))


@cache
def _weights(classes: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model, known = _network(classes), tiny_set(200, classes=classes, seed=1)
    parameters = list(model.parameters())
    for _ in range(40):
        # By hand: the first step of an optimizer of torch imports its compiler, which takes seconds.
        gradients = torch.autograd.grad(F.cross_entropy(model(known.images / 255), known.labels), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter -= 0.3 * gradient
    return model.state_dict()


def tiny_model(classes: int = 5) -> nn.Module:
    """A trained network with batch norm, in train mode: right about most images, and fooled about some of them."""
    model = _network(classes)
    model.load_state_dict(_weights(classes))
    return model


def _network(classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, classes)
    )


class Seeing(nn.Module):
    """A network that passes every batch it is given to `look`."""

    def __init__(self, network: nn.Module, look: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.network, self.look = network, look

    def forward(self, images: Tensor) -> Tensor:
        self.look(images.detach())
        return self.network(images)


class Ledger:
    """Keeps what a watcher is told."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.remarks: list[str] = []
        self.watcher = Watcher(advance=lambda by, note: self.steps.append(by), remark=self.remarks.append)
