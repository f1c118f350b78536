"""Where every artifact lives, relative to the repository root; nothing else joins paths."""

from pathlib import Path

PARAMS = Path("params.yaml")
RUNS = Path("runs.yaml")
OWN = Path("own.yaml")
ARCHIVES = Path("data/archives")
FINGERPRINTS = Path("fingerprints")
DEMO = Path("reports/demo.txt")
DEMO_REPORT = Path("reports/demo_report")
REPRODUCTION = Path("reports/reproduction.md")
REPRODUCED_CELLS = Path("reports/reproduction")
PAPER_TABLES = Path("reports/tables")
REPORT = Path("reports/report.pdf")
PUBLISHED = Path("reports/published/paper_results.csv")
PUBLISHED_PARAMS = Path("reports/published/params.yaml")

EVALUATIONS = ("pgd", "autoattack", "square", "corruptions", "steps")
"""Every evaluation stage; `steps` is for the runs under `stepped:` only."""


def dataset(suite: str) -> Path:
    """The canonical data of a suite."""
    return Path("data") / suite


def corrupted(suite: str) -> Path:
    """The corrupted test set of a suite."""
    return Path("data") / f"{suite}-corrupted"


def robustbench(name: str, dataset: str) -> Path:
    """The weights of a network that RobustBench publishes, once they were downloaded."""
    return ARCHIVES / "robustbench" / dataset / "Linf" / f"{name}.pt"


def run(suite: str, method: str, seed: int) -> Path:
    """What one training leaves."""
    return Path("runs") / suite / method / f"s{seed}"


def resume(suite: str, method: str, seed: int, stage: str = "train") -> Path:
    """Where an unfinished training or evaluation can be taken up again; outside DVC, which empties outputs before a stage."""
    return Path(".resume") / stage / suite / method / f"s{seed}"


def lock(suite: str, method: str, seed: int, stage: str = "train") -> Path:
    """Where a process says that it trains or evaluates a run."""
    return Path(".resume/locks") / stage / suite / method / f"s{seed}"


def weights(directory: Path, name: str) -> Path:
    """One weight set of a training."""
    return directory / f"{name}.safetensors"


def predictions(suite: str, evaluation: str) -> Path:
    """All evidence of a suite under one evaluation."""
    return Path("results") / evaluation / suite


def evidence(suite: str, seed: int, evaluation: str, method: str) -> Path:
    """The predictions of one evaluation of one run, a row per image and weight set."""
    return predictions(suite, evaluation) / method / f"s{seed}.parquet"


def metrics(suite: str) -> Path:
    """The tidy metrics of a suite: a row per metric."""
    return Path("reports/metrics") / f"{suite}.parquet"


def headline(suite: str) -> Path:
    """The few numbers of a suite that DVC shows and compares."""
    return Path("reports/headline") / f"{suite}.json"


def tables(suite: str) -> Path:
    """The rendered tables of a suite."""
    return Path("reports/tables") / suite


def paper_table(name: str, suffix: str) -> Path:
    """A table of a paper with our numbers, as `.md` or `.tex`."""
    return PAPER_TABLES / f"{name}{suffix}"


def versus_table(name: str, suffix: str) -> Path:
    """The same with the printed numbers beside ours."""
    return PAPER_TABLES / f"{name}_vs_paper{suffix}"


def paper_figure(name: str, suffix: str) -> Path:
    """A figure of a paper with our numbers, as `.pdf` or `.png`."""
    return Path("reports/figures") / f"{name}{suffix}"


def significance(suite: str) -> Path:
    """Differences between the methods of a suite, with their intervals."""
    return Path("reports/significance") / suite


def figures(suite: str) -> Path:
    """The rendered figures of a suite."""
    return Path("reports/figures") / suite
