"""Brings the images of a suite into the one form that everything later reads."""

import time
from typing import Annotated

import typer
from fairat import paths
from fairat.console import console
from fairat.data.canonical import Manifest
from fairat.data.prepare import prepare
from fairat.study import load_study


def main(suite: Annotated[str, typer.Argument(help="a suite of params.yaml")]) -> None:
    """Writes data/SUITE: its training, validation and test images, and a manifest."""
    data, began = load_study().suite(suite).data, time.perf_counter()
    manifest = prepare(suite, data, paths.dataset(suite), paths.ARCHIVES)
    console.print(f"{suite}: {described(manifest)}; {time.perf_counter() - began:.1f} s", soft_wrap=True, markup=False)


def described(manifest: Manifest) -> str:
    """A data set in a few words."""
    totals = ", ".join(f"{sum(counts.values()):,} {split}" for split, counts in manifest.counts.items())
    shape = "x".join(map(str, manifest.image_shape))
    return f"{totals} images of {shape}, {len(manifest.class_names)} classes"
