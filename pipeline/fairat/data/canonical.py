"""The one form of data that everything later reads: uint8 images and labels per split, and a manifest beside them.

    data/<dataset>/             train.safetensors, validation.safetensors, test.safetensors, manifest.json
    data/<dataset>-corrupted/   one <corruption>.safetensors each, manifest.json

The same content always gives the same bytes, so that DVC sees a change only where there is one.
"""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Int64, UInt8
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fairat.errors import UserError
from fairat.files import whole_file
from fairat.settings.base import Settings

SEVERITIES = (1, 2, 3, 4, 5)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Split:
    """The images of one split, as read.

    Attributes:
        images: values in 0..255.
        labels: in 0..K-1; an index into `class_names`.
        class_names: K of them, pairwise different.
    """

    images: UInt8[Tensor, "count channel height width"]
    labels: Int64[Tensor, " count"]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each class, by its name."""
        counts = torch.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, counts, strict=True))

    @property
    def sha256(self) -> str:
        """Hash of shape, pixels, labels and class names; independent of the file format."""
        digest = hashlib.sha256(json.dumps([list(self.images.shape), self.class_names]).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class CorruptedImages(Split):
    """The test set under one corruption: severities 1..5 in consecutive blocks of N images in test-set order."""

    class_names: tuple[str, ...] = ()

    @property
    def severities(self) -> Int64[Tensor, " count"]:
        """The severity of every image, 1..5."""
        return torch.tensor(SEVERITIES).repeat_interleave(len(self) // len(SEVERITIES))


class ArchiveRecord(Settings):
    """An archive that images were read from: its file name and its hashes (MD5 where the publisher gives one)."""

    name: str
    sha256: str
    md5: str | None = None


class _ManifestFile(Settings):
    """What both manifests share: reading and writing `manifest.json`."""

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Reads the manifest of a data directory.

        Raises:
            UserError: there is none, or it is not readable as such.
        """
        path = directory / MANIFEST
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            raise UserError(f"There is no {path}. {_advice(directory)}") from None
        except (ValidationError, UnicodeDecodeError) as error:
            first = str(error).splitlines()
            raise UserError(
                f"{path} is not a manifest this version can read ({' '.join(' '.join(first[:3]).split())}). "
                f"Delete {directory}. {_advice(directory)}"
            ) from None

    def save(self, directory: Path) -> None:
        """Writes the manifest into a data directory."""
        with whole_file(directory / MANIFEST) as temporary:
            temporary.write_text(json.dumps(self.model_dump(mode="json"), indent=1) + "\n")


class Manifest(_ManifestFile):
    """Where the images of a data directory came from, and what they are.

    Attributes:
        archives: what was read; empty where the images come from a directory or a package.
        class_names: in the order of the labels.
        counts: split -> class name -> number of images.
        sha256: split -> hash of its content (`Split.sha256`).
        mean: of the training images, one per channel, in units of [0, 1] images; `std` likewise.
        versions: of the packages that decoded the images.
    """

    dataset: str
    source: dict[str, Any]
    archives: tuple[ArchiveRecord, ...] = ()
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    counts: dict[str, dict[str, int]]
    sha256: dict[str, str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    versions: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """One hash of all images, labels and class names: equal digests mean equal data, wherever it came from."""
        return hashlib.sha256(json.dumps(self.sha256, sort_keys=True).encode()).hexdigest()


class CorruptedManifest(_ManifestFile):
    """What a corrupted test set holds.

    Attributes:
        source: settings of the archive, or of the functions that made the corruptions.
        archives: what was read; empty where the corruptions were made.
        images: number of test images, N.
        sha256: corruption -> hash of its content (`CorruptedImages.sha256`).
        versions: of the packages that made the images.
    """

    dataset: str
    source: dict[str, Any]
    archives: tuple[ArchiveRecord, ...] = ()
    corruptions: tuple[str, ...]
    image_shape: tuple[int, int, int]
    images: int
    sha256: dict[str, str]
    versions: dict[str, str] = {}


def save_split(path: Path, split: Split) -> None:
    """Writes a split, or the test set under one corruption, as one safetensors file, whole."""
    _check(path, split.images, split.labels, len(split.class_names) or None)
    # A single metadata entry: safetensors writes several in an order that changes from process to process.
    metadata = {"class_names": json.dumps(split.class_names)} if split.class_names else {}
    tensors = {"images": split.images.contiguous(), "labels": split.labels.contiguous()}
    with whole_file(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            if code := re.search(r"os error (\d+)", str(error)):
                # What went wrong on the disk, in the form in which Python itself would report it.
                raise OSError(int(code[1]), str(error)) from None
            raise


def load_split(path: Path) -> Split:
    """Reads a split, for instance `data/cifar10/train.safetensors`.

    Raises:
        UserError: there is no such file, or it does not hold a split.
    """
    images, labels, metadata = _load(path)
    try:
        class_names = tuple(json.loads(metadata["class_names"]))
    except (KeyError, json.JSONDecodeError):
        raise UserError(f"{path} names no classes: it is not a split. {_advice(path.parent)}") from None
    _check(path, images, labels, len(class_names))
    return Split(images, labels, class_names)


def save_corruption(directory: Path, name: str, corrupted: CorruptedImages) -> None:
    """Writes the test set under one corruption; the manifest follows when all are there."""
    save_split(directory / f"{name}.safetensors", corrupted)


def load_corruption(directory: Path, name: str) -> CorruptedImages:
    """Reads the test set under one corruption.

    Raises:
        UserError: there is no such corruption, or its file is damaged.
    """
    names = corruption_names(directory)
    if name not in names:
        raise UserError(f"{directory} holds no corruption {name!r}; it holds: {', '.join(names)}.")
    path = directory / f"{name}.safetensors"
    images, labels, _ = _load(path)
    _check(path, images, labels)
    return CorruptedImages(images, labels)


def corruption_names(directory: Path) -> tuple[str, ...]:
    """The corruptions of a corrupted test set, in the order of its manifest."""
    return CorruptedManifest.load(directory).corruptions


def channel_statistics(
    images: UInt8[Tensor, "count channel height width"],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and (population) standard deviation of each channel, in units of [0, 1] images.

    Both come from exact integer sums, so they do not depend on the order of summation.
    """
    means, deviations = [], []
    values = torch.arange(256)
    for channel in images.unbind(1):
        histogram = torch.bincount(channel.flatten(), minlength=256)
        count, total, squares = (int((histogram * values**power).sum()) for power in range(3))
        means.append(total / count / 255)
        deviations.append(math.sqrt(count * squares - total**2) / count / 255)
    return tuple(means), tuple(deviations)


def _load(path: Path) -> tuple[Tensor, Tensor, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor("images"), file.get_tensor("labels"), file.metadata() or {}
    except FileNotFoundError:
        raise UserError(f"There is no {path}. {_advice(path.parent)}") from None
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}). Delete {path.parent}. {_advice(path.parent)}") from None


def _check(path: Path, images: Tensor, labels: Tensor, classes: int | None = None) -> None:
    """Raises UserError unless there are images, one label each, and the labels name classes, or are five equal blocks."""
    problem = None
    if images.dtype != torch.uint8 or images.ndim != 4:
        problem = f"images are {images.dtype} of shape {tuple(images.shape)}, but must be uint8 (N, C, H, W)"
    elif labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        problem = f"labels are {labels.dtype} of shape {tuple(labels.shape)}, but must be int64 ({len(images)},)"
    elif not len(labels):
        problem = "there are no images"
    elif classes is None:
        block = labels[: len(labels) // len(SEVERITIES)]
        if not torch.equal(labels, block.repeat(len(SEVERITIES))):
            problem = f"{len(labels)} labels are not the test set's labels five times, once for each severity"
    elif labels.min() < 0 or labels.max() >= classes:
        problem = f"labels range over [{labels.min()}, {labels.max()}], but there are {classes} classes"
    if problem:
        raise UserError(f"{path}: {problem}. {_advice(path.parent)}")


def _advice(directory: Path) -> str:
    name = directory.name
    if name.endswith("-corrupted"):
        return f"Run the stage corrupt of {name.removesuffix('-corrupted')} to make the corrupted test set."
    return f"Run the stage prepare of {name} to make the data."
