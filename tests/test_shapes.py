"""Shapes are checked while tests run: a wrong annotation planted in any room fails the suite."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import fairat
import pytest
import torch
from jaxtyping import TypeCheckError

ROOMS = [f"fairat.{room}" for room in fairat.ROOMS if Path("pipeline/fairat", room).is_dir()]
IMAGES = torch.rand(2, 3, 5, 7)
PLANTED = """
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

def true(images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch width height channel"]:
    return images.transpose(1, 3)

def wrong_result(images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel height width"]:
    return images.transpose(1, 3)

def wrong_argument(images: Float[Tensor, "batch pixel"]) -> None: ...

def wrong_type(images: Int[Tensor, "..."] | None) -> None: ...

class Network:
    def wrong_method(self, images: Float[Tensor, "batch size size channel"]) -> None: ...

@dataclass
class WrongField:
    images: Float[Tensor, " image"]

wrong_method = Network().wrong_method
"""
WRONG = ("wrong_result", "wrong_argument", "wrong_type", "wrong_method", "WrongField")


@pytest.fixture(params=[*ROOMS, "stages"])
def planted(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of that room with one true annotation and some wrong ones."""
    room = importlib.import_module(request.param)
    (tmp_path / "planted.py").write_text(PLANTED)
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    yield importlib.import_module(f"{request.param}.planted")
    del sys.modules[f"{request.param}.planted"], vars(room)["planted"]


def test_a_wrong_annotation_planted_in_any_room_fails_the_suite(planted: ModuleType) -> None:
    assert planted.true(IMAGES).shape == (2, 7, 5, 3)
    for name in WRONG:
        with pytest.raises(TypeCheckError, match=name):
            getattr(planted, name)(IMAGES)


def test_no_module_escapes_the_check() -> None:
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] in ("fairat", "stages")]
    escaped = [module.__name__ for module in modules if type(module.__loader__).__name__ != "_JaxtypingLoader"]
    assert (len(modules) > 1, escaped) == (True, [])
