"""The train-mode forwards of an update, which decide the running batch-norm statistics of the network that is evaluated."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn

from fairat.attacks.pgd import Images

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def forward_each(
    model: nn.Module, inputs: Mapping[str, Images], order: Sequence[str]
) -> dict[str, Float[Tensor, "batch class"]]:
    """The logits of each input; the running statistics are those of one forward after the other in `order`.

    Public code runs some inputs twice in one update. Weights and batch are the same both times, and so are its batch
    statistics: one forward with another momentum moves the running statistics exactly as far, see `momenta`.

    Args:
        model: in train mode.
        inputs: the images of the batch in [0, 1], by name: clean, attacked, ...
        order: the names in the order of the forwards; each at least once.
    """
    once = _by_last_forward(order)
    if len(once) == len(order):
        return {name: model(inputs[name]) for name in once}
    logits = {}
    for name in once:
        with _momentum(model, order, name):
            logits[name] = model(inputs[name])
    return logits


def momenta(order: Sequence[str], momentum: float) -> dict[str, float]:
    """The momentum of each input's only forward, in the order in which these forwards must run.

    A forward of batch statistics b moves the running ones to (1 - m) r + m b. So the i-th of n forwards ends up with the
    share m (1 - m)^(n - i), and an input with the sum of its forwards' shares. For x, x', x and m = 0.1 these are 0.09 for
    x' and 0.181 for x: x' runs first, with momentum 0.09 / (1 - 0.181) = 0.1099, then x with 0.181.
    """
    shares = dict.fromkeys(_by_last_forward(order), 0.0)
    for later, name in enumerate(reversed(order)):
        shares[name] += momentum * (1 - momentum) ** later
    left, found = 1.0, {}
    for name in reversed(shares):
        found[name] = shares[name] / left
        left -= shares[name]
    return {name: found[name] for name in shares}


def _by_last_forward(order: Sequence[str]) -> list[str]:
    """Each name once, in the order of their last forwards."""
    return list(reversed(dict.fromkeys(reversed(order))))


@contextmanager
def _momentum(model: nn.Module, order: Sequence[str], name: str) -> Iterator[None]:
    """Every batch norm has the momentum of that input's only forward; cumulative ones, without momentum, keep counting."""
    norms = [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.momentum is not None]
    own = [norm.momentum for norm in norms]
    for norm, momentum in zip(norms, own, strict=True):
        assert momentum is not None
        norm.momentum = momenta(order, momentum)[name]
    try:
        yield
    finally:
        for norm, momentum in zip(norms, own, strict=True):
            norm.momentum = momentum
