"""Our training step against a straightforward one: same results, and how much each lever gives.

    python -m benchmarks.train_step                     everything, a quarter of an hour on two CPU cores
    python -m benchmarks.train_step --data data/cifar10 with images that `dvc repro prepare@cifar10` made
    python -m benchmarks.train_step --compile           also torch.compile and, on CUDA, CUDA graphs (minutes more)
    python -m benchmarks.train_step --together 4        also four trainings at once

Ends with an error if the two steps disagree.
"""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from fairat import seeds
from fairat.attacks.pgd import initial_perturbation
from fairat.data.augmentation import AugmentedImages
from fairat.device import choose_device
from fairat.methods.history import ClassHistory, EpochRecord
from fairat.methods.method import Method
from fairat.methods.parts import Batch, Objective, Terms, Trace
from fairat.methods.sampling import draw
from fairat.settings.recipe import Augmentation, Precision, Recipe
from fairat.settings.threat import Threat
from fairat.training.optimizers import optimizer_of
from fairat.training.precision import multiplying
from fairat.training.step import EpochTally, MinimaxStep, Policy, decide
from torch import Tensor, nn

from benchmarks.common import (
    Report,
    images_of,
    interleaved,
    matrix_rate,
    multiplications,
    network,
    ratios,
    seconds,
    trained,
)

THREAT = Threat(epsilon=8 / 255, step_size=2 / 255, num_steps=10)
METHODS = {
    "AT": Method.model_validate({"label": "AT", "objective": "at"}),
    "TRADES": Method.model_validate({"label": "TRADES", "objective": "trades"}),
    "FAT": Method.model_validate({"label": "FAT", "objective": "fat"}),
    "FAIR-TAT": Method.model_validate(
        {
            "label": "FAIR-TAT",
            "objective": "at",
            "targets": "cfps",
            "margin": {"kind": "robust_accuracy", "begin_epoch": 1},
        }
    ),
}

MOVED_ELSEWHERE, RELATIVE_LOSS, RELATIVE_STATISTICS = 0.03, 3e-3, 1e-3
"""Float32: the share of pixels whose perturbation may differ, and relative differences of loss and batch-norm statistics.

Gradients near zero change sign with the order of a summation, so a share of the pixels goes the other way.
"""
EXACT = 1e-6
"""The same three in float64, where such ties do not happen."""


@dataclass(frozen=True)
class Levers:
    """What separates our step from the straightforward one. All off is the reference, all on does what ours does.

    Attributes:
        input_gradient: inside the attack, only the gradient with respect to the images, parameters frozen.
        vectorized: radii and counts without a loop over images.
        no_sync: nothing is read from the device until the epoch ends.
        channels_last: memory format of the network and the images.
    """

    input_gradient: bool = False
    vectorized: bool = False
    no_sync: bool = False
    channels_last: bool = False


@dataclass(frozen=True)
class Found:
    """What a step leaves behind to be compared."""

    perturbation: Tensor
    loss: float
    statistics: Tensor


class ReferenceStep:
    """One training step as the public code of CFA and FAIR-TAT writes it, all its forwards included, with levers to pull.

    A radius per image found in a loop, `loss.backward()` inside the attack, predictions counted in Python.

    Args:
        model: in train mode.
        optimizer: over its parameters.
        name: AT, TRADES, FAT or FAIR-TAT.
        policy: radii and targets of the epoch.
        levers: which improvements it has.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, name: str, policy: Policy, levers: Levers
    ) -> None:
        self.model, self.optimizer, self.name, self.policy, self.levers = model, optimizer, name, policy, levers
        classes = len(policy.epsilon)
        self.robust = [[0] * classes for _ in range(classes)]
        self.clean = [[0] * classes for _ in range(classes)]
        self.tally = EpochTally(classes, 1, policy.epsilon.device, soft=False)
        self.loss_of_epoch = 0.0
        self.perturbation, self.loss = torch.empty(0), torch.empty(0)

    def __call__(self, images: Tensor, labels: Tensor, targets: Tensor | None, start: Tensor) -> None:
        """Trains on one batch; `start` is the attack's initial perturbation."""
        layout = torch.channels_last if self.levers.channels_last else torch.contiguous_format
        images, start = images.contiguous(memory_format=layout), start.contiguous(memory_format=layout)
        radius = self.radii(labels, images)
        adversarial = self.attack(images, labels, targets, start, radius)
        if self.name == "TRADES":
            clean, logits, again = self.model(images), self.model(adversarial), self.model(images)
            self.loss = (F.cross_entropy(clean, labels) + 6 * divergence(again, logits)) / 7
        else:
            logits = self.model(adversarial)
            self.loss = F.cross_entropy(logits, labels)
        if self.name == "FAIR-TAT":
            with torch.no_grad():
                self.model(images)
        self.optimizer.zero_grad()
        self.loss.backward()
        self.optimizer.step()
        self.perturbation = adversarial - images
        self.count(self.robust, self.tally.robust, labels, logits)
        with torch.no_grad():
            self.count(self.clean, self.tally.clean, labels, self.model(images))
        if not self.levers.no_sync:
            self.loss_of_epoch += self.loss.item() * len(labels)

    def radii(self, labels: Tensor, images: Tensor) -> Tensor:
        """The radius of every pixel, or of every image."""
        if self.levers.vectorized:
            return self.policy.epsilon[labels].view(-1, 1, 1, 1)
        radius = torch.zeros_like(images)
        for i in range(len(labels)):
            radius[i] = self.policy.epsilon[int(labels[i].item())]
        return radius

    def attack(self, images: Tensor, labels: Tensor, targets: Tensor | None, start: Tensor, radius: Tensor) -> Tensor:
        """Ten steps; BN mode and loss are the method's."""
        model, frozen = self.model, self.levers.input_gradient
        model.train(self.name != "TRADES")
        with torch.no_grad():
            clean = F.softmax(model(images), dim=1) if self.name == "TRADES" else None
        for parameter in model.parameters() if frozen else ():
            parameter.requires_grad_(False)
        budget: Any = None
        delta = start
        for _ in range(THREAT.num_steps):
            delta = delta.detach().requires_grad_()
            logits = model(images + delta)
            active = None
            if self.name == "FAT":
                active, budget = self.friendly(logits, labels, budget)
                if not active.any():
                    break
            if clean is None:
                loss = F.cross_entropy(logits, labels if targets is None else targets, reduction="sum")
            else:
                loss = F.kl_div(F.log_softmax(logits, dim=1), clean, reduction="sum")
            gradient = self.gradient(loss, delta)
            moved = delta.detach() + (1 if targets is None else -1) * THREAT.step_size * gradient.sign()
            moved = torch.clamp(torch.clamp(moved, -radius, radius), -images, 1 - images)
            delta = moved if active is None else torch.where(active.view(-1, 1, 1, 1), moved, delta.detach())
        else:
            if self.name == "FAT":  # CFA's loop looks at the images once more
                with torch.no_grad():
                    model(images + delta)
        for parameter in model.parameters() if frozen else ():
            parameter.requires_grad_(True)
        model.train()
        return (images + delta).detach()

    def gradient(self, loss: Tensor, delta: Tensor) -> Tensor:
        """The gradient of the perturbation; without the lever also those of all parameters, which nobody reads."""
        if self.levers.input_gradient:
            return torch.autograd.grad(loss, delta)[0]
        loss.backward()
        assert delta.grad is not None
        return delta.grad.detach()

    def friendly(self, logits: Tensor, labels: Tensor, budget: Any) -> tuple[Tensor, Any]:
        """CFA's early stop: which images step, and how many steps after success each has left."""
        if self.levers.vectorized:
            budget = torch.full_like(labels, 3) if budget is None else budget
            active = budget > 0
            return active, budget - (active & (logits.argmax(dim=1) != labels)).long()
        budget = [3] * len(labels) if budget is None else list(budget)
        predictions, active = logits.argmax(dim=1), []
        for i in range(len(labels)):
            active.append(budget[i] > 0)
            if budget[i] > 0 and predictions[i].item() != labels[i].item():
                budget[i] -= 1
        return torch.tensor(active, device=labels.device), budget

    def count(self, listed: list[list[int]], counted: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Adds the predictions of a batch to a confusion matrix."""
        if self.levers.vectorized:
            self.tally.count(counted, labels, logits)
            if not self.levers.no_sync:
                counted.sum().item()
            return
        predictions = logits.argmax(dim=1)
        for i in range(len(labels)):
            listed[int(labels[i].item())][int(predictions[i].item())] += 1


class Watched:
    """An objective that remembers the last trace."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.trace: Trace | None = None

    @property
    def has_robust_term(self) -> bool:
        """That of the objective."""
        return self.objective.has_robust_term

    def attack(self, model: nn.Module, batch: Batch) -> Trace:
        """The objective's."""
        self.trace = self.objective.attack(model, batch)
        return self.trace

    def terms(self, model: nn.Module, batch: Batch, trace: Trace) -> Terms:
        """The objective's."""
        return self.objective.terms(model, batch, trace)


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    """KL(p(x) || p(x')), the mean over the batch."""
    return F.kl_div(F.log_softmax(other, dim=1), F.softmax(logits, dim=1), reduction="batchmean")


class Stand:
    """A network, a batch and a method, from which both steps start alike."""

    def __init__(self, name: str, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.name, self.method, self.model, self.images, self.labels = name, METHODS[name], model, images, labels
        counts = torch.full((10, 10), 5) + torch.diag(torch.arange(10) * 10)
        history = ClassHistory(10).extended(EpochRecord(0, {"train.robust": counts}))
        self.policy = decide(self.method, history, THREAT, images.device)

    def ours(
        self,
        *,
        precision: Precision = "tf32",
        optimizer: Callable[[nn.Module], torch.optim.Optimizer] = lambda model: optimizer_of(
            Recipe(learning_rate=0.01), model
        ),
        wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    ) -> tuple[Callable[[], None], Callable[[], Found]]:
        """The pipeline's step, and what it left behind."""
        model = copy.deepcopy(self.model).to(memory_format=torch.channels_last).train()
        watched = Watched(self.method.objective)
        step = MinimaxStep(
            wrap(model),
            optimizer(model),
            self.method.model_copy(update={"objective": watched}),
            THREAT,
            clean_pass=self.method.clean_pass,
            precision=precision,
        )
        tally = EpochTally(10, 1, self.images.device, soft=False)

        def work() -> None:
            streams = {
                f"{purpose}_stream": seeds.stream(0, purpose, 0, self.images.device) for purpose in ("attack", "target")
            }
            step(self.images, self.labels, self.policy, tally, number=0, epoch=0, **streams)

        def found() -> Found:
            assert watched.trace is not None
            return Found(watched.trace.adversarial - self.images, float(tally.losses[0]), statistics_of(model))

        return work, found

    def reference(self, levers: Levers = Levers()) -> tuple[Callable[[], None], Callable[[], Found]]:
        """The straightforward step with the same random numbers, and what it left behind."""
        model = copy.deepcopy(self.model).train()
        model = model.to(memory_format=torch.channels_last if levers.channels_last else torch.contiguous_format)
        step = ReferenceStep(model, plain_optimizer(model), self.name, self.policy, levers)
        kind = "gauss" if self.name == "TRADES" else "uniform"
        attack_stream, target_stream = (seeds.stream(0, name, 0, self.images.device) for name in ("attack", "target"))
        start = initial_perturbation(kind, self.images, self.policy.epsilon[self.labels], attack_stream)
        table = self.policy.targets
        targets = None if table is None else draw(table, self.labels, target_stream)
        layout = torch.channels_last if levers.channels_last else torch.contiguous_format
        images, start = (given.contiguous(memory_format=layout) for given in (self.images, start))

        def work() -> None:
            step(images, self.labels, targets, start)

        return work, lambda: Found(step.perturbation, step.loss.item(), statistics_of(model))


def plain_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """That of recipe R200 as scripts make it."""
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)


def statistics_of(model: nn.Module) -> Tensor:
    """All running means and variances, one after the other."""
    found = [buffer.flatten() for name, buffer in model.named_buffers() if "running" in name]
    return torch.cat(found).double()


def differences(one: Found, other: Found) -> tuple[float, float, float]:
    """Share of pixels perturbed differently; relative differences of loss and of running statistics."""
    apart = ((one.perturbation - other.perturbation).abs() > 1e-3 * THREAT.step_size).double().mean()
    statistics = (one.statistics - other.statistics).norm() / other.statistics.norm()
    return float(apart), abs(one.loss - other.loss) / abs(other.loss), float(statistics)


def prepared(width: int, batch: int, data: Path | None, device: torch.device, steps: int) -> Stand:
    """A network after some clean training, so that attacks meet images that are classified correctly, and a batch."""
    split = images_of(data, "train", device)
    model = trained(split, width, batch, steps)
    stream = seeds.stream(0, "order", 0, device)
    indices = torch.randint(len(split), (batch,), generator=stream, device=device)
    images = AugmentedImages(split.images, Augmentation()).batch(indices, stream)
    return Stand("AT", model, images, split.labels[indices])


def agreement(stand: Stand, tolerances: tuple[float, float, float], report: Report, title: str) -> bool:
    """Whether one step from the same state leaves the same behind, for every method."""
    report.say(f"{title}: largest differences allowed {', '.join(f'{value:g}' for value in tolerances)}.")
    right = True

    def rows() -> Iterator[list[str]]:
        nonlocal right
        for name in METHODS:
            at = Stand(name, stand.model, stand.images, stand.labels)
            found = []
            for work, result in (at.ours(), at.reference()):
                work()
                found.append(result())
            apart = differences(*found)
            agrees = all(value <= limit for value, limit in zip(apart, tolerances, strict=True))
            right &= agrees
            yield [name, *(f"{value:.1e}" for value in apart), "yes" if agrees else "**no**"]

    report.table(["method", "pixels perturbed differently", "loss", "batch-norm statistics", "agree"], rows())
    return right


def exact_stand(stand: Stand, device: torch.device) -> Stand:
    """The same in float64, with a narrow network."""
    model = network(8, 10).to(device, torch.float64)
    return Stand("AT", model, stand.images[:8].double(), stand.labels[:8])


def compared(stand: Stand, rounds: int, report: Report) -> None:
    """Times of every method; the reference has no lever, ours is the pipeline's step."""
    device, count = stand.images.device, len(stand.labels)
    rate, work = matrix_rate(device), 2 * multiplications(stand.model) * count
    report.say(
        f"{count} images a step, {rounds} rounds. Forward pass {work / 1e9:.1f} GFLOP; float32 matrix products run at "
        f"{rate / 1e9:,.0f} GFLOP per second of processor time. `bound` is the least time that the passes of our step need at "
        "that rate (a backward pass to images or to parameters counts as one pass)."
    )

    def rows() -> Iterator[list[str]]:
        for name in METHODS:
            at = Stand(name, stand.model, stand.images, stand.labels)
            passes = counted_passes(at)
            bound = passes * work / rate
            candidates = {"reference": at.reference(), "ours": at.ours(), "bfloat16": at.ours(precision="bfloat16")}
            times = interleaved({one: work for one, (work, _) in candidates.items()}, rounds + 1, device)
            theirs, mine, lower = (times[one][1:] for one in candidates)
            yield [
                name,
                seconds(theirs),
                seconds(mine),
                ratios(theirs, mine, "processor"),
                ratios(theirs, mine, "wall"),
                f"{passes} passes, {bound:.3g}",
                f"{bound / float(seconds(mine)):.0%}",
                ratios(theirs, lower, "processor"),
            ]

    header = ["method", "reference, s", "ours, s", "ratio", "ratio on the clock", "bound, s", "of the bound reached"]
    header.append("ratio with `precision: bfloat16`")
    report.table(header, rows())


def counted_passes(stand: Stand) -> int:
    """How many forward passes our step is worth: a forward counts 1, a backward 1 to images and 1 to parameters."""
    forwards = 0

    def count(*_: object) -> None:
        nonlocal forwards
        forwards += 1

    model = copy.deepcopy(stand.model)
    model.register_forward_hook(count)
    step, _ = Stand(stand.name, model, stand.images, stand.labels).ours()
    step()
    trades = stand.name == "TRADES"
    outer, clean = 1 + trades, {"after_step": 1, "before_and_after": 2}[stand.method.clean_pass]
    checks = forwards - outer - trades - clean  # less p(x) for the attack, and the clean passes
    # FAT ends with a check that is not followed by a step.
    steps = checks - (checks < THREAT.num_steps)
    return forwards + steps + 2 * outer


def decomposed(stand: Stand, rounds: int, report: Report) -> None:
    """FAIR-TAT with every lever alone on, and alone off."""
    at, device = Stand("FAIR-TAT", stand.model, stand.images, stand.labels), stand.images.device
    all_on = Levers(**dict.fromkeys(vars(Levers()), True))
    candidates = {"none": at.reference()[0], "all": at.reference(all_on)[0], "ours": at.ours()[0]}
    for lever in vars(all_on):
        candidates[f"on {lever}"] = at.reference(replace(Levers(), **{lever: True}))[0]
        candidates[f"off {lever}"] = at.reference(replace(all_on, **{lever: False}))[0]
    times = {name: found[1:] for name, found in interleaved(candidates, rounds + 1, device).items()}
    report.say(
        "Levers, FAIR-TAT: time of the reference over that with the lever alone; time without it alone over that of all."
    )
    none, every = times["none"], times["all"]
    rows = [
        [lever, ratios(none, times[f"on {lever}"], "processor"), ratios(times[f"off {lever}"], every, "processor")]
        for lever in vars(all_on)
    ]
    rows.append(["all together", ratios(none, every, "processor"), ""])
    rows.append(["the pipeline's step", ratios(none, times["ours"], "processor"), ""])
    report.table(["lever", "on alone", "off alone"], rows)


def further(stand: Stand, rounds: int, report: Report, *, compiled: bool) -> None:
    """What the pipeline does not do by default, and what it does that the decomposition leaves out."""
    at, device = Stand("FAIR-TAT", stand.model, stand.images, stand.labels), stand.images.device
    cuda = device.type == "cuda"
    variants: dict[str, dict[str, Any]] = {
        "`precision: bfloat16`, in the attack": {"precision": "bfloat16"},
        "without the fused optimizer": {"optimizer": plain_optimizer},
    }
    if compiled:
        variants["torch.compile"] = {"wrap": partial(torch.compile, mode="default")}
        if cuda:
            variants["CUDA graphs (torch.compile, reduce-overhead)"] = {
                "wrap": partial(torch.compile, mode="reduce-overhead")
            }
    found, results = {"as it is": at.ours()}, {}
    found |= {name: at.ours(**changes) for name, changes in variants.items()}
    candidates = {name: work for name, (work, _) in found.items()}
    for name, (work, result) in found.items():
        work()
        results[name] = result()
    if cuda:
        candidates["`precision: float32`, no TF32"] = partial(exactly, at.ours()[0])
    times = interleaved(candidates, rounds, device)
    rows = []
    for name in list(candidates)[1:]:
        apart = differences(results[name], results["as it is"]) if name in results else None
        changed = [f"{value:.1e}" for value in apart] if apart else ["", "", ""]
        rows.append([name, ratios(times["as it is"], times[name], "processor"), *changed])
    report.say("On top of the pipeline's step, FAIR-TAT: gain, and how far one step's results move.")
    report.table(["lever", "gain", "pixels perturbed differently", "loss", "batch-norm statistics"], rows)
    if not cuda:
        report.say("Skipped, for they need CUDA: TF32, CUDA graphs.")
    if not compiled:
        report.say("Skipped, for it takes minutes to compile: torch.compile (`--compile`).")


def exactly(work: Callable[[], None]) -> None:
    """Runs without TF32."""
    with multiplying("float32"):
        work()


def augmentation(data: Path | None, batch: int, rounds: int, device: torch.device, report: Report) -> None:
    """Random crops and flips: image by image with torchvision, and ours."""
    from torchvision import transforms

    split = images_of(data, "train", torch.device("cpu"))
    arrays = [image.permute(1, 2, 0).numpy() for image in split.images[:1000]]
    one_by_one = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )
    ours = AugmentedImages(split.images.to(device), Augmentation())
    stream = seeds.stream(0, "augmentation", 0, device)

    def loader() -> None:
        indices = torch.randint(len(arrays), (batch,)).tolist()
        torch.stack([one_by_one(arrays[index]) for index in indices]).to(device)

    def batched() -> None:
        ours.batch(torch.randint(len(split), (batch,), generator=stream, device=device), stream)

    times = interleaved({"torchvision": loader, "ours": batched}, 5 * rounds + 1, device)
    theirs, mine = times["torchvision"][1:], times["ours"][1:]
    row = [seconds(theirs), seconds(mine), ratios(theirs, mine, "processor")]
    report.say(f"Crops and flips of {batch} images, without loader processes.")
    report.table(["torchvision one by one, s", "batched, s", "ratio"], [row])


def together(count: int, batch: int, width: int, report: Report) -> None:
    """Trainings in one process each, at the same time."""

    def rate(processes: int) -> float:
        threads = max(1, torch.get_num_threads() // processes)
        command = [sys.executable, "-m", "benchmarks.train_step", "--rate", "--batch", str(batch)]
        command += ["--width", str(width), "--threads", str(threads)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        return sum(float(process.communicate()[0]) for process in running)

    numbers = [1, *sorted({2, count})]
    found = [rate(number) for number in numbers]
    report.say("Trainings at once on one device (AT), images per second of all together.")
    rows = [[str(n), f"{r:,.1f}", f"{r / found[0]:.2f}"] for n, r in zip(numbers, found, strict=True)]
    report.table(["trainings", "images/s", "gain"], rows)


def print_rate(stand: Stand, rounds: int) -> None:
    """Images per second of AT."""
    step, _ = stand.ours()
    times = interleaved({"ours": step}, rounds + 2, stand.images.device)["ours"][2:]
    print(rounds * len(stand.labels) / sum(entry.wall for entry in times))


def run(
    report: Report,
    *,
    data: Path | None,
    batch: int | None,
    width: int,
    rounds: int | None,
    compiled: bool,
    at_once: int,
) -> bool:
    """All parts; whether the steps agree."""
    device = choose_device()
    cuda = device.type == "cuda"
    batch, rounds = batch or (128 if cuda else 64), rounds or (20 if cuda else 2)
    stand = prepared(width, batch, data, device, steps=30)
    report.head("Training step", cuda=cuda)
    report.say(f"PreActResNet-18 of width {width}; images: {data or 'digits, enlarged'}.\n")
    right = agreement(exact_stand(stand, device), (EXACT, EXACT, EXACT), report, "One step in float64, width 8")
    right &= agreement(
        stand, (MOVED_ELSEWHERE, RELATIVE_LOSS, RELATIVE_STATISTICS), report, f"One step in float32, width {width}"
    )
    compared(stand, rounds, report)
    decomposed(stand, rounds, report)
    further(stand, max(2, rounds // 2), report, compiled=compiled)
    augmentation(data, batch, rounds, device, report)
    if at_once:
        together(at_once, batch, width, report)
    return right


def main(
    data: Annotated[Path | None, typer.Option(help="a prepared data set; digits by default")] = None,
    batch: Annotated[int | None, typer.Option(help="images in a step; 64 on a CPU, 128 on CUDA by default")] = None,
    width: Annotated[int, typer.Option(help="of PreActResNet-18; 64 is the published one")] = 64,
    rounds: Annotated[int | None, typer.Option(help="timed rounds; 2 on a CPU, 20 on CUDA by default")] = None,
    compile: Annotated[bool, typer.Option("--compile", help="also torch.compile")] = False,
    together: Annotated[int, typer.Option(help="also that many trainings at once")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads")] = None,
    rate: Annotated[bool, typer.Option("--rate", hidden=True)] = False,
) -> None:
    """Compares our training step with a straightforward one."""
    if threads:
        torch.set_num_threads(threads)
    if rate:
        cuda = torch.cuda.is_available()
        return print_rate(prepared(width, batch or 8, data, choose_device(), 2), rounds or (20 if cuda else 3))
    report = Report()
    if not run(report, data=data, batch=batch, width=width, rounds=rounds, compiled=compile, at_once=together):
        raise SystemExit("The two steps do not leave the same behind: see the tables above.")


if __name__ == "__main__":
    typer.run(main)
