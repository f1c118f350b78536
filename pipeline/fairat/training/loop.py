"""Epochs, one after the other; knows no tracker and writes no file."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from fairat import seeds
from fairat.data.augmentation import AugmentedImages
from fairat.device import peak_memory
from fairat.errors import UserError
from fairat.methods.averaging import Averages
from fairat.methods.history import ClassHistory, EpochRecord
from fairat.methods.method import Method
from fairat.results import metrics
from fairat.settings.averaging import Averaging
from fairat.settings.recipe import Recipe
from fairat.settings.threat import Threat
from fairat.training.optimizers import optimizer_of
from fairat.training.precision import multiplying
from fairat.training.probes import measure
from fairat.training.step import EpochTally, MinimaxStep, Policy, decide

PROBE = "val.pgd10"
"""The probe of every epoch's curves and of the best epoch: untargeted PGD-10 at the suite's constant radius."""


@dataclass(frozen=True)
class LabeledImages:
    """A split: uint8 images `count channel height width`, int64 labels `count`."""

    images: UInt8[Tensor, "count channel height width"]
    labels: Int[Tensor, " count"]


@dataclass(frozen=True)
class TrainingSettings:
    """All that decides a training besides its data and its network.

    `threat` is the suite's: probes use it as it is, the method may replace step size and number of steps for training.
    """

    method: Method
    recipe: Recipe
    threat: Threat
    averaging: Averaging
    num_classes: int
    seed: int


@dataclass
class TrainingState:
    """Everything that a killed training needs to go on as if nothing had happened.

    Attributes:
        reports: of each epoch, counted from 0: loss, accuracies (fractions), learning rate, seconds, images per second, peak
            memory in GiB.
        radii: of each epoch the radius of each class, in units of [0, 1] images.
        seconds: that it took so far.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    averages: Averages
    history: ClassHistory
    reports: list[dict[str, float]] = field(default_factory=list)
    radii: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def fresh(cls, model: nn.Module, settings: TrainingSettings) -> "TrainingState":
        """The state before the first epoch."""
        return cls(
            model=model,
            optimizer=optimizer_of(settings.recipe, model),
            averages=Averages(settings.averaging, settings.recipe.epochs),
            history=ClassHistory(settings.num_classes),
        )


def train(
    state: TrainingState,
    settings: TrainingSettings,
    training: LabeledImages,
    validation: LabeledImages,
    *,
    on_batch: Callable[[int], None] = lambda images: None,
) -> Iterator[int]:
    """Trains from where `state` is to the last epoch; yields the number of every epoch after it, when `state` may be saved.

    Args:
        state: changed in place; also says which epochs are done.
        settings: the method, its recipe and the seed.
        training: labels on the model's device; the images are put there, once, wherever they are.
        validation: the same; only probes see it.
        on_batch: called after every batch with its number of images, for progress; must not wait for the device.

    Raises:
        UserError: a class has no training or no validation images, or a batch would hold a single image.
        FloatingPointError: a loss was not finite; names epoch, batch, radii and learning rate. Nothing of that epoch is kept.
    """
    _require_every_class("training", training.labels, settings.num_classes)
    _require_every_class("validation", validation.labels, settings.num_classes)
    _require_no_single_image(len(training.labels), settings.recipe.batch_size)
    images = AugmentedImages(training.images, settings.recipe.augmentation, training.labels.device)
    validation_images = validation.images.to(validation.labels.device).to(torch.float32) / 255
    if settings.method.needs_start_record and not state.history.records:
        state.history = state.history.extended(
            EpochRecord(-1, _probe(state, settings, validation_images, validation.labels, epoch=-1))
        )
    for epoch in range(state.history.epoch, settings.recipe.epochs):
        began = time.perf_counter()
        policy = decide(settings.method, state.history, settings.threat, training.labels.device)
        tally = _train_epoch(state, settings, images, training.labels, policy, epoch, on_batch)
        fields = {"train.robust": tally.robust.cpu(), "train.clean": tally.clean.cpu()}
        if tally.soft is not None:
            fields["train.soft"] = (tally.soft / tally.robust.sum(dim=1, keepdim=True)).cpu()
        seconds = time.perf_counter() - began
        fields |= _probe(state, settings, validation_images, validation.labels, epoch=epoch)
        state.history = state.history.extended(EpochRecord(epoch, fields))
        state.averages.update(
            epoch,
            state.model.state_dict(),
            worst_class=float(metrics.worst_class_accuracy(fields[settings.averaging.gate].numpy())),
            overall=float(metrics.overall_accuracy(fields[PROBE].numpy())),
        )
        state.reports.append({"epoch": epoch, **_summary(settings, epoch, tally, fields, seconds)})
        state.radii.append(policy.epsilon.cpu())
        state.seconds += time.perf_counter() - began
        yield epoch


def _require_every_class(split: str, labels: Tensor, num_classes: int) -> None:
    """A class without images has no accuracy, which methods and the choice of an epoch go by."""
    counts = torch.bincount(labels.cpu(), minlength=num_classes)
    if lacking := (counts[:num_classes] == 0).nonzero().flatten().tolist():
        shown = ", ".join(map(str, lacking[:8])) + (", ..." if len(lacking) > 8 else "")
        raise UserError(
            f"There are no {split} images of class {shown} (classes are numbered from 0 to {num_classes - 1}). Give every "
            "class some, or train with fewer classes."
        )


def _require_no_single_image(images: int, batch_size: int) -> None:
    """A batch norm cannot normalize one value: the deepest features of small images are single pixels."""
    if images % batch_size != 1 and batch_size > 1:
        return
    fits = next((size for size in range(max(batch_size, 2), images + 1) if images % size != 1), None)
    remedy = f"Set recipe.batch_size to {fits}" if fits else "Add images"
    raise UserError(
        f"{images} training images in batches of {batch_size} leave a batch of one image, which batch norm cannot "
        f"normalize. {remedy}, or another size that leaves no single image."
    )


def _train_epoch(
    state: TrainingState,
    settings: TrainingSettings,
    images: AugmentedImages,
    labels: Tensor,
    policy: Policy,
    epoch: int,
    on_batch: Callable[[int], None],
) -> EpochTally:
    recipe, device, threat = settings.recipe, labels.device, settings.method.threat(settings.threat)
    # Networks with randomness of their own (drop path) take it from the global stream.
    torch.manual_seed(seeds.derived(settings.seed, "model", epoch))
    order_stream, augmentation_stream, attack_stream, target_stream = (
        seeds.stream(settings.seed, purpose, epoch, device)
        for purpose in ("order", "augmentation", "attack", "targets")
    )
    order = torch.randperm(len(labels), generator=order_stream, device=device).split(recipe.batch_size)
    for group in state.optimizer.param_groups:
        group["lr"] = recipe.learning_rate_at(epoch)
    state.model.train()
    step = MinimaxStep(
        state.model,
        state.optimizer,
        settings.method,
        threat,
        clean_pass=recipe.clean_pass or settings.method.clean_pass,
        precision=recipe.precision,
    )
    tally = EpochTally(settings.num_classes, len(order), device, soft="train.soft" in settings.method.needs)
    with multiplying(recipe.precision):
        for number, indices in enumerate(order):
            step(
                images.batch(indices, augmentation_stream),
                labels[indices],
                policy,
                tally,
                number=number,
                epoch=epoch,
                attack_stream=attack_stream,
                target_stream=target_stream,
            )
            on_batch(len(indices))
    _require_finite(tally.losses, state.model, epoch, policy, recipe.learning_rate_at(epoch))
    return tally


def _require_finite(losses: Tensor, model: nn.Module, epoch: int, policy: Policy, learning_rate: float) -> None:
    """One look per epoch: a look per batch would stop the device every time. Nothing of a bad epoch is kept."""
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        what = f"The loss of epoch {epoch}, batch {int(bad[0])} is {float(losses[bad[0]])}"
    elif not torch.stack([value.isfinite().all() for value in model.state_dict().values()]).all():
        # A finite loss may have a gradient that is not, and statistics may overflow: after the last batch no loss tells.
        what = f"The weights after epoch {epoch}, batch {len(losses) - 1} are not finite"
    else:
        return
    radii = ", ".join(f"{255 * radius:.2f}" for radius in policy.epsilon.tolist())
    raise FloatingPointError(
        f"{what} (learning rate {learning_rate:g}, radii of the classes {radii} of 255). The training stopped at the end of "
        "the last good epoch; lower the learning rate or the radii, or look at the images of that batch."
    )


def _probe(
    state: TrainingState, settings: TrainingSettings, images: Tensor, labels: Tensor, epoch: int
) -> dict[str, Tensor]:
    return measure(
        settings.method.needs | {PROBE, settings.averaging.gate},
        state.model,
        images,
        labels,
        num_classes=settings.num_classes,
        threat=settings.threat,
        generator=seeds.stream(settings.seed, "probe", epoch + 1, labels.device),
    )


def _summary(
    settings: TrainingSettings, epoch: int, tally: EpochTally, fields: dict[str, Tensor], seconds: float
) -> dict[str, float]:
    """The numbers of an epoch's curves; accuracies are fractions."""
    confusions = {
        "train_robust": fields["train.robust"],
        "train_clean": fields["train.clean"],
        "validation_clean": fields["val.clean"],
        "validation_pgd10": fields[PROBE],
    }
    summary = {"train_loss": float(tally.losses.mean())}
    for name, counts in confusions.items():
        if counts.sum() > 0:
            summary[f"{name}_accuracy"] = float(metrics.overall_accuracy(counts.numpy()))
            summary[f"{name}_worst_class"] = float(metrics.worst_class_accuracy(counts.numpy()))
    images = int(fields["train.robust"].sum() or fields["train.clean"].sum())
    return summary | {
        "learning_rate": settings.recipe.learning_rate_at(epoch),
        "seconds": seconds,
        "images_per_second": images / seconds,
        "peak_memory_gib": peak_memory(tally.losses.device) / 2**30,
    }
