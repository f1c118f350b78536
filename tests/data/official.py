"""Tiny archives in the formats of the official ones."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

CIFAR10_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class _PythonTwoPickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote both: as byte strings. The official CIFAR files are such pickles."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if not isinstance(obj, str | bytes):
            super().save(obj, save_persistent_id)  # pyright: ignore[reportAttributeAccessIssue]
            return
        content = obj.encode() if isinstance(obj, str) else obj
        header = pickle.BINSTRING + len(content).to_bytes(4, "little")
        self.write(header + content)  # pyright: ignore[reportAttributeAccessIssue]


def python_two_pickle(value: Any) -> bytes:
    """The bytes that Python 2, with the numpy of its time, would have written."""
    stream = io.BytesIO()
    _PythonTwoPickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def batch(seed: int, count: int, classes: int, label_key: str = "labels") -> dict[str, Any]:
    """A batch of random images: what one file of an official archive holds."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).tolist()
    return {"data": random.integers(0, 256, (count, 3072), dtype=np.uint8), label_key: labels, "batch_label": "a batch"}


def cifar10_files(images_per_batch: int = 20) -> dict[str, Any]:
    """The files of a CIFAR-10 archive with five training batches and a test batch."""
    names = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
    files: dict[str, Any] = {name: batch(seed, images_per_batch, 10) for seed, name in enumerate(names)}
    return files | {"batches.meta": {"label_names": list(CIFAR10_NAMES), "num_cases_per_batch": images_per_batch}}


def cifar100_files(images: int = 200) -> dict[str, Any]:
    """The files of a CIFAR-100 archive; the coarse labels are all zero."""
    files: dict[str, Any] = {
        name: batch(seed, images, 100, "fine_labels") | {"coarse_labels": [0] * images}
        for seed, name in enumerate(("train", "test"))
    }
    names = [f"fine {number}" for number in range(100)]
    return files | {"meta": {"fine_label_names": names, "coarse_label_names": ["coarse"]}}


def pack_pickles(path: Path, files: dict[str, Any], folder: str = "cifar-10-batches-py") -> Path:
    """Writes a .tar.gz of pickles; what is bytes already is taken as it is."""
    contents = {name: value if isinstance(value, bytes) else python_two_pickle(value) for name, value in files.items()}
    return pack(path, {f"{folder}/{name}": content for name, content in contents.items()}, "w:gz")


def pack_arrays(path: Path, arrays: dict[str, np.ndarray], folder: str = "CIFAR-10-C") -> Path:
    """Writes a .tar of arrays, as corrupted test sets are."""
    contents = {}
    for name, array in arrays.items():
        stream = io.BytesIO()
        np.save(stream, array)
        contents[f"{folder}/{name}.npy"] = stream.getvalue()
    return pack(path, contents, "w")


def pack(path: Path, contents: dict[str, bytes], mode: Any) -> Path:
    """Writes a tar archive."""
    with tarfile.open(path, mode) as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
