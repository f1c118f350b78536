"""What all tests share: one thread, so that two workers do not fight for two cores."""

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The graph's tests first: they take one worker as long as all the others take the other one."""
    items.sort(key=lambda item: item.get_closest_marker("graph") is None)
