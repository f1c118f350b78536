"""Corrupted test sets in the canonical form: an official one, read from its archive, or one made from the test images."""

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from fairat.data.archives import members
from fairat.data.canonical import SEVERITIES, CorruptedManifest, Split, save_split
from fairat.data.corruptions import CORRUPTIONS, SMALLEST_SIDE, corrupt
from fairat.data.corruptions.weather import frost_directory
from fairat.data.download import locate
from fairat.errors import UserError
from fairat.files import whole_directory
from fairat.progress import progress
from fairat.settings.data import CorruptedSource, MadeCorruptions

_PACKAGES = {"made": ("imagecorruptions", "numpy", "pillow", "scipy", "torch")}
"""The packages on which the pixels of a source depend."""


def prepare_corrupted(
    name: str, source: CorruptedSource | MadeCorruptions, test: Split, output_directory: Path, archives_directory: Path
) -> CorruptedManifest:
    """Writes a corrupted test set corruption by corruption, and its manifest; the directory appears whole.

    Raises:
        UserError: the archive cannot be had or read, lacks a corruption or belongs to another test set; images cannot be
            corrupted; the disk is full.
    """
    if isinstance(source, MadeCorruptions):
        corrupted, archives = _made(test, source.seed), ()
    else:
        path, record = locate(source, archives_directory)
        corrupted, archives = _official(path, test), (record,)
    channels, height, width = test.images.shape[1:]
    hashes: dict[str, str] = {}
    with whole_directory(output_directory) as temporary:
        for corruption, images in corrupted:
            block = Split(images, test.labels.repeat(len(SEVERITIES)))
            save_split(temporary / f"{corruption}.safetensors", block)
            hashes[corruption] = block.sha256
        manifest = CorruptedManifest(
            dataset=name,
            source=source.model_dump(mode="json", exclude={"archive"}),
            archives=archives,
            corruptions=CORRUPTIONS,
            image_shape=(channels, height, width),
            images=len(test),
            sha256={corruption: hashes[corruption] for corruption in CORRUPTIONS},
            versions={package: version(package) for package in _PACKAGES.get(source.kind, ())},
        )
        manifest.save(temporary)
    return manifest


def _made(test: Split, seed: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Every corruption with its severities one after the other, each in a thread."""
    channels, height, width = test.images.shape[1:]
    if channels not in (1, 3) or min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"Images of shape {channels} x {height} x {width} cannot be corrupted: they need 1 or 3 channels and "
            f"sides of at least {SMALLEST_SIDE} pixels. Convert or enlarge them where the data set is prepared."
        )
    try:
        frost_directory()
    except ModuleNotFoundError as error:
        raise UserError(
            f'{error} Install it with `make setup` or with `python -m pip install -e ".[corruptions]"`, and run the command '
            "again."
        ) from None
    images = test.images.numpy()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(f"corrupting {len(test):,} images", len(CORRUPTIONS), unit="corruptions") as advance,
    ):
        for name in CORRUPTIONS:
            made = pool.map(lambda severity, name=name: corrupt(images, name, severity, seed), SEVERITIES)
            yield name, torch.from_numpy(np.concatenate(list(made)))
            advance(1, name)


def _official(path: Path, test: Split) -> Iterator[tuple[str, torch.Tensor]]:
    """The corruptions of an archive such as CIFAR-10-C: uint8 arrays, channels last, severities 1..5 in blocks."""
    channels, height, width = test.images.shape[1:]
    labels = test.labels.repeat(len(SEVERITIES))
    missing = {*CORRUPTIONS, "labels"}
    for member, content in members(path):
        if content is None or member.suffix != ".npy" or member.stem not in missing:
            continue
        try:
            array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        except ValueError as error:
            raise UserError(
                f"{path}: {member} is not an array of numbers ({error}). Fetch the archive again."
            ) from None
        if member.stem == "labels":
            fits, found = np.array_equal(array, labels.numpy()), "not the labels of the test set five times"
        else:
            fits = array.dtype == np.uint8 and array.shape == (len(labels), height, width, channels)
            found = f"{array.dtype} of shape {array.shape}"
        if not fits:
            raise UserError(
                f"{path}: {member.name} does not belong to this test set (it is {found}). Name the corrupted test set of "
                "the suite's own data as its `corruptions`, or set `corruptions: {kind: made}`."
            )
        missing.remove(member.stem)
        if member.stem != "labels":
            yield member.stem, torch.from_numpy(array).permute(0, 3, 1, 2).contiguous()
    if missing:
        raise UserError(f"{path} lacks {', '.join(sorted(missing))}. Fetch the official archive again.")
