"""The only gradient-ascent loop of the project: every training attack and every PGD evaluation is an instance of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Images = Float[Tensor, "batch channel height width"]
Start = Literal["uniform", "gauss", "boxed_gauss", "zero"]
BatchNormMode = Literal["train", "eval"]


StoppingRule = Callable[[Int[Tensor, " batch"]], Bool[Tensor, " batch"]]
"""Takes the classes predicted at a check; returns which images make the next step. Made anew for every attacked batch."""

Observer = Callable[[int, Images, Int[Tensor, " batch"]], None]
"""Called before each step with the step's number, the current iterate and the classes predicted for it."""


def initial_perturbation(
    kind: Start, images: Images, epsilon: Float[Tensor, " batch"], generator: torch.Generator | None
) -> Images:
    """Where an attack starts, as a perturbation.

    `uniform`: each coordinate U(-epsilon, +epsilon), projected on the box [0, 1] as all public code does; `gauss`:
    0.001 * N(0, 1), clipped neither to the radius nor to the box, so that the first forward sees values outside [0, 1]
    (CFA, TRADES, FRL, WAT, DAFA); `boxed_gauss`: the same, projected on the box (BAT); `zero`.
    """
    if kind == "zero":
        return torch.zeros_like(images)
    # The memory format of the images is kept: noise laid out otherwise would make the first convolution copy its input.
    noise = torch.empty_like(images)
    if kind == "uniform":
        noise.uniform_(-1, 1, generator=generator).mul_(epsilon.view(-1, 1, 1, 1))
    else:
        noise.normal_(generator=generator).mul_(0.001)
    return noise if kind == "gauss" else torch.clamp(noise, -images, 1 - images)


def pgd(
    model: Callable[[Tensor], Tensor],
    images: Images,
    *,
    loss: Callable[[Tensor], Tensor],
    epsilon: Float[Tensor, " batch"],
    step_size: Float[Tensor, " batch"],
    num_steps: int,
    start: Images,
    direction: Literal[1, -1] = 1,
    stopping: StoppingRule | None = None,
    observer: Observer | None = None,
    jitter: Callable[[Images], Images] | None = None,
) -> Images:
    """Moves along the sign of the gradient of `loss` without leaving the ball around `images` or the box [0, 1].

        delta[t+1] = box(clip(delta[t] + direction * step_size * sign(grad loss(f(x + delta[t]))), +-epsilon))

    Madry et al. 2018, Sec. 2.1. The check of the prediction comes before each step; the last iterate is never checked. The
    start is taken as it is; every step ends inside.

    Args:
        model: images in [0, 1] to logits `batch class`. Its parameters should be frozen (`attacking`).
        images: in [0, 1].
        loss: logits to one loss per image, `batch`; their sum is differentiated, only signs are used.
        epsilon, step_size: radius and step of each image, in units of [0, 1] images.
        num_steps: number of steps T.
        start: the initial perturbation, see `initial_perturbation`.
        direction: +1 ascends the loss, -1 descends it (a targeted attack).
        stopping: which images still move; none means all, always. Ends the loop early when no image moves.
        observer: sees every iterate that is checked.
        jitter: noise added to every step before it is projected (the original FAT).

    Returns:
        The adversarial images, without gradient.
    """
    radius = epsilon.view(-1, 1, 1, 1)
    step = direction * step_size.view(-1, 1, 1, 1)
    # Both intervals hold 0, so one clamp to their intersection is clipping to the radius, then to the box.
    lower, upper = torch.maximum(-radius, -images), torch.minimum(radius, 1 - images)
    delta = start
    for number in range(num_steps):
        adversarial = (images + delta).requires_grad_()
        with torch.enable_grad():
            logits = model(adversarial)
            total = loss(logits).sum()
        active = None
        if stopping is not None or observer is not None:
            predictions = logits.detach().argmax(dim=1)
            if observer is not None:
                observer(number, adversarial.detach(), predictions)
            active = None if stopping is None else stopping(predictions)
        if active is not None and not active.any():
            break
        (gradient,) = torch.autograd.grad(total, adversarial)
        moved = delta + step * gradient.sign()
        if jitter is not None:
            moved = moved + jitter(moved)
        moved = torch.clamp(moved, lower, upper)
        delta = moved if active is None else torch.where(active.view(-1, 1, 1, 1), moved, delta)
    return images + delta


@contextmanager
def attacking(model: nn.Module, batch_norm: BatchNormMode) -> Iterator[None]:
    """The one place that decides the batch-norm mode during an attack, and where parameters are frozen.

    `train`: batch statistics, and every attack forward updates the running statistics; `eval`: running statistics, not
    updated. On leaving, the previous mode and the parameters' gradients come back.
    """
    was_training = model.training
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if was_training != (batch_norm == "train"):
        model.train(batch_norm == "train")
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        if was_training != (batch_norm == "train"):
            model.train(was_training)
