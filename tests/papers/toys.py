"""The papers' own numbers in the place of ours, and files that a run leaves."""

import hashlib

import pandas as pd
from fairat import paths
from fairat.papers.needs import PaperTarget
from fairat.papers.tables import Entry, Ours, entries
from fairat.results.aggregation import COLUMNS
from fairat.results.evidence import Origin, attack_rows, stacked, write_evidence
from fairat.training.record import WeightsRecord

from tests.toys import run_record

TITLES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cifar10_xcit": "CIFAR-10, XCiT-S12",
    "cifar10_resnet18": "CIFAR-10, ResNet-18",
    "cifar100_resnet18": "CIFAR-100, ResNet-18",
    "imagenette_resnet18": "Imagenette, ResNet-18",
    "cifar10_resnet18_wo2345": "without 2, 3, 4, 5",
    "cifar10_resnet18_wo1689": "without 1, 6, 8, 9",
    "demo": "Digits",
}


def printed_as_ours(target: PaperTarget, seeds: int | None = None) -> Ours:
    """As if our runs had given the printed numbers, the same for every seed, or only for the first `seeds`."""
    return Ours(tidy(entries(target), seeds), TITLES)


def tidy(shown: list[Entry], seeds: int | None = None) -> pd.DataFrame:
    rows = {}
    for entry in shown:
        one, value = entry.need, entry.cell.value / 100
        for seed in one.seeds[:seeds]:
            keys = (one.suite, one.method, seed, one.weights, one.evaluation, one.corruption, one.metric, "")
            rows[keys] = (value, value, value, 10_000)
    return pd.DataFrame([(*keys, *numbers) for keys, numbers in rows.items()], columns=list(COLUMNS))


DEVICE = "cpu"
HASHES = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("last", "ema", "fawa")}


def train(suite="cifar10", method="fair_tat", seed=0, *, absent=(), **fields) -> None:
    """Leaves the record of a finished training."""
    weights = {
        name: WeightsRecord(present=False, reason="the gate never opened")
        if name in absent
        else WeightsRecord(present=True, sha256=sha256)
        for name, sha256 in HASHES.items()
    }
    fields = {"fingerprint": "now", "device": DEVICE, "epochs": 200, "seconds": 100.0} | fields
    directory = paths.run(suite, method, seed)
    directory.mkdir(parents=True)
    run_record(suite=suite, method=method, seed=seed, weights=weights, **fields).save(directory)


def evaluate(
    suite="cifar10",
    method="fair_tat",
    seed=0,
    *,
    sha256=None,
    absent=(),
    seconds=10.0,
    steps=10,
    copies=1,
    fingerprint="now",
) -> None:
    """Two cats and two dogs, or more: three of four right without an attack, one of each class under it."""
    names = [name for name in HASHES if name not in absent]
    labels, clean, attacked = (copies * one for one in ([0, 0, 1, 1], [0, 0, 1, 0], [0, 1, 1, 0]))
    rows = [attack_rows(name, f"pgd{steps}", range(4 * copies), labels, clean, attacked) for name in names]
    fields = {"suite": suite, "method": method, "seed": seed, "evaluation": "pgd", "class_names": ("cat", "dog")}
    fields |= {"settings": {}, "weights_sha256": {name: sha256 or HASHES[name] for name in names}, "data_sha256": ""}
    fields |= {"fingerprint": fingerprint, "commit": "", "versions": {}, "device": DEVICE, "seconds": seconds}
    write_evidence(paths.evidence(suite, seed, "pgd", method), stacked(rows), Origin.model_validate(fields))
