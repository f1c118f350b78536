"""What is left to run for a target, and what it would cost on this device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from time import perf_counter

import torch

from fairat import paths
from fairat.console import console
from fairat.data.canonical import MANIFEST, Manifest
from fairat.device import choose_device, name_of
from fairat.errors import UserError
from fairat.models import build_model
from fairat.results.evidence import read_origin
from fairat.settings.data import Cifar10, Cifar100, Digits
from fairat.settings.suite import Suite
from fairat.study import Run, Study, Training, load_study
from fairat.training.record import RECORD, RunRecord

OUTER = {"clean": 1, "trades": 2, "bat": 3}
"""Images that go forward and backward in the update, per training image; one for the objectives not named."""
CORRUPTED = 19 * 5
SHAPES = {Digits: ((1, 8, 8), 1_440, 360, 10), Cifar10: ((3, 32, 32), 50_000, 10_000, 10)}
SHAPES |= {Cifar100: ((3, 32, 32), 50_000, 10_000, 100)}
"""Image shape, training and test images and classes of data that need not be here yet."""


@dataclass(frozen=True)
class Cost:
    """Seconds; unknown where nothing tells. `measured` in runs done here, or else estimated."""

    seconds: float | None
    measured: bool = False


def main(target: str) -> None:
    """Prints the stages that are left, in the order in which they would run, and what they would cost."""
    study = load_study()
    left = stages_left(target if target not in study.suites else f"tables@{target}")
    for name in left:
        console.print(name, markup=False)
    for caution in cautions(left, study):
        console.print(caution, markup=False)
    console.print(summary(left, study, choose_device()), markup=False)


def stages_left(target: str) -> list[str]:
    """The stages that `dvc repro TARGET` would run, each after those it needs; also on a clone without data.

    Raises:
        UserError: there is no such target.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from networkx import dfs_postorder_nodes

    with Repo() as repo:
        try:
            wanted = repo.stage.collect(target)
        except DvcException as error:
            raise UserError(f"There is no target {target!r}: {error}. Name a stage of dvc.yaml, or a suite.") from None
        graph, stale = repo.index.graph, {}
        with repo.lock:
            for stage in (one for start in wanted for one in dfs_postorder_nodes(graph, start)):
                if stage not in stale:
                    stale[stage] = any(stale[needed] for needed in graph.successors(stage)) or stage.changed()
    return [stage.addressing for stage, is_stale in stale.items() if is_stale]


def cautions(left: Sequence[str], study: Study) -> Iterator[str]:
    """What the trainings that are left would do that their user hardly wants."""
    for kind, _, key in (name.partition("@") for name in left):
        run = study.resolved.get(key)
        if kind == "train" and isinstance(run, Training):
            yield from (f"{key}: {caution}" for caution in run.cautions)


def summary(left: Sequence[str], study: Study, device: torch.device) -> str:
    """`24 trainings and 22 evaluations, about 31 h on this device (cpu), 3 of them measured in runs done here`."""
    work = [
        (kind, study.resolved[key]) for kind, _, key in (name.partition("@") for name in left) if key in study.resolved
    ]
    if not work:
        return f"{len(left)} stages, none of which trains or evaluates." if left else "Nothing is left to do."
    clocks = {suite: Clock(study.suites[suite], suite, device) for suite in {run.suite_name for _, run in work}}
    costs = [clocks[run.suite_name].cost(kind, run) for kind, run in work]
    trainings = sum(kind == "train" for kind, _ in work)
    known = [cost for cost in costs if cost.seconds is not None]
    text = f"{counted(trainings, 'training')} and {counted(len(work) - trainings, 'evaluation')}"
    if not known:
        return f"{text}; what they would cost here is unknown before the images are prepared."
    text += f", about {duration(sum(cost.seconds or 0 for cost in known))} on this device ({name_of(device)})"
    measured = sum(cost.measured for cost in known)
    text += f": {measured} known from runs done here, {len(known) - measured} estimated from a timed step"
    rest = len(costs) - len(known)
    return f"{text}, {rest} unknown before their images are prepared." if rest else f"{text}."


class Clock:
    """What runs of one suite cost on this device: from those done here, else from the time of a pass.

    A forward or a backward pass counts as one; a step of an attack is two.
    """

    def __init__(self, suite: Suite, name: str, device: torch.device) -> None:
        self.suite, self.name, self.device = suite, name, device

    def cost(self, kind: str, run: Run) -> Cost:
        """Of training the run (`train`), or of evaluating it under the evaluation `kind`."""
        if done := self.seconds_here(kind, run):
            return Cost(sum(done) / len(done), measured=True)
        if kind == "train" and not isinstance(run, Training):
            return Cost(0.0)  # fetching a published network is nothing beside the rest
        if self.sizes is None:
            return Cost(None)
        _, training, test, _ = self.sizes
        if isinstance(run, Training) and kind == "train":
            return Cost(run.recipe.epochs * training * training_passes(run) * self.seconds_of_a_pass)
        return Cost(len(self.suite.weights) * test * self.evaluation_passes(kind) * self.seconds_of_a_pass)

    def seconds_here(self, kind: str, run: Run) -> list[float]:
        """Of trainings of the same method with any seed, or of the suite's runs under the same evaluation."""
        if kind == "train":
            found = [RunRecord.load(path.parent) for path in run.directory.parent.glob(f"s*/{RECORD}")]
        else:
            found = [read_origin(path) for path in paths.predictions(self.name, kind).glob("*/*.parquet")]
        return [one.seconds for one in found if one.device == name_of(self.device)]

    def evaluation_passes(self, evaluation: str) -> int:
        """Per image, at most: of images that withstand every attack."""
        protocol = self.suite.evaluation
        auto = protocol.autoattack
        targets = min(auto.target_classes, (self.sizes or ((), 0, 0, 10))[3] - 1)
        return {
            "pgd": 2 * max(protocol.pgd.steps) * protocol.pgd.restarts,
            "autoattack": auto.iterations * (2 + 2 * targets + 3 * targets) + auto.queries,
            "square": protocol.square.queries,
            "corruptions": CORRUPTED,
            "steps": 2 * protocol.steps.num_steps,
        }[evaluation]

    @cached_property
    def sizes(self) -> tuple[tuple[int, int, int], int, int, int] | None:
        """Image shape, training images, test images and classes; None where they are not known before `prepare`."""
        directory = paths.dataset(self.name)
        if (directory / MANIFEST).exists():
            manifest = Manifest.load(directory)
            training, test = (sum(manifest.counts[split].values()) for split in ("train", "test"))
            return manifest.image_shape, training, test, len(manifest.class_names)
        return SHAPES.get(type(self.suite.data.source))

    @cached_property
    def seconds_of_a_pass(self) -> float:
        """One image through the suite's network, one way; from a forward and backward pass of a batch, timed once."""
        assert self.sizes is not None
        shape, _, _, classes = self.sizes
        choose_device(self.suite.threads)  # with as many threads as the suite's stages have
        batch = 128 if self.device.type == "cuda" else max(1, 16_384 // prod(shape))
        model = build_model(
            self.suite.architecture, num_classes=classes, channels=shape[0], mean=None, std=None, pretrained=False
        )
        model = model.to(memory_format=torch.channels_last).to(self.device)
        images = torch.rand((batch, *shape), device=self.device, requires_grad=True)
        times = []
        for _ in range(4):  # the first warms up; the least is what other programs on the machine left of it
            began = perf_counter()
            model(images).sum().backward()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            times.append(perf_counter() - began)
        return min(times) / (3 * batch)


def training_passes(run: Training) -> int:
    """Per training image: two in each step of the attack, three for each forward of the update, one for each clean pass."""
    objective, threat = run.method.objective, run.method.threat(run.threat)
    attack = 2 * threat.num_steps if objective.has_robust_term else 0
    clean = {"none": 0, "after_step": 1, "before_and_after": 2}[run.recipe.clean_pass or run.method.clean_pass]
    return attack + 3 * OUTER.get(objective.kind, 1) + clean


def counted(number: int, what: str) -> str:
    """`1 training`, `2 trainings`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `12 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{ceil(seconds)} s"
