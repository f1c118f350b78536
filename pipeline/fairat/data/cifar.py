"""The official CIFAR archives for Python."""

import io
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fairat.data.archives import members
from fairat.data.canonical import Split
from fairat.errors import UserError

_LAYOUTS = {
    "cifar10": ([f"data_batch_{number}" for number in range(1, 6)], ["test_batch"], "batches.meta", "label"),
    "cifar100": (["train"], ["test"], "meta", "fine_label"),
}
"""Files of training and test images and of class names, and the kind of labels."""

_BAD_PICKLE = (pickle.UnpicklingError, EOFError, LookupError, ArithmeticError, AttributeError, TypeError, ValueError)
"""What a pickle that is damaged, or asks for too much, may raise."""


def read_cifar(path: Path, kind: Literal["cifar10", "cifar100"]) -> tuple[Split, Split]:
    """Training and test images in file order; of CIFAR-100 with its fine labels.

    Raises:
        UserError: the archive is not the official one for Python.
    """
    train, test, meta, label = _LAYOUTS[kind]
    wanted = {*train, *test, meta}
    files = {member.name: content for member, content in members(path) if content and member.name in wanted}
    parts: dict[str, Any] = {}
    for name, content in files.items():
        try:
            # Written by Python 2: its byte strings become text, as their keys need.
            parts[name] = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        except _BAD_PICKLE as error:
            raise UserError(f"{path}: {name} was not opened: {error}. Fetch the official archive again.") from None
    try:
        class_names = tuple(parts[meta][f"{label}_names"])
        return _split(parts, train, f"{label}s", class_names), _split(parts, test, f"{label}s", class_names)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path} is not the official archive for Python: {', '.join(sorted(wanted))} are expected in it, with images, "
            f"labels and class names ({problem}). Leave `archive`, `url` and `md5` out of the source to fetch the official one."
        ) from None


def _split(parts: dict[str, Any], names: list[str], label_key: str, class_names: tuple[str, ...]) -> Split:
    # One row per image, its channels one after the other: the order of (channel, height, width).
    pixels = np.concatenate([parts[name]["data"] for name in names]).astype(np.uint8, casting="no")
    labels = torch.tensor([label for name in names for label in parts[name][label_key]], dtype=torch.int64)
    if not (len(labels) and 0 <= labels.min() <= labels.max() < len(class_names)):
        raise ValueError(f"{len(labels)} labels do not fit {len(class_names)} classes")
    return Split(torch.from_numpy(pixels.reshape(len(labels), 3, 32, 32)), labels, class_names)


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays and Python's own containers, and runs nothing else that a pickle may ask for."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name in the pickle stands for; only numpy's three ways to rebuild an array are known."""
        if module_name in ("numpy.core.multiarray", "numpy._core.multiarray") and global_name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if (module_name, global_name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, global_name)
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which no image needs")
