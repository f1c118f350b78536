"""Shapes are checked while tests run: a wrong annotation in any room fails the suite."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

IMAGES, LABELS = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
CALLS: dict[str, tuple[str, str, str, Callable[[Any], Any]]] = {}


def rooms_with_shapes() -> set[str]:
    """The rooms whose code imports jaxtyping."""
    root = Path("pipeline/fairat")
    files = (path for path in root.rglob("*.py") if "from jaxtyping import" in path.read_text(encoding="utf-8"))
    return {path.relative_to(root).parts[0].removesuffix(".py") for path in files}


def test_every_room_with_shapes_is_tried() -> None:
    assert set(CALLS) == rooms_with_shapes()
