"""How often intervals of a difference in worst-class accuracy hold the truth: percentile, basic, and the outer of both.

Rows of known class accuracies are measured on drawn test images; images are as hard for one row as for the other, up to
noise, and seeds differ by a normal deviation of every class. Minutes on one core. docs/reproduction.md shows the outcome.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from fairat.results import metrics
from fairat.results.bootstrap import Bootstrap
from fairat.results.significance import _class_accuracies, difference
from jaxtyping import Float, Int
from scipy.special import ndtri

AT = (0.60, 0.75, 0.30, 0.20, 0.35, 0.40, 0.55, 0.58, 0.66, 0.62)
FAIR_TAT = (0.58, 0.72, 0.30, 0.23, 0.26, 0.36, 0.55, 0.55, 0.63, 0.60)
CLEAR = (0.20, *[0.5] * 9)
DIGITS = (
    (0.95, 0.7, 0.8, 0.75, 0.9, 0.85, 0.93, 0.88, 0.65, 0.7),
    (0.95, 0.65, 0.8, 0.7, 0.9, 0.85, 0.93, 0.88, 0.55, 0.7),
)
HUNDRED = tuple(np.sort(np.random.default_rng(1).beta(2, 4, 100)))
SCENARIOS = {
    "CIFAR-10-like, FAIR-TAT and AT": (FAIR_TAT, AT, 1000, 1, 0.0),
    "CIFAR-10-like, AT and AT": (AT, AT, 1000, 1, 0.0),
    "ten classes alike in both": ([0.5] * 10, [0.5] * 10, 1000, 1, 0.0),
    "ten alike against one clearly worst": ([0.25] * 10, CLEAR, 1000, 1, 0.0),
    "36 images a class (digits)": (*DIGITS, 36, 1, 0.0),
    "100 classes of 100 images": (HUNDRED, HUNDRED, 100, 1, 0.0),
    "CIFAR-10-like, 2 seeds, deviation 2": (FAIR_TAT, AT, 1000, 2, 0.02),
    "CIFAR-10-like, 5 seeds, deviation 0.5": (FAIR_TAT, AT, 1000, 5, 0.005),
    "CIFAR-10-like, 5 seeds, deviation 2": (FAIR_TAT, AT, 1000, 5, 0.02),
}
"""Class accuracies of ours and of the base, images a class, seeds, deviation of a class over seeds."""
_CORRELATION = 0.6


def main() -> None:
    """Prints a line per scenario."""
    parser = argparse.ArgumentParser(description="How often intervals of a worst-class difference hold the truth.")
    parser.add_argument("--trials", type=int, default=300)
    trials = parser.parse_args().trials
    print(f"| rows | percentile | basic | outer | width | ({trials} trials)")
    for name, scenario in SCENARIOS.items():
        held, width = coverage(*scenario, trials=trials)
        print(f"| {name} | {' | '.join(f'{100 * share:.0f}' for share in held)} | {100 * width:.1f} |", flush=True)


def coverage(
    ours: Sequence[float], base: Sequence[float], size: int, seeds: int, deviation: float, *, trials: int
) -> tuple[Float[np.ndarray, " interval"], float]:
    """The share of trials in which each interval holds the true difference, and the mean width of the outer one."""
    generator = np.random.default_rng(0)
    means = np.array([ours, base])[:, None]
    trained = metrics.worst_accuracy(_accuracies(means, 20_000 if deviation else 1, deviation, generator))
    truth = float(np.mean(trained[0] - trained[1]))
    labels = np.repeat(range(len(ours)), size)
    held, widths = np.zeros((trials, 3)), np.zeros(trials)
    for trial in range(trials):
        right = _hits(_accuracies(means, seeds, deviation, generator), labels, generator)
        ends = _intervals(right, labels, Bootstrap(replicates=400, seed=trial))
        held[trial] = [low - 1e-9 <= truth <= high + 1e-9 for low, high in ends]
        widths[trial] = ends[-1][1] - ends[-1][0]
    return held.mean(axis=0), float(widths.mean())


def _accuracies(
    means: Float[np.ndarray, "row 1 class"], seeds: int, deviation: float, generator: np.random.Generator
) -> Float[np.ndarray, "row seed class"]:
    return (means + deviation * generator.normal(size=(2, seeds, means.shape[-1]))).clip(0.01, 0.99)


def _hits(
    accuracies: Float[np.ndarray, "row seed class"], labels: Int[np.ndarray, " image"], generator: np.random.Generator
) -> Int[np.ndarray, "row seed image"]:
    rows, seeds, _ = accuracies.shape
    hard = np.sqrt(_CORRELATION) * generator.normal(size=len(labels))
    noise = np.sqrt(1 - _CORRELATION) * generator.normal(size=(rows, seeds, len(labels)))
    return (hard + noise < ndtri(accuracies)[:, :, labels]).astype(np.int64)


def _intervals(
    right: Int[np.ndarray, "row seed image"], labels: Int[np.ndarray, " image"], bootstrap: Bootstrap
) -> list[tuple[float, float]]:
    found = difference(right[0], right[1], labels, bootstrap=bootstrap)["worst_class_accuracy"]
    seeds = right.shape[1]
    _, drawn = _class_accuracies(np.concatenate(list(right)), labels, 1, bootstrap)
    ours, base = np.split(metrics.worst_accuracy(drawn), 2, axis=1)
    chosen = np.random.default_rng((bootstrap.seed, 1)).integers(0, seeds, (bootstrap.replicates, max(1, seeds - 1)))
    replicates = np.take_along_axis(ours - base, chosen, axis=1).mean(axis=1)
    low, high = np.quantile(replicates, (0.025, 0.975))
    return [(low, high), (2 * found.value - high, 2 * found.value - low), (found.low, found.high)]


if __name__ == "__main__":
    main()
