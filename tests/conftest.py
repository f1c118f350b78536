"""What all tests share: one thread, so that two workers do not fight for two cores, and shapes that are checked."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from beartype import beartype
from jaxtyping import install_import_hook

torch.set_num_threads(1)


def shapes_checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its shapes checked at every call; all other annotations are pyright's business."""
    shapes = {name: hint for name, hint in function.__annotations__.items() if "jaxtyping" in str(hint)}
    function.__annotations__ = shapes
    return beartype(function) if shapes else function


install_import_hook(["fairat", "stages"], f"{__name__}.{shapes_checked.__name__}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests first: those of the graph take one worker as long as all the others take the other one."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
