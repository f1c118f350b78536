"""The papers' own numbers in the place of ours."""

import pandas as pd

from pipeline.aggregation import COLUMNS
from pipeline.papers.needs import PaperTarget
from pipeline.papers.tables import Entry, Ours, entries

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
