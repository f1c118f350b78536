"""Brings a published network into the study; from there on it is evaluated, or fine-tuned, as if trained here."""

from pathlib import Path

import torch

from fairat import paths, provenance
from fairat.data.canonical import Manifest
from fairat.device import conditions
from fairat.files import sha256_of, whole_directory
from fairat.settings.architectures import PublishedNetwork
from fairat.settings.averaging import WEIGHT_SETS
from fairat.training.checkpoint import save_weights
from fairat.training.record import MEASURED, RunRecord, WeightsRecord

ABSENT = WeightsRecord(present=False, reason="the network was published with one set of weights")


def described(
    architecture: PublishedNetwork, manifest: Manifest, suite: str, name: str, seed: int, fingerprint: str
) -> RunRecord:
    """The record of a published network as far as it is known without its weights."""
    return RunRecord(
        suite=suite,
        method=name,
        seed=seed,
        class_names=manifest.class_names,
        image_shape=manifest.image_shape,
        architecture=architecture.unplaced(),
        statistics=None,
        settings={"architecture": architecture.decisive()},
        start_sha256=architecture.start_sha256,
        fingerprint=fingerprint,
        data=manifest.digest,
        commit=provenance.commit(),
        versions=provenance.versions(),
        device="cpu",
        conditions=conditions(torch.device("cpu")),
        epochs=0,
        seconds=0.0,
        weights={},
    )


def adopt(directory: Path, architecture: PublishedNetwork, record: RunRecord) -> None:
    """Loads the published weights and writes a run's directory, whole.

    Args:
        directory: of the run.
        architecture: says where the weights come from; the record may be silent about it.
        record: from `described`.

    Raises:
        UserError: the weights cannot be had, or the network is not for these images and classes.
    """
    model = record.model_copy(update={"architecture": architecture}).network(pretrained=True)
    origin = record.model_dump(mode="json", exclude=MEASURED)
    with whole_directory(directory) as beside:
        sha256 = save_weights(paths.weights(beside, "last"), model.state_dict(), origin)
        weights = dict.fromkeys(WEIGHT_SETS, ABSENT) | {"last": WeightsRecord(present=True, sha256=sha256)}
        # No epochs, but where every run has its history, so that trackers need not ask.
        (beside / "history.csv").write_text("epoch\n", encoding="utf-8")
        files = {"history.csv": sha256_of(beside / "history.csv")}
        record.model_copy(update={"weights": weights, "files": files}).save(beside)
