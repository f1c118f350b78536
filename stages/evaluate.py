"""Evaluates the weight sets of one run under one evaluation; leaves a prediction for every test image."""

import hashlib
import json
import time
from typing import Annotated

import pyarrow as pa
import torch
import typer
from fairat import paths, provenance
from fairat.console import console, keeping, progress
from fairat.data.canonical import CorruptedManifest, Manifest, verified_split
from fairat.device import choose_device, conditions, memory_in_words, name_of
from fairat.errors import UserError
from fairat.evaluation import EVALUATIONS, evaluate_model
from fairat.evaluation.ledger import Ledger
from fairat.evaluation.protocol import EvaluationSet, Watcher
from fairat.files import require_space
from fairat.fingerprint import recorded
from fairat.lock import held
from fairat.results.evidence import Origin, stacked, write_evidence
from fairat.study import Run, load_study
from fairat.training.checkpoint import load_weights
from fairat.training.record import RunRecord

DECISIVE = {
    "suite",
    "method",
    "seed",
    "evaluation",
    "class_names",
    "settings",
    "weights_sha256",
    "data_sha256",
    "fingerprint",
}
"""What decides the predictions: parts of an evaluation with other ones are not taken up."""


SPACE = 16 << 20
"""Bytes that evidence and what is kept of it until then surely need no more of."""


def main(
    evaluation: Annotated[str, typer.Argument(help="pgd, autoattack, square, corruptions or steps")],
    key: Annotated[str, typer.Argument(help="a run of runs.yaml, such as demo/at/s0")],
) -> None:
    """Evaluates one run: its directory, the test images and the suite's protocol decide the result, nothing else."""
    if evaluation not in paths.EVALUATIONS:
        raise UserError(f"There is no evaluation {evaluation!r}; there are: {', '.join(paths.EVALUATIONS)}.")
    run = load_study().named(key)
    lock = paths.lock(run.suite_name, run.method_name, run.seed, evaluation)
    with held(lock, f"{evaluation} of {key} is being computed"):
        evaluate_run(run, evaluation)


def evaluate_run(run: Run, evaluation: str) -> None:
    """Evaluates one run; goes on where a killed evaluation of the same code, data, weights and settings stopped."""
    began, device = time.perf_counter(), choose_device(run.suite.threads)
    evidence = paths.evidence(run.suite_name, run.seed, evaluation, run.method_name)
    kept = paths.resume(run.suite_name, run.method_name, run.seed, evaluation)
    for place in (kept, evidence.parent):
        require_space(place, SPACE)
    record = RunRecord.load(run.directory)
    names, test = present_weights(run, record), images_of(run, record, device)
    origin = described(run, record, evaluation, names, device)
    ledger = Ledger(kept, origin.model_dump(mode="json", include=DECISIVE), origin.conditions)
    say_what_is_done(run, evaluation, ledger)
    with keeping(lambda: f"{run.key} {evaluation}: every attack that was finished on a block of images is kept."):
        blocks, remarks = evaluate_sets(run, record, evaluation, names, test, ledger)
    changed = (f"parts of it: {ledger.changed}",) if ledger.changed else ()
    origin = origin.model_copy(update={"seconds": time.perf_counter() - began, "changed_conditions": changed})
    write_evidence(evidence, stacked(blocks), origin)
    ledger.close()
    lines = [f"{run.key} {evaluation}: {origin.seconds:.0f} s on {origin.device}, {memory_in_words(device)}"]
    lines += [f"  {name}: {summary(rows, test.class_names)}" for name, rows in zip(names, blocks, strict=True)]
    lines += [f"  {remark}" for remark in remarks]
    # Class names come from outside: square brackets in them are no markup.
    console.print("\n".join(lines), markup=False, soft_wrap=True)


def say_what_is_done(run: Run, evaluation: str, ledger: Ledger) -> None:
    """Says that a killed evaluation goes on, and under which other conditions."""
    if ledger.units:
        console.print(
            f"{run.key} {evaluation}: goes on; {len(ledger.units)} parts of it are done already", markup=False
        )
    if ledger.changed:
        console.print(f"  other conditions, so single predictions may differ; they had {ledger.changed}", markup=False)


def present_weights(run: Run, record: RunRecord) -> list[str]:
    """The suite's weight sets that the training left; says why others are absent.

    Raises:
        UserError: there is none.
    """
    held = [name for name, weights in record.weights.items() if weights.present]
    for name in run.suite.weights:
        if name not in held:
            reason = record.weights[name].reason if name in record.weights else "this training kept no such weights"
            console.print(f"{run.key}: no {name} weights ({reason})")
    names = [name for name in run.suite.weights if name in held]
    if not names:
        raise UserError(
            f"suites.{run.suite_name}.weights asks for {', '.join(run.suite.weights)}, but {run.directory} holds "
            f"{', '.join(held) or 'none'}. Ask for one that it holds, or train the run again."
        )
    return names


def images_of(run: Run, record: RunRecord, device: torch.device) -> EvaluationSet:
    """The test split of the run's suite, on the device.

    Raises:
        UserError: its classes or image shape are not those of the training.
    """
    directory = paths.dataset(run.suite_name)
    split = verified_split(directory, "test")
    trained = (record.class_names, record.image_shape)
    found = (split.class_names, tuple(split.images.shape[1:]))
    for what, then, now in zip(("classes", "image shape"), trained, found, strict=True):
        if then != now:
            raise UserError(
                f"{run.key} was trained on images with the {what} {', '.join(map(str, then))}, but the test images in "
                f"{directory} have {', '.join(map(str, now))}. Train it again: `dvc repro train@{run.key}`."
            )
    images, labels = split.images.to(device), split.labels.to(device)
    return EvaluationSet(images, labels, split.class_names, paths.corrupted(run.suite_name))


def described(run: Run, record: RunRecord, evaluation: str, names: list[str], device: torch.device) -> Origin:
    """Where the evidence will come from, as far as it is known before.

    Raises:
        UserError: the code has no fingerprint yet.
    """
    settings = getattr(run.suite.evaluation, evaluation).model_dump(mode="json")
    fields = {
        "suite": run.suite_name,
        "method": run.method_name,
        "seed": run.seed,
        "evaluation": evaluation,
        "class_names": record.class_names,
        "settings": {"epsilon": run.suite.threat.epsilon, **settings},
        "weights_sha256": {name: record.weights[name].sha256 for name in names},
        "data_sha256": data_sha256(run.suite_name, evaluation),
        "fingerprint": recorded(
            paths.FINGERPRINTS / evaluation / (run.key if evaluation == "steps" else run.suite_name)
        ),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "device": name_of(device),
        "conditions": conditions(device),
        "seconds": 0.0,
    }
    return Origin.model_validate(fields)


def data_sha256(suite: str, evaluation: str) -> str:
    """Hash of the images that the evaluation classifies."""
    if evaluation != "corruptions":
        return Manifest.load(paths.dataset(suite)).sha256["test"]  # which `images_of` has compared with the images
    hashes = CorruptedManifest.load(paths.corrupted(suite)).sha256
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def evaluate_sets(
    run: Run, record: RunRecord, evaluation: str, names: list[str], test: EvaluationSet, ledger: Ledger
) -> tuple[list[pa.Table], list[str]]:
    """The rows of each weight set, and what the user should know about them."""
    model = record.network().to(memory_format=torch.channels_last).to(test.images.device)
    settings, epsilon = getattr(run.suite.evaluation, evaluation), run.suite.threat.epsilon
    images = len(names) * EVALUATIONS[evaluation].workload(test, settings)
    blocks: list[pa.Table] = []
    remarks: list[str] = []
    device = test.images.device
    told = {"unit": "images", "aside": lambda: memory_in_words(device), "kept": ledger.images}
    with progress(f"{run.key} {evaluation}", images, **told) as advance:
        for name in names:
            load_weights(paths.weights(run.directory, name), model, record.weights[name].sha256)
            watcher = Watcher(
                advance=lambda by, note, name=name: advance(by, f"{name} {note}"),
                remark=lambda text, name=name: remarks.append(f"{name}: {text}"),
            )
            rows = evaluate_model(
                evaluation,
                model,
                test,
                settings,
                weights=name,
                epsilon=epsilon,
                seed=run.seed,
                watcher=watcher,
                recall=ledger.of(name),
            )
            blocks.append(rows)
    return blocks, remarks


def summary(rows: pa.Table, class_names: tuple[str, ...]) -> str:
    """One weight set in a line; of PGD, the longest attack."""
    frame = rows.to_pandas()
    if "corruption" in frame:
        right = frame["prediction"] == frame["label"]
        of_corruptions = right.groupby(frame["corruption"], observed=True).mean()
        worst = f"worst {of_corruptions.idxmin()} {of_corruptions.min():.1%}"
        return f"{right.mean():.1%} right under {len(of_corruptions)} corruptions, {worst}"
    attack = frame["attack"].iloc[-1]
    frame = frame[frame["attack"] == attack]
    clean, robust = (frame[name] == frame["label"] for name in ("clean", "adversarial"))
    of_classes = robust.groupby(frame["label"]).mean()
    return (
        f"{clean.mean():.1%} clean, {robust.mean():.1%} robust ({attack}, {len(frame)} images), "
        f"worst class {class_names[of_classes.idxmin()]} {of_classes.min():.1%}"
    )
