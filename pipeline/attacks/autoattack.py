"""Adapter to the published attacks of AutoAttack (Croce and Hein 2020), as distributed in the package pyautoattack.

The attacks are the package's; the order, the survivors and the seeds are those of its own driver, attack for attack and
batch for batch, without the driver's printing. What is added: the budget is settable as a whole (the driver fixes APGD's
step size schedule before its number of iterations can be changed), progress, and a check of every image that comes back.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from jaxtyping import Int64
from pyautoattack import checks
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from pipeline.attacks.pgd import Images
from pipeline.models.normalization import check_images

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
        seed: every attack starts from it anew on every batch, as in the package's driver.
        num_classes: K. With K < 4 there is no APGD-T, whose loss (targeted DLR) needs four classes.
        iterations: of APGD-CE, APGD-T and FAB-T (published: 100).
        target_classes: of APGD-T and FAB-T, at most K - 1 (published: 9).
        queries: of Square (published: 5000).
    """
    targets = min(target_classes, num_classes - 1)
    steps = iterations + 1
    apgd = {"n_iter": iterations, "n_restarts": 1, "eps": epsilon, "norm": "Linf", "seed": seed, "rho": 0.75}
    fab = {"n_iter": iterations, "n_restarts": 1, "eps": epsilon, "norm": "Linf", "seed": seed, "targeted": True}
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
        square(epsilon=epsilon, seed=seed, queries=queries),
    ]
    return [member for member in members if member.name != APGD_T or num_classes >= _TARGETED_DLR_CLASSES]


def square(*, epsilon: float, seed: int, queries: int) -> Member:
    """Square as in AutoAttack (Andriushchenko et al. 2020): p = 0.8, margin loss, one restart, no rescaled schedule."""
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
    return Member(SQUARE, build, queries, queries)


def attack_survivors(
    ensemble: Sequence[Member],
    model: nn.Module,
    images: Images,
    labels: Int64[Tensor, " batch"],
    predictions: Int64[Tensor, " batch"],
    *,
    epsilon: float,
    batch_size: int,
    advance: Callable[[float, str], None],
    remark: Callable[[str], None],
) -> Int64[Tensor, " batch"]:
    """Runs the attacks in order, each on the images that are still classified correctly.

    Results depend on the batch size: the package draws its noise for a batch as a whole.

    Args:
        ensemble: from `standard` or `square`.
        model: frozen and in eval mode, see `pgd.attacking`.
        images: in [0, 1]; contiguous, because the package flattens them without copying.
        labels: the true classes.
        predictions: of the images as they are; wrong ones are not attacked.
        epsilon: radius of the ensemble; every image that comes back is checked against it.
        batch_size: images attacked at once.
        advance: told of progress; the calls add up to the number of images.
        remark: told of the package's warnings, such as that the model seems randomised.

    Returns:
        The prediction under the first attack that breaks an image, else the given one.

    Raises:
        UserError: the images are not in [0, 1].
    """
    check_images(images)
    predictions = predictions.clone()
    meter = _Meter(model, ensemble, len(images), advance)
    accuracies = {"clean": _accuracy(predictions, labels)}
    with torch.no_grad(), _random_state_kept(images.device):
        with _warnings_reported(remark):
            checks.check_randomized(model, images[:batch_size], labels[:batch_size])
            checks.check_range_output(model, images[:batch_size])
        for member in ensemble:
            survivors = (predictions == labels).nonzero().flatten()
            attack = member.build(meter)
            with _warnings_reported(remark), meter.measures(member, len(survivors)):
                for batch in survivors.split(batch_size) if len(survivors) else ():
                    adversarial = attack.perturb(images[batch], labels[batch])
                    _check_inside(member.name, adversarial, images[batch], epsilon)
                    predictions[batch] = model(adversarial).argmax(dim=1)
            accuracies[member.name] = _accuracy(predictions, labels)
        with _warnings_reported(remark):
            checks.check_square_sr(accuracies)
    return predictions


def _accuracy(predictions: Tensor, labels: Tensor) -> float:
    return float((predictions == labels).double().mean())


def _check_inside(name: str, adversarial: Images, images: Images, epsilon: float) -> None:
    """The attacks clamp to x - epsilon and x + epsilon as rounded, so the distance may exceed epsilon by one rounding."""
    distance = float((adversarial - images).abs().max())
    assert distance <= epsilon + torch.finfo(images.dtype).eps, f"{name} left the ball of {epsilon}: {distance}"
    low, high = float(adversarial.min()), float(adversarial.max())
    assert low >= 0 and high <= 1, f"{name} left [0, 1]: [{low}, {high}]"


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    """The package seeds torch's global streams; they come back as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def _warnings_reported(remark: Callable[[str], None]) -> Iterator[None]:
    """Passes on each kind of warning once; they differ in counts only."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    kinds = {"".join(filter(str.isalpha, str(warning.message))): str(warning.message) for warning in caught}
    for text in kinds.values():
        remark(f"AutoAttack warns: {text}")


class _Meter:
    """The network as the attacks see it: counts passes, and turns them into images of progress.

    Each member is allotted a part of the images that is proportional to its cost. Images that break early end a member
    before all its passes are made; the rest of its part is then added at once.
    """

    def __init__(
        self, model: nn.Module, ensemble: Sequence[Member], images: int, advance: Callable[[float, str], None]
    ) -> None:
        self.model, self.images, self.advance = model, images, advance
        self.total_cost = sum(member.cost for member in ensemble)
        self.note, self.left, self.per_pass = "", 0.0, 0.0

    def __call__(self, images: Tensor) -> Tensor:
        step = min(self.per_pass * len(images), self.left)
        self.left -= step
        self.advance(step, self.note)
        return self.model(images)

    @contextmanager
    def measures(self, member: Member, survivors: int) -> Iterator[None]:
        """While it lasts, passes belong to that member, which attacks that many images."""
        self.note, self.left = member.name, self.images * member.cost / self.total_cost
        self.per_pass = self.left / (member.passes * survivors) if survivors else 0.0
        yield
        self.advance(self.left, self.note)
        self.left = 0.0
