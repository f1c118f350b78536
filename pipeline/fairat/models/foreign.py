"""Checkpoints from elsewhere: read without running any code of theirs, reduced to tensors under bare names."""

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import torch
from torch import Tensor

from fairat.errors import UserError

UNREADABLE = (EOFError, KeyError, RuntimeError, pickle.UnpicklingError)
"""What loading a file raises that holds no weights, or other weights than expected."""

_CONTAINERS = ("state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint, without the prefixes that wrappers leave.

    Raises:
        UserError: the file is missing, or holds no tensors.
    """
    try:
        # The training script of timm, and VR's with it, stores its command line beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}. Put the checkpoint there, or correct its path.") from None
    except UNREADABLE as error:
        raise UserError(
            f"{path} cannot be read as PyTorch weights ({reason(error)}). Download it again, or name another file."
        ) from None
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds {type(content).__name__}, not a dictionary of weights. Name another file.")
    inner = next((content[key] for key in _CONTAINERS if key in content), content)
    return {_bare(name): value for name, value in inner.items() if isinstance(value, Tensor)}


def _bare(name: str) -> str:
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def reason(error: BaseException) -> str:
    """What one of `UNREADABLE` says, in one short line."""
    lines = str(error).splitlines() or [type(error).__name__]
    # load_state_dict opens with a heading and lists every name behind it.
    return shorten(lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0], width=160)
