"""Makes (or fetches) the corrupted test set of a suite."""

import time
from typing import Annotated

import typer
from fairat import paths
from fairat.console import console
from fairat.data.canonical import verified_split
from fairat.data.corrupted import prepare_corrupted
from fairat.study import load_study


def main(suite: Annotated[str, typer.Argument(help="a suite of params.yaml")]) -> None:
    """Writes data/SUITE-corrupted: 19 corruptions at 5 severities of the suite's test images."""
    source, output, began = load_study().suite(suite).data.corruptions, paths.corrupted(suite), time.perf_counter()
    test = verified_split(paths.dataset(suite), "test")
    manifest = prepare_corrupted(suite, source, test, output, paths.ARCHIVES)
    made, seconds = len(manifest.corruptions), time.perf_counter() - began
    console.print(f"{suite}: {made} corruptions of {len(test):,} images in {output}; {seconds:.1f} s")
