"""The one form of data that everything later reads: uint8 images and labels per split, and a manifest beside them.

    data/<dataset>/             train.safetensors, validation.safetensors, test.safetensors, manifest.json
    data/<dataset>-corrupted/   one <corruption>.safetensors each, manifest.json

The same content always gives the same bytes, so that DVC sees a change only where there is one.
"""

import hashlib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Bool, Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fairat.errors import UserError
from fairat.files import whole_file
from fairat.settings.base import Settings, signed, verified

SEVERITIES = (1, 2, 3, 4, 5)
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Split:
    """The images of one split; or the test set under one corruption, severities 1..5 in blocks of N in test-set order.

    Attributes:
        images: values in 0..255.
        labels: in 0..K-1; an index into `class_names`.
        class_names: K of them, pairwise different; none of a corrupted test set.
    """

    images: UInt8[Tensor, "count channel height width"]
    labels: Int64[Tensor, " count"]
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: slice | Bool[Tensor, " count"]) -> Self:
        """Some of the images, in their order."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

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

    @property
    def severities(self) -> Int64[Tensor, " count"]:
        """The severity of every image of a corrupted test set, 1..5."""
        return torch.tensor(SEVERITIES).repeat_interleave(len(self) // len(SEVERITIES))


class ArchiveRecord(Settings):
    """An archive that images were read from: its file name and its hashes (MD5 where the publisher gives one)."""

    name: str
    sha256: str
    md5: str | None = None


class _Manifest(Settings):
    """What the `manifest.json` of both kinds of data directory shares.

    Attributes:
        source: the settings that name it, without the path of a copy.
        archives: what was read; empty where the images come from a directory or a package, or were made.
    """

    dataset: str
    source: dict[str, Any]
    archives: tuple[ArchiveRecord, ...] = ()

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Reads the manifest of a data directory.

        Raises:
            UserError: there is none, or it is not readable as such.
        """
        path = directory / MANIFEST
        try:
            return verified(cls, path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise _error(path, f"There is no {path}") from None
        except ValueError as error:
            problem = " ".join(" ".join(str(error).splitlines()[:3]).split())
            text = f"{path} is not a manifest this version can read ({problem}). Delete {directory}"
            raise _error(path, text) from None

    def save(self, directory: Path) -> None:
        """Writes the manifest into a data directory."""
        with whole_file(directory / MANIFEST) as temporary:
            temporary.write_text(signed(self), encoding="utf-8")


class Manifest(_Manifest):
    """Where the images of a data directory came from, and what they are.

    Attributes:
        class_names: in the order of the labels.
        counts: split -> class name -> number of images.
        sha256: split -> hash of its content (`Split.sha256`).
        mean: of the training images, one per channel, in units of [0, 1] images; `std` likewise.
        versions: of the packages that decoded the images.
    """

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


class CorruptedManifest(_Manifest):
    """What a corrupted test set holds.

    Attributes:
        images: number of test images, N.
        sha256: corruption -> hash of its content (`Split.sha256`).
        versions: of the packages that made the images.
    """

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
        save_file(tensors, temporary, metadata)


def load_split(path: Path, *, corrupted: bool = False) -> Split:
    """Reads a split, for instance `data/cifar10/train.safetensors`, or a corrupted test set, which names no classes.

    Raises:
        UserError: there is no such file, or it does not hold a split.
    """
    try:
        with safe_open(path, framework="pt") as file:
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            class_names = () if corrupted else tuple(json.loads((file.metadata() or {})["class_names"]))
    except FileNotFoundError:
        raise _error(path, f"There is no {path}") from None
    except SafetensorError as error:
        raise _error(path, f"{path} is damaged ({error}). Delete {path.parent}") from None
    except (KeyError, json.JSONDecodeError):
        raise _error(path, f"{path} names no classes: it is not a split") from None
    _check(path, images, labels, None if corrupted else len(class_names))
    return Split(images, labels, class_names)


def verified_split(directory: Path, part: str) -> Split:
    """Reads `train`, `validation` or `test` of a data directory, and compares it with the hash in the manifest.

    Raises:
        UserError: something is missing or damaged.
    """
    path = directory / f"{part}.safetensors"
    return _verified(path, load_split(path), Manifest.load(directory).sha256.get(part))


def load_corruption(directory: Path, name: str) -> Split:
    """Reads the test set under one corruption, and compares it with the hash in the manifest.

    Raises:
        UserError: there is no such corruption, or its file is damaged.
    """
    manifest = CorruptedManifest.load(directory)
    if name not in manifest.corruptions:
        raise UserError(f"{directory} holds no corruption {name!r}; it holds: {', '.join(manifest.corruptions)}.")
    path = directory / f"{name}.safetensors"
    return _verified(path, load_split(path, corrupted=True), manifest.sha256.get(name))


def _verified(path: Path, split: Split, sha256: str | None) -> Split:
    """The split, if its content has that hash."""
    if split.sha256 == sha256:
        return split
    text = f"{path} is damaged or was replaced: {path.parent / MANIFEST} names other content. Delete {path.parent}"
    raise _error(path, text)


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


def _check(path: Path, images: Tensor, labels: Tensor, classes: int | None) -> None:
    """Raises UserError unless there are images, one label each, and the labels name classes, or are five equal blocks."""
    if images.dtype != torch.uint8 or images.ndim != 4:
        problem = f"images are {images.dtype} of shape {tuple(images.shape)}, but must be uint8 (N, C, H, W)"
    elif labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        problem = f"labels are {labels.dtype} of shape {tuple(labels.shape)}, but must be int64 ({len(images)},)"
    elif not len(labels):
        problem = "there are no images"
    elif classes is not None and (labels.min() < 0 or labels.max() >= classes):
        problem = f"labels range over [{labels.min()}, {labels.max()}], but there are {classes} classes"
    elif classes is None and not torch.equal(labels, labels[: len(labels) // len(SEVERITIES)].repeat(len(SEVERITIES))):
        problem = f"{len(labels)} labels are not the test set's labels five times, once for each severity"
    else:
        return
    raise _error(path, f"{path}: {problem}")


def _error(path: Path, text: str) -> UserError:
    """The error of a file of a data directory, which ends in the stage that makes the directory."""
    suite = path.parent.name.removesuffix("-corrupted")
    stage, made = ("prepare", "data") if suite == path.parent.name else ("corrupt", "corrupted test set")
    return UserError(f"{text}. Run the stage {stage} of {suite} to make the {made}.")
