"""Trains one method with one seed on one suite; leaves its weight sets, histories and run.json."""

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import torch
import typer
from fairat import paths, provenance, seeds, tracking
from fairat.console import console, keeping, progress
from fairat.data.canonical import Manifest, verified_split
from fairat.device import choose_device, compiled, conditions, memory_in_words, name_of, peak_memory
from fairat.errors import UserError
from fairat.files import require_space, whole_directory
from fairat.fingerprint import recorded
from fairat.lock import held
from fairat.settings.averaging import WEIGHT_SETS
from fairat.settings.suite import Suite
from fairat.study import Adoption, Run, Training, load_study
from fairat.training import adoption
from fairat.training.checkpoint import Saver, load_resumable, load_weights, save_history, save_weights
from fairat.training.guard import PatienceGuard
from fairat.training.loop import LabeledImages, TrainingSettings, TrainingState, train
from fairat.training.record import MEASURED, RECORD, RunRecord, WeightsRecord, shape_in_words

COPIES = 15
"""How many times the network is written: two resume states with optimizer and averages, and four weight sets."""


def main(key: Annotated[str, typer.Argument(help="a run of runs.yaml, such as demo/at/s0")]) -> None:
    """Makes the weights of one run: by training, or by fetching those that a network was published with."""
    run = load_study().named(key)
    with held(paths.lock(run.suite_name, run.method_name, run.seed), f"{key} is being trained"):
        if isinstance(run, Training):
            train_run(run)
        else:
            assert isinstance(run, Adoption)
            adopt_run(run)


def adopt_run(run: Adoption) -> None:
    """Adopts a published network, downloading its weights where they are not on this machine yet."""
    manifest = Manifest.load(paths.dataset(run.suite_name))
    fingerprint = recorded(paths.FINGERPRINTS / "train" / run.key)
    record = adoption.described(run.architecture, manifest, run.suite_name, run.method_name, run.seed, fingerprint)
    adoption.adopt(run.directory, run.architecture, record)
    console.print(f"{run.key}: adopted in {run.directory}", markup=False)


def train_run(run: Training) -> None:
    """Trains one run; goes on where a killed training of the same code, data and numbers stopped."""
    device = choose_device(run.suite.threads)
    record = describe(run, device)
    training, validation = (labeled(run, split, device) for split in ("train", "validation"))
    settings = settings_of(run, record)
    state = TrainingState.fresh(compiled(initial_model(record, run, device)), settings)
    if run.begun_from is None:  # known only now: building the network may have downloaded what it starts from
        record = record.model_copy(update={"start_sha256": run.architecture.start_sha256})
    resume = paths.resume(run.suite_name, run.method_name, run.seed)
    for place in (resume, run.directory.parent):
        require_space(place, COPIES * size_of(state.model))
    identity = f"{record.fingerprint}/{record.data}/{record.start_sha256}/{run.seed}"
    if (before := load_resumable(resume, state, identity)) is not None:
        record = taken_up(record, before, run, state)
    for caution in run.cautions:
        console.print(f"{run.key}: {caution}", markup=False)
    live = tracking.Live(record.model_dump(mode="json"))
    with keeping(lambda: kept(run, state)), Saver(resume, identity, record.conditions) as saver:
        run_epochs(run, state, settings, training, validation, saver, live)
        saver.wait()
    save(record, state, run.directory)
    live.finish(run.directory)
    shutil.rmtree(resume, ignore_errors=True)


def size_of(model: torch.nn.Module) -> int:
    """Bytes of a network's tensors."""
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())


def taken_up(record: RunRecord, before: Mapping[str, str], run: Training, state: TrainingState) -> RunRecord:
    """Says that a killed training goes on; the record, with a remark where it goes on under other conditions."""
    console.print(f"{run.key}: goes on after epoch {state.history.epoch - 1} of {run.recipe.epochs}")
    changed = provenance.differing(before, record.conditions)
    if not changed:
        return record
    remark = f"up to epoch {state.history.epoch - 1}: {changed}"
    console.print(f"{run.key}: other conditions, so the last bits may differ; {remark}", markup=False)
    return record.model_copy(update={"changed_conditions": (remark,)})


def kept(run: Training, state: TrainingState) -> str:
    """What is kept of a training that ends too early."""
    if not state.reports:
        return f"{run.key}: no epoch was done yet."
    return f"{run.key}: the epochs up to {len(state.reports) - 1} of {run.recipe.epochs} are kept."


def describe(run: Training, device: torch.device) -> RunRecord:
    """The run's record as far as it is known before training.

    Raises:
        UserError: the run that it starts from is missing, or holds another network than this one.
    """
    manifest = Manifest.load(paths.dataset(run.suite_name))
    start = None if run.begun_from is None else record_of_start(run, run.begun_from, manifest)
    return RunRecord(
        suite=run.suite_name,
        method=run.method_name,
        seed=run.seed,
        class_names=manifest.class_names,
        image_shape=manifest.image_shape,
        architecture=run.architecture.unplaced(),
        statistics=normalization(run.suite, manifest) if start is None else start.statistics,
        settings=run.settings,
        start_sha256="" if start is None else start.weights["last"].sha256,
        fingerprint=recorded(paths.FINGERPRINTS / "train" / run.key),
        data=manifest.digest,
        commit=provenance.commit(),
        versions=provenance.versions(),
        device=name_of(device),
        conditions=conditions(device),
        epochs=run.recipe.epochs,
        seconds=0.0,
        weights={},
    )


def normalization(suite: Suite, manifest: Manifest) -> dict[str, tuple[float, ...]] | None:
    """Mean and std per channel of a suite's own network, in units of [0, 1] images; None without."""
    if not suite.normalize:
        return None
    given = suite.statistics or manifest
    return {"mean": given.mean, "std": given.std}


def record_of_start(run: Training, start: Run, manifest: Manifest) -> RunRecord:
    """The record of the run whose last weights a fine-tuning starts from.

    Raises:
        UserError: there is none yet, or its network is not the one that params.yaml names now for these images.
    """
    begins, again = f"{run.key} starts from {start.key}", f"`dvc repro train@{start.key}`"
    if not (start.directory / RECORD).exists():
        raise UserError(f"{begins}, but {start.directory} holds no finished run. Make it with {again}.")
    record = RunRecord.load(start.directory)
    held = (len(record.class_names), shape_in_words(record.image_shape))
    wanted = (len(manifest.class_names), shape_in_words(manifest.image_shape))
    if held != wanted:
        raise UserError(
            f"{begins}, a network for {held[0]} classes of {held[1]} images, but {run.suite_name} has {wanted[0]} "
            f"classes of {wanted[1]} images. Make the start anew with {again}, or choose another one."
        )
    if record.architecture.unplaced() != run.architecture.unplaced():
        raise UserError(
            f"{begins}, which holds the network {record.architecture.described()}, but {paths.PARAMS} names "
            f"{run.architecture.described()} now. Make the start anew with {again}."
        )
    return record


def settings_of(run: Training, record: RunRecord) -> TrainingSettings:
    """All that decides the training besides its data and its network."""
    return TrainingSettings(
        method=run.method,
        recipe=run.recipe,
        threat=run.threat,
        averaging=run.averaging,
        num_classes=len(record.class_names),
        seed=run.seed,
    )


def labeled(run: Training, split: str, device: torch.device) -> LabeledImages:
    """A split of the run's suite, whole, its labels on the device; `train` puts the images there."""
    loaded = verified_split(paths.dataset(run.suite_name), split)
    return LabeledImages(loaded.images, loaded.labels.to(device))


def initial_model(record: RunRecord, run: Training, device: torch.device) -> torch.nn.Module:
    """The network with the seed's initial weights, or with the last weights of the run that this one starts from.

    Initial weights are drawn on the CPU, so that every device starts from the same.

    Raises:
        UserError: the network is not for these images, or the weights that it starts from cannot be had.
    """
    torch.manual_seed(seeds.derived(run.seed, "init"))
    placed = record.model_copy(update={"architecture": run.architecture})
    model = placed.network(pretrained=run.begun_from is None)
    if run.begun_from is not None:
        load_weights(paths.weights(run.begun_from.directory, "last"), model, record.start_sha256)
    # Published code may give its networks frozen, or in eval mode.
    return model.train().requires_grad_(True).to(memory_format=torch.channels_last).to(device)


def run_epochs(
    run: Training,
    state: TrainingState,
    settings: TrainingSettings,
    training: LabeledImages,
    validation: LabeledImages,
    save_state: Callable[[TrainingState], None],
    live: tracking.Live,
) -> None:
    """Runs the epochs that are left, with progress and curves, and saves the resumable state after each."""
    images, device = len(training.labels), training.labels.device
    total, done = run.recipe.epochs * images, state.history.epoch * images
    guard = PatienceGuard(total - done, device, run.key)
    with progress(run.key, total, unit="images", aside=lambda: memory_in_words(device), kept=done) as advance:

        def on_batch(images: int) -> None:
            guard(images)
            advance(images, "")

        try:
            for _ in train(state, settings, training, validation, on_batch=on_batch):
                save_state(state)
                advance(0, f"{described(state.reports[-1])}; safe since {datetime.now():%H:%M:%S}")
                live.log(state.reports)
        except FloatingPointError as error:
            raise UserError(f"{run.key}: {error}") from error


def described(values: Mapping[str, float]) -> str:
    """One epoch in a few words."""
    return (
        f"epoch {values['epoch']:.0f}: loss {values['train_loss']:.3f}, validation "
        f"{values['validation_clean_accuracy']:.1%} clean, {values['validation_pgd10_accuracy']:.1%} robust, "
        f"{values['images_per_second']:,.0f} images/s"
    )


def save(record: RunRecord, state: TrainingState, directory: Path) -> None:
    """Writes the run's directory, whole."""
    origin = record.model_dump(mode="json", exclude=MEASURED)
    sets = {"last": state.model.state_dict(), **state.averages.sets}
    device = next(state.model.parameters()).device
    with whole_directory(directory) as beside:
        weights = {}
        for name in WEIGHT_SETS:
            if name in sets:
                sha256 = save_weights(paths.weights(beside, name), sets[name], origin)
                weights[name] = WeightsRecord(present=True, sha256=sha256)
            else:
                weights[name] = WeightsRecord(present=False, reason=state.averages.reason_for_absence(name))
        files = save_history(beside, state, record.class_names)
        measured = {"seconds": state.seconds, "peak_memory": peak_memory(device)}
        record.model_copy(update={"weights": weights, "files": files, **measured}).save(beside)
    console.print(
        f"{record.suite}/{record.method}/s{record.seed}: {state.seconds:.0f} s, {memory_in_words(device)}; "
        f"{described(state.reports[-1])}"
    )
