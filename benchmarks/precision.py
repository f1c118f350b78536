"""What `precision: bfloat16` changes in a finished training, against what another seed changes.

    dvc repro prepare@demo fingerprint
    python -m benchmarks.precision --suite demo --methods at,fair_tat,trades --seeds 5

Trains every seed twice, once in the default precision and once with bfloat16 in the attack, and compares clean and PGD-20
accuracy of the last weights on the test images. Needs the suite's images, and of each method a line in runs.yaml or own.yaml,
of any seed.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from fairat import paths
from fairat.device import choose_device
from fairat.evaluation import evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.results import metrics
from fairat.settings.recipe import Precision
from fairat.study import Study, Training, load_study, run_key
from fairat.training.loop import LabeledImages, TrainingState, train
from scipy.stats import t

from benchmarks.common import Report, images_of, machine
from stages.train import describe, initial_model, labeled, settings_of

MEASURES = ("clean", "clean worst class", "PGD-20", "PGD-20 worst class")


def training_of(study: Study, suite: str, method: str, seed: int) -> Training:
    """A run that need not be in runs.yaml."""
    return Training(run_key(suite, method, seed), study.suites[suite], study.methods[method])


def accuracies(run: Training, precision: Precision, epochs: int | None, per_class: int | None) -> list[float]:
    """Trains, and gives `MEASURES` of the last weights as fractions."""
    device = choose_device(run.suite.threads)
    record = describe(run, device)
    recipe = run.recipe.scaled(epochs / run.recipe.epochs) if epochs else run.recipe
    settings = replace(settings_of(run, record), recipe=recipe.model_copy(update={"precision": precision}))
    training, validation = (labeled(run, split, device) for split in ("train", "validation"))
    if per_class:
        chosen = first(training.labels, per_class)
        training = LabeledImages(training.images[chosen.cpu()], training.labels[chosen])
    state = TrainingState.fresh(initial_model(record, run, device), settings)
    for _ in train(state, settings, training, validation):
        pass
    return attacked_accuracies(run, state.model, device)


def first(labels: torch.Tensor, per_class: int) -> torch.Tensor:
    """The places of the first images of each class."""
    places = [(labels == number).nonzero()[:per_class, 0] for number in labels.unique()]
    return torch.cat(places).sort().values


def attacked_accuracies(run: Training, model: torch.nn.Module, device: torch.device) -> list[float]:
    """Clean and PGD-20 accuracy on the test images, overall and of the worst class."""
    split = images_of(paths.dataset(run.suite_name), "test", device)
    test = EvaluationSet(split.images, split.labels, split.class_names)
    protocol, classes = run.suite.evaluation.pgd, len(split.class_names)
    rows = evaluate_model("pgd", model, test, protocol, epsilon=run.threat.epsilon, seed=run.seed)
    rows = rows.to_pandas().query("attack == 'pgd20'")
    found = []
    for name in ("clean", "adversarial"):
        counts = metrics.confusion(rows["label"].to_numpy(), rows[name].to_numpy(), classes)
        found += [float(metrics.overall_accuracy(counts)), float(metrics.worst_class_accuracy(counts))]
    return found


def main(
    suite: Annotated[str, typer.Option(help="whose images, network and recipe")] = "demo",
    methods: Annotated[str, typer.Option(help="of params.yaml, separated by commas")] = "at,fair_tat,trades",
    num_seeds: Annotated[int, typer.Option("--seeds", min=2, help="trainings of each method and precision")] = 5,
    epochs: Annotated[int | None, typer.Option(help="instead of the recipe's")] = None,
    per_class: Annotated[int | None, typer.Option(help="training images of each class; all by default")] = None,
    output: Annotated[Path | None, typer.Option(help="the table is also written here")] = None,
) -> None:
    """Trains in both precisions and compares the differences with the spread over seeds."""
    study, report = load_study(), Report()
    cuda = choose_device().type == "cuda"
    report.say(
        f"{machine(cuda=cuda)}; torch {torch.__version__}; suite {suite}, {num_seeds} seeds, last weights, percent."
    )

    def rows() -> Iterator[list[str]]:
        for method in methods.split(","):
            default, lower = (
                np.array(
                    [
                        accuracies(training_of(study, suite, method, seed), precision, epochs, per_class)
                        for seed in range(num_seeds)
                    ]
                )
                for precision in ("tf32", "bfloat16")
            )
            for number, measure in enumerate(MEASURES):
                yield [method, measure, *compared(100 * default[:, number], 100 * lower[:, number])]

    header = ["method", "accuracy", "default, mean ± std", "bfloat16, mean ± std", "difference, 95 % interval"]
    report.table(header, rows())
    if output:
        output.write_text("\n".join(report.lines) + "\n", encoding="utf-8")


def compared(default: np.ndarray, lower: np.ndarray) -> list[str]:
    """Means with spread over seeds, and the mean of the paired differences with Student's interval."""
    apart = lower - default
    half = t.ppf(0.975, len(apart) - 1) * statistics.stdev(apart.tolist()) / math.sqrt(len(apart))
    spread = [f"{one.mean():.1f} ± {one.std(ddof=1):.1f}" for one in (default, lower)]
    return [*spread, f"{apart.mean():+.1f} ({apart.mean() - half:+.1f} to {apart.mean() + half:+.1f})"]


if __name__ == "__main__":
    typer.run(main)
