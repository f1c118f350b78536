"""Our evaluations against plain calls of the packages that others use: same outcome for every image, and the time.

    python -m benchmarks.evaluate                              a small budget, about ten minutes on two CPU cores
    python -m benchmarks.evaluate --data data/cifar10 --weights runs/cifar10/s0/at/last.safetensors --images 1000
                                                               the weights of a training (a PreActResNet-18 of `--width`)

PGD is compared with torchattacks, which asks for an old version of requests and is therefore no dependency. Where it is
absent, that part is left out; install it beside the others with `pip install --no-deps torchattacks`.

Ends with an error if outcomes differ in more than one per cent of the images.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from fairat import seeds
from fairat.device import choose_device
from fairat.evaluation import evaluate_model
from fairat.evaluation.protocol import EvaluationSet, in_unit_range, predict
from fairat.settings.evaluations import AutoAttackEvaluation, PgdEvaluation, SquareEvaluation
from fairat.training.checkpoint import load_weights
from pyautoattack import AutoAttack
from pyautoattack.autoattack import AttackName
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from torch import Tensor, nn

from benchmarks.common import (
    Report,
    images_of,
    interleaved,
    matrix_rate,
    multiplications,
    ratios,
    seconds,
    trained,
)

DIFFERING = 0.01
"""The share of images whose outcome may differ: sums in another order turn a few gradients' signs."""
SEED, STEP_SIZE = 0, 2 / 255


@dataclass(frozen=True)
class Stand:
    """What is attacked: the same weights for everybody.

    Attributes:
        model: channels last and frozen, as the evaluation stage has it.
        test: the images.
        epsilon: radius, in units of [0, 1] images.
        batch: images attacked at once.
    """

    model: nn.Module
    test: EvaluationSet
    epsilon: float
    batch: int

    @property
    def images(self) -> Tensor:
        """In [0, 1]."""
        return in_unit_range(self.test.images)

    def plain(self, *, channels_last: bool = False, frozen: bool = False) -> nn.Module:
        """The network as a script has it after loading: contiguous weights that require gradients; or with a lever."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return copy.deepcopy(self.model).to(memory_format=layout).requires_grad_(not frozen).eval()

    def robust(self, adversarial_predictions: Tensor) -> Tensor:
        """Which images are classified correctly under the attack."""
        return adversarial_predictions.cpu() == self.test.labels.cpu()


Attack = Callable[[], Tensor]
"""Gives which images withstood."""


def stand(
    data: Path | None, weights: Path | None, width: int, images: int, epsilon: float, device: torch.device
) -> Stand:
    """Test images and the network, which is trained for a moment if no weights are given."""
    split = images_of(data, "test", device)
    if weights is None:
        model = trained(images_of(data, "train", device), width, 32, 40)
    else:
        model = trained(split, width, 2, 0)
        load_weights(weights, model)
    model = model.to(memory_format=torch.channels_last).eval().requires_grad_(False)
    test = EvaluationSet(split.images, split.labels, split.class_names).part(images)[0]
    return Stand(model, test, epsilon, min(images, 512))


def ours(at: Stand, evaluation: Literal["pgd", "autoattack", "square"], settings: Any, attack: str) -> Attack:
    """The pipeline's evaluation."""

    def work() -> Tensor:
        rows = evaluate_model(evaluation, at.model, at.test, settings, epsilon=at.epsilon, seed=SEED)
        blocks = rows.select(["attack", "adversarial"]).to_pylist()
        return at.robust(torch.tensor([row["adversarial"] for row in blocks if row["attack"] == attack]))

    return work


def with_torchattacks(at: Stand, model: nn.Module, steps: tuple[int, ...]) -> Attack:
    """Clean predictions, and predictions after PGD of each number of steps."""
    import torchattacks  # pyright: ignore[reportMissingImports]

    def work() -> Tensor:
        predict(model, at.test.images, at.batch)
        adversarial = torch.empty(0)
        for number in steps:
            attack = torchattacks.PGD(model, eps=at.epsilon, alpha=STEP_SIZE, steps=number)
            # The seed of ours: on the CPU the starts are then the same.
            torch.manual_seed(seeds.derived(SEED, "evaluation.pgd", 0))
            batches = zip(at.images.split(at.batch), at.test.labels.split(at.batch), strict=True)
            with torch.enable_grad():
                found = [attack(images, labels) for images, labels in batches]
            with torch.no_grad():
                adversarial = torch.cat([model(images).argmax(dim=1) for images in found])
        return at.robust(adversarial)

    return work


def with_autoattack(at: Stand, model: nn.Module, settings: Any, attacks: list[AttackName], purpose: str) -> Attack:
    """The driver of pyautoattack, with our budget, our blocks and their seeds."""
    size = settings.block_size

    def work() -> Tensor:
        found = []
        for number, images in enumerate(at.images.split(size)):
            seed = seeds.derived(SEED, purpose, number)
            driver = AutoAttack(
                model, eps=at.epsilon, seed=seed, device=images.device, version="custom", attacks=attacks
            )
            shrink(driver, model, settings, seed)
            labels = at.test.labels[number * size : (number + 1) * size]
            found.append(driver.run_standard_evaluation(images, labels, batch_size=size)[1])
        return at.robust(torch.cat(found))

    return work


def shrink(driver: AutoAttack, model: nn.Module, settings: Any, seed: int) -> None:
    """Gives the driver a budget; APGD fixes its schedule when it is made."""
    driver.square.n_queries = settings.queries
    if isinstance(settings, AutoAttackEvaluation):
        apgd = {"n_iter": settings.iterations, "n_restarts": 1, "eps": driver.epsilon, "seed": seed}
        driver.apgd = APGDAttack(model, **apgd)
        driver.apgd_targeted = APGDAttack_targeted(model, **apgd, n_target_classes=settings.target_classes)
        driver.fab.n_iter, driver.fab.n_restarts = settings.iterations, 1
        driver.fab.n_target_classes = settings.target_classes


def compared(title: str, candidates: dict[str, Attack], rounds: int, at: Stand, report: Report) -> bool:
    """Times and outcomes of all; the first is ours, the second plain. Whether all agree with ours."""
    outcomes: dict[str, Tensor] = {}

    def kept(name: str, work: Attack) -> Callable[[], None]:
        return lambda: outcomes.update({name: work()})

    works = {name: kept(name, work) for name, work in candidates.items()}
    times = interleaved(works, rounds, at.images.device)
    mine, *others = candidates
    rows = [
        [
            name,
            seconds(times[name]),
            "" if name == mine else ratios(times[name], times[mine], "processor"),
            "" if name == mine else ratios(times[name], times[mine], "wall"),
            f"{int(outcomes[name].sum())}",
            f"{int((outcomes[name] != outcomes[mine]).sum())}",
        ]
        for name in (mine, *others)
    ]
    report.say(f"{title}, {len(at.test)} images:")
    report.table(["", "s", "its time / ours", "on the clock", "robust images", "other outcome than ours"], rows)
    return all(float((outcomes[name] != outcomes[mine]).double().mean()) <= DIFFERING for name in others)


def pgd(at: Stand, rounds: int, report: Report) -> bool:
    """PGD-20 alone, and PGD-10 with PGD-20 as the tables need them."""
    if find_spec("torchattacks") is None:
        report.say("PGD is left out: there is no torchattacks. Install it with `pip install --no-deps torchattacks`.")
        return True
    right, plain, last = True, at.plain(), at.plain(channels_last=True)
    for steps in ((20,), (10, 20)):
        settings = PgdEvaluation(steps=steps, step_size=STEP_SIZE, batch_size=at.batch)
        candidates = {
            "ours": ours(at, "pgd", settings, "pgd20"),
            "torchattacks": with_torchattacks(at, plain, steps),
            "torchattacks, channels last": with_torchattacks(at, last, steps),
        }
        title = " and ".join(f"PGD-{number}" for number in steps)
        right &= compared(f"{title}, with clean predictions", candidates, rounds, at, report)
    return right


def autoattack(at: Stand, settings: AutoAttackEvaluation, rounds: int, report: Report) -> bool:
    """The standard ensemble; with each lever alone on the plain driver."""
    attacks: list[AttackName] = ["apgd-ce", "apgd-t", "fab-t", "square"]

    def plain(**levers: bool) -> Attack:
        return with_autoattack(at, at.plain(**levers), settings, attacks, "evaluation.autoattack")

    candidates = {
        "ours": ours(at, "autoattack", settings, "autoattack"),
        "pyautoattack": plain(),
        "pyautoattack, channels last": plain(channels_last=True),
        "pyautoattack, parameters frozen": plain(frozen=True),
    }
    budget = f"{settings.iterations} iterations, {settings.target_classes} targets, {settings.queries} queries"
    return compared(f"AutoAttack ({budget})", candidates, rounds, at, report)


def square(at: Stand, settings: SquareEvaluation, rounds: int, report: Report) -> bool:
    """Square alone."""
    plain = with_autoattack(at, at.plain(), settings, ["square"], "evaluation.square")
    candidates = {"ours": ours(at, "square", settings, "square"), "pyautoattack": plain}
    return compared(f"Square ({settings.queries} queries)", candidates, rounds, at, report)


def run(
    report: Report,
    *,
    data: Path | None,
    weights: Path | None,
    width: int,
    images: int | None,
    epsilon: float | None,
    rounds: int,
    full: bool,
) -> bool:
    """All parts; whether the outcomes agree. The radius is in 255ths."""
    device = choose_device()
    cuda = device.type == "cuda"
    # A network that was never attacked withstands little: a radius at which some images do, and others do not.
    epsilon = (epsilon or (2 if weights is None else 8)) / 255
    at = stand(data, weights, width, images or (512 if cuda else 64), epsilon, device)
    rate, work = matrix_rate(device), 2 * multiplications(at.model)
    report.head("Evaluations", cuda=cuda)
    report.say(
        f"PreActResNet-18 of width {width}, images: {data or 'digits, enlarged'}, radius {255 * epsilon:g}/255. PGD-20 makes "
        f"42 passes: at the {rate / 1e9:,.0f} GFLOP/s of matrix products {42 * work * len(at.test) / rate:.3g} s.\n"
    )
    budget = {} if full else {"iterations": 5, "target_classes": 2, "queries": 50}
    settings = AutoAttackEvaluation(**budget, block_size=at.batch, batch_size=at.batch)
    right = pgd(at, rounds, report)
    right &= autoattack(at, settings, rounds, report)
    # Of few queries the two passes that check what Square found would be a share that they are not of the published 5,000.
    queries = settings.queries if full else 200
    settings = SquareEvaluation(queries=queries, block_size=at.batch, batch_size=at.batch)
    return square(at, settings, rounds, report) and right


def main(
    data: Annotated[Path | None, typer.Option(help="a prepared data set; digits by default")] = None,
    weights: Annotated[Path | None, typer.Option(help="weights of a training on that data")] = None,
    width: Annotated[int, typer.Option(help="of PreActResNet-18; 64 is the published one")] = 64,
    images: Annotated[int | None, typer.Option(help="64 on a CPU, 512 on CUDA by default")] = None,
    epsilon: Annotated[float | None, typer.Option(help="radius in 255ths; 8, without weights 2")] = None,
    rounds: Annotated[int, typer.Option(help="timed rounds")] = 2,
    full: Annotated[bool, typer.Option("--full", help="AutoAttack's and Square's published budget")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads")] = None,
) -> None:
    """Compares our evaluations with plain calls of torchattacks and pyautoattack."""
    if threads:
        torch.set_num_threads(threads)
    report = Report()
    right = run(
        report, data=data, weights=weights, width=width, images=images, epsilon=epsilon, rounds=rounds, full=full
    )
    if not right:
        raise SystemExit(f"Outcomes differ in more than {DIFFERING:.0%} of the images: see the tables above.")


if __name__ == "__main__":
    typer.run(main)
