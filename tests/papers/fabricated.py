"""Every run and evaluation that the papers' tables and figures ask for, made up: right and wrong at random, none trained.

    python -m tests.papers.fabricated DIRECTORY

makes a copy of the study there, in which `python -m stages paper table1` and its like show what complete tables look like.
"""

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from fairat import paths
from fairat.files import sha256_of
from fairat.papers.figure_rows import FIGURES
from fairat.papers.needs import PAPER_TARGETS
from fairat.papers.shown import Wanted, wanted_by
from fairat.papers.tables import entries
from fairat.rendering.tables import CORRUPTIONS
from fairat.results.evidence import Origin, attack_rows, corruption_rows, stacked, write_evidence
from fairat.study import Training, load_study
from fairat.training.record import RunRecord, WeightsRecord

from tests.toys import run_record

WEIGHTS = ("last", "ema", "fawa")
ATTACKS = {"pgd": ("pgd10", "pgd20"), "autoattack": ("autoattack",), "square": ("square",), "steps": ("pgd1000",)}
IMAGES_OF_A_CLASS = 20
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def everything() -> list[Wanted]:
    needs = [entry.need for target in PAPER_TARGETS.values() for entry in entries(target)]
    return wanted_by([*needs, *(one for content in FIGURES.values() for one in content.needs)])


def fabricate(directory: Path, wanted: Iterable[Wanted]) -> None:
    """Copies the study's files and makes up runs and evidence; `directory` must be the working directory."""
    root = Path(__file__).parents[2]
    for name in (paths.PARAMS, paths.RUNS, paths.OWN):
        shutil.copy(root / name, directory)
    shutil.copytree(root / "reports/published", directory / "reports/published", dirs_exist_ok=True)
    files = list(wanted)
    runs = {one.key: one for one in files}
    runs |= {f"{suite}/{method}/s{seed}": Wanted(suite, method, seed, "pgd")
             for content in FIGURES.values() for suite, method, seed in content.histories}  # fmt: skip
    study = load_study()
    for one in runs.values():
        run = study.named(one.key)
        begun_from = run.begun_from if isinstance(run, Training) else None
        write_run(one, f"{begun_from.key}/last" if begun_from else "")
    for one in files:
        write_evaluation(one)


def classes_of(suite: str) -> tuple[str, ...]:
    if suite.startswith("cifar100"):
        return tuple(f"class {number}" for number in range(100))
    return CIFAR10[:6] if "_wo" in suite else CIFAR10


def write_run(one: Wanted, start_sha256: str) -> None:
    weights = {name: WeightsRecord(present=True, sha256=f"{one.key}/{name}") for name in WEIGHTS}
    directory, names = paths.run(one.suite, one.method, one.seed), classes_of(one.suite)
    directory.mkdir(parents=True)
    record: RunRecord = run_record(
        suite=one.suite, method=one.method, seed=one.seed, class_names=names, weights=weights, start_sha256=start_sha256
    )
    generator = np.random.default_rng(len(one.key))
    radii = (8 + generator.normal(size=(20, len(names))).cumsum(axis=0) / 2).clip(2, 14) / 255
    rows = [(epoch, name, radii[epoch, number]) for epoch in range(20) for number, name in enumerate(names)]
    pd.DataFrame(rows, columns=["epoch", "class_name", "epsilon"]).to_csv(directory / "classes.csv", index=False)
    files = {"classes.csv": sha256_of(directory / "classes.csv")}
    record.model_copy(update={"files": files}).save(directory)


def write_evaluation(one: Wanted) -> None:
    names = classes_of(one.suite)
    generator = np.random.default_rng([one.seed, *one.path.as_posix().encode()])
    labels = np.arange(len(names)).repeat(IMAGES_OF_A_CLASS)
    index, hardness = np.arange(len(labels)), np.linspace(0.95, 0.55, len(names))[labels]

    def predicted(share: float) -> np.ndarray:
        wrong = (labels + generator.integers(1, len(names), len(labels))) % len(names)
        return np.where(generator.random(len(labels)) < share * hardness, labels, wrong)

    tables: list[pa.Table] = []
    for weights in WEIGHTS:
        if one.stage == "corruptions":
            for corruption in CORRUPTIONS:
                tables += [
                    corruption_rows(weights, corruption, severity, index, labels, predicted(1 - severity / 10))
                    for severity in range(1, 6)
                ]
            continue
        clean = predicted(1.0)
        for attack in ATTACKS[one.stage]:
            adversarial = np.where(clean == labels, predicted(0.7), clean)
            first = np.where(adversarial == labels, 1000, generator.integers(1, 1000, len(labels)))
            more = (first,) if one.stage == "steps" else ()
            tables.append(attack_rows(weights, attack, index, labels, clean, adversarial, *more))
    fields = {"suite": one.suite, "method": one.method, "seed": one.seed, "evaluation": one.stage, "class_names": names}
    fields |= {"settings": {}, "weights_sha256": {name: f"{one.key}/{name}" for name in WEIGHTS}, "data_sha256": ""}
    fields |= {"fingerprint": "", "commit": "", "versions": {}, "device": "cpu", "seconds": 1.0}
    write_evidence(one.path, stacked(tables), Origin.model_validate(fields))


if __name__ == "__main__":
    place, files_of_evidence = Path(sys.argv[1]).resolve(), everything()
    place.mkdir(parents=True)
    os.chdir(place)
    fabricate(place, files_of_evidence)
    print(f"{len(files_of_evidence)} files of evidence below {place}")
