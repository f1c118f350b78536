"""Makes (or fetches) the corrupted test set of a suite."""

import time
from typing import Annotated

import typer
from fairat import paths
from fairat.console import console, progress, run_stage
from fairat.data.canonical import load_split
from fairat.data.corruptions import CORRUPTIONS, corrupt_test_set
from fairat.data.official_corruptions import prepare_corrupted
from fairat.settings.data import MadeCorruptions
from fairat.study import load_study


def main(suite: Annotated[str, typer.Argument(help="a suite of params.yaml")]) -> None:
    """Writes data/SUITE-corrupted: 19 corruptions at 5 severities of the suite's test images."""
    settings = load_study().suite(suite).data.corruptions
    test = load_split(paths.dataset(suite) / "test.safetensors")
    output, began = paths.corrupted(suite), time.perf_counter()
    if isinstance(settings, MadeCorruptions):
        with progress(f"{suite}: corrupting {len(test):,} images", len(CORRUPTIONS), unit="corruptions") as advance:
            corrupt_test_set(test, output, dataset=suite, seed=settings.seed, progress=advance)
    else:
        prepare_corrupted(suite, settings, test, output, paths.ARCHIVES)
    seconds = time.perf_counter() - began
    console.print(f"{suite}: {len(CORRUPTIONS)} corruptions of {len(test):,} images in {output}; {seconds:.1f} s")


if __name__ == "__main__":
    run_stage(main)
