"""Adapter to the published attacks of AutoAttack (Croce and Hein 2020), as distributed in the package pyautoattack.

Images are attacked block by block. In a block the attacks, their order, the survivors and the seeds are those of the
package's own driver, attack for attack, without the driver's printing. What is added: the budget is settable as a whole
(the driver fixes APGD's step size schedule before its number of iterations can be changed), memory is bounded whatever the
size of the block, progress, and a check of every image that comes back.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

import torch
from jaxtyping import Float, Int64
from pyautoattack import checks
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from fairat.attacks.pgd import Images
from fairat.models.normalization import check_images

APGD_CE, APGD_T, FAB_T, SQUARE = "apgd-ce", "apgd-t", "fab-t", "square"
_TARGETED_DLR_CLASSES = 4
_WITH_GRADIENT = 3  # a forward and a backward pass, in forward passes

Network = Callable[[Tensor], Tensor]


class Perturbing(Protocol):
    """An attack of the package."""

    def perturb(self, x: Tensor, y: Tensor) -> Tensor:
        """Images of the same shape: adversarial ones where the attack succeeds, else the given ones."""
        ...


@dataclass(frozen=True)
class Member:
    """One attack of an ensemble.

    Attributes:
        name: as in the package.
        build: makes the attack for a network.
        passes: forward passes per image that withstands the whole attack.
        cost: time per image, in forward passes.
    """

    name: str
    build: Callable[[Network], Perturbing]
    passes: int
    cost: int


def standard(
    *, epsilon: float, seed: int, num_classes: int, iterations: int, target_classes: int, queries: int
) -> list[Member]:
    """The standard version for the L-infinity ball: APGD-CE, APGD-T, FAB-T and Square, each with one restart.

    Args:
        epsilon: radius, in units of [0, 1] images.
        seed: every attack starts from it anew, as in the package's driver; each block has its own.
        num_classes: K. With K < 4 there is no APGD-T, whose loss (targeted DLR) needs four classes.
        iterations: of APGD-CE, APGD-T and FAB-T (published: 100).
        target_classes: of APGD-T and FAB-T, at most K - 1 (published: 9).
        queries: of Square (published: 5000).
    """
    targets, steps = min(target_classes, num_classes - 1), iterations + 1
    shared = {"n_iter": iterations, "n_restarts": 1, "eps": epsilon, "norm": "Linf", "seed": seed}
    apgd, fab = {**shared, "rho": 0.75}, {**shared, "targeted": True}
    members = [
        Member(APGD_CE, partial(APGDAttack, **apgd, loss="ce"), steps, steps * _WITH_GRADIENT),
        Member(
            APGD_T,
            partial(APGDAttack_targeted, **apgd, n_target_classes=targets),
            targets * steps,
            targets * steps * _WITH_GRADIENT,
        ),
        Member(
            FAB_T,
            partial(FABAttack_PT, **fab, n_target_classes=targets),
            2 * targets * iterations,
            targets * iterations * (_WITH_GRADIENT + 1),
        ),
        *square(epsilon=epsilon, seed=seed, queries=queries),
    ]
    return [member for member in members if member.name != APGD_T or num_classes >= _TARGETED_DLR_CLASSES]


def square(*, epsilon: float, seed: int, queries: int) -> list[Member]:
    """Square alone, as in AutoAttack (Andriushchenko et al. 2020): p = 0.8, margin loss, one restart, no rescaled schedule."""
    build = partial(
        SquareAttack,
        p_init=0.8,
        loss="margin",
        n_queries=queries,
        n_restarts=1,
        eps=epsilon,
        norm="Linf",
        seed=seed,
        resc_schedule=False,
    )
    return [Member(SQUARE, build, queries, queries)]


def attack_block(
    ensemble: Sequence[Member],
    model: nn.Module,
    images: Images,
    labels: Int64[Tensor, " batch"],
    predictions: Int64[Tensor, " batch"],
    *,
    epsilon: float,
    batch_size: int,
    advance: Callable[[float, str], None] = lambda by, note: None,
    recall: Callable[[str, float, Callable[[], Tensor]], Tensor] = lambda attack, images, compute: compute(),
) -> Int64[Tensor, "stages batch"]:
    """Runs the attacks in order, each on the images of one block that are still classified correctly, all at once.

    Results depend on which images make the block: the package draws its noise for all of them together. They do not depend
    on `batch_size`, except for the last bit in which the device's kernels may round batches of another size differently.

    Args:
        ensemble: from `standard` or `square`, with the seed of this block.
        model: frozen and in eval mode, see `pgd.attacking`.
        images: in [0, 1]; contiguous, because the package flattens them without copying.
        labels: the true classes.
        predictions: of the images as they are; wrong ones are not attacked.
        epsilon: radius of the ensemble; every image that comes back is checked against it.
        batch_size: images that the network sees at once; bounds the memory.
        advance: told of progress; the calls, and what is recalled, add up to the number of images.
        recall: takes the name of an attack, its part of the progress, and what runs it; gives the predictions after it, on
            the CPU. None of the attacks knows how those before it came to their predictions.

    Returns:
        The given predictions, then those after each attack: of an image, under the first attack that broke it so far, else
        the given one.

    Raises:
        UserError: the images are not in [0, 1].
    """
    check_images(images)
    network, found = Chunked(model, batch_size), [predictions]
    meter = _Meter(network, ensemble, len(images), advance)
    # The package seeds torch's global streams; they come back as they were.
    streams = torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else [])
    with torch.no_grad(), streams:
        for member in ensemble:

            def attack(member: Member = member, before: Tensor = found[-1]) -> Tensor:
                after = before.clone()
                survivors = (after == labels).nonzero().flatten()
                with meter.measures(member, len(survivors)):
                    if len(survivors):
                        adversarial = member.build(meter).perturb(images[survivors], labels[survivors])
                        _check_inside(member.name, adversarial, images[survivors], epsilon)
                        after[survivors] = network(adversarial).argmax(dim=1)
                return after.cpu()

            found.append(recall(member.name, meter.part(member), attack).to(labels.device))
    return torch.stack(found)


def check_network(model: nn.Module, images: Images, labels: Int64[Tensor, " batch"], batch_size: int) -> None:
    """The package's warnings about the network: its logits are random, or are probabilities."""
    network = Chunked(model, batch_size)
    checks.check_randomized(network, images, labels)
    checks.check_range_output(network, images)


def check_square(
    ensemble: Sequence[Member], found: Int64[Tensor, "stages batch"], labels: Int64[Tensor, " batch"]
) -> None:
    """The package's warning that Square broke more images than attacks with gradients leave to it.

    Args:
        ensemble: whose names stand for the stages after the first.
        found: from `attack_block`, of all blocks.
        labels: the true classes.
    """
    accuracies = (found == labels).double().mean(dim=1).tolist()
    names = ["clean", *(member.name for member in ensemble)]
    checks.check_square_sr(dict(zip(names, accuracies, strict=True)))


@contextmanager
def warnings_reported(remark: Callable[[str], None]) -> Iterator[None]:
    """While it lasts, collects the package's warnings; passes on each kind once, as they differ in counts only."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    kinds = {"".join(filter(str.isalpha, str(warning.message))): str(warning.message) for warning in caught}
    for text in kinds.values():
        remark(f"AutoAttack warns: {text}")


class Chunked:
    """The network for any number of images, in the memory of at most `size` of them, with gradients too.

    The logits are those of the images `size` by `size`. Only the last `size` images keep what the backward pass needs; that
    of the others is computed again when their turn comes, which costs them a second forward pass.
    """

    def __init__(self, model: nn.Module, size: int) -> None:
        self.model, self.size = model, size

    def __call__(self, images: Images) -> Float[Tensor, "batch classes"]:
        """The logits; differentiable with respect to the images, not to the parameters."""
        if len(images) <= self.size:
            return self.model(images)
        # The last graph is the first to be walked and freed: never do two chunks hold theirs.
        early, last = images[: -self.size], images[-self.size :]
        logits = [cast(Tensor, _Recomputed.apply(chunk, self.model)) for chunk in early.split(self.size)]
        return torch.cat([*logits, self.model(last)])


class _Recomputed(torch.autograd.Function):
    """A network that keeps nothing but its input: the backward pass computes the logits again."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, model: nn.Module) -> Tensor:
        ctx.model = model
        ctx.save_for_backward(images)
        return model(images)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        images = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            logits = ctx.model(images)
        return torch.autograd.grad(logits, images, gradients)[0], None


def _check_inside(name: str, adversarial: Images, images: Images, epsilon: float) -> None:
    """The attacks clamp to x - epsilon and x + epsilon as rounded, so the distance may exceed epsilon by one rounding."""
    distance = float((adversarial - images).abs().max())
    assert distance <= epsilon + torch.finfo(images.dtype).eps, f"{name} left the ball of {epsilon}: {distance}"
    low, high = float(adversarial.min()), float(adversarial.max())
    assert low >= 0 and high <= 1, f"{name} left [0, 1]: [{low}, {high}]"


class _Meter:
    """The network as the attacks see it: counts passes, and turns them into images of progress.

    Each member is allotted a part of the images that is proportional to its cost. Images that break early end a member
    before all its passes are made; the rest of its part is then added at once.
    """

    def __init__(
        self, network: Network, ensemble: Sequence[Member], images: int, advance: Callable[[float, str], None]
    ) -> None:
        self.network, self.images, self.advance = network, images, advance
        self.total_cost = sum(member.cost for member in ensemble)
        self.note, self.left, self.per_pass = "", 0.0, 0.0

    def __call__(self, images: Tensor) -> Tensor:
        step = min(self.per_pass * len(images), self.left)
        self.left -= step
        self.advance(step, self.note)
        return self.network(images)

    def part(self, member: Member) -> float:
        """The images of progress that a member stands for."""
        return self.images * member.cost / self.total_cost

    @contextmanager
    def measures(self, member: Member, survivors: int) -> Iterator[None]:
        """While it lasts, passes belong to that member, which attacks that many images."""
        self.note, self.left = member.name, self.part(member)
        self.per_pass = self.left / (member.passes * survivors) if survivors else 0.0
        yield
        self.advance(self.left, self.note)
        self.left = 0.0
