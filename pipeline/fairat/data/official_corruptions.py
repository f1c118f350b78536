"""Official corrupted test sets (CIFAR-10-C, CIFAR-100-C) in the canonical form."""

from pathlib import Path

import numpy as np
import torch

from fairat.data.canonical import SEVERITIES, CorruptedImages, CorruptedManifest, Split, save_corruption
from fairat.data.cifar import read_arrays
from fairat.data.corruptions.constants import CORRUPTIONS
from fairat.data.download import locate
from fairat.errors import UserError
from fairat.files import whole_directory
from fairat.progress import progress
from fairat.settings.data import CorruptedSource


def prepare_corrupted(
    name: str, source: CorruptedSource, test: Split, output_directory: Path, archives_directory: Path
) -> CorruptedManifest:
    """Reads an official corrupted test set and writes it corruption by corruption; the directory appears whole.

    Args:
        name: of the data set, for the manifest.
        source: which corrupted test set.
        test: the clean test set; the archive must hold its images, in its order.
        output_directory: where the corruptions go; replaced if it is there.
        archives_directory: the cache of downloads.

    Raises:
        UserError: the archive cannot be had or read, lacks a corruption, belongs to another test set, or the disk is full.
    """
    path, record = locate(source, archives_directory)
    labels = test.labels.repeat(len(SEVERITIES))
    hashes: dict[str, str] = {}
    missing = {*CORRUPTIONS, "labels"}
    channels, height, width = test.images.shape[1:]
    with (
        whole_directory(output_directory) as beside,
        progress(f"{name}: reading {path.name}", len(CORRUPTIONS), unit="corruptions") as advance,
    ):
        for member, array in read_arrays(path):
            if member == "labels":
                _require(
                    np.array_equal(array, labels.numpy()), path, member, "not the labels of the test set five times"
                )
            elif member in CORRUPTIONS:
                fits = array.dtype == np.uint8 and array.shape == (len(labels), height, width, channels)
                _require(fits, path, member, f"{array.dtype} of shape {array.shape}")
                corrupted = CorruptedImages(torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(), labels)
                save_corruption(beside, member, corrupted)
                hashes[member] = corrupted.sha256
                advance(1, member)
            missing.discard(member)
        if missing:
            raise UserError(f"{path} lacks {', '.join(sorted(missing))}. Fetch the official archive again.")
        manifest = CorruptedManifest(
            dataset=name,
            source=source.model_dump(mode="json", exclude={"archive"}),
            archives=(record,),
            corruptions=CORRUPTIONS,
            image_shape=(channels, height, width),
            images=len(test),
            sha256={corruption: hashes[corruption] for corruption in CORRUPTIONS},
        )
        manifest.save(beside)
    return manifest


def _require(fits: bool, path: Path, member: str, problem: str) -> None:
    if not fits:
        raise UserError(
            f"{path}: {member}.npy does not belong to this test set (it is {problem}). Name the corrupted test set of the "
            "suite's own data as its `corruptions`, or set `corruptions: {kind: made}`."
        )
