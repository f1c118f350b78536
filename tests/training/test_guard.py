"""A training that would take too long is refused after thirteen batches, once, and never where the user insists."""

import time
from collections.abc import Iterator

import pytest
import torch
from fairat.errors import UserError
from fairat.training.guard import REASONABLE_HOURS, PatienceGuard

IMAGES_IN_ALL = 3_600_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that stands still until a test moves it."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.delenv("INSIST", raising=False)
    yield now


def run(clock: list[float], batches: int, seconds_per_image: float, *, warm_up: float = 0.0) -> None:
    guard = PatienceGuard(IMAGES_IN_ALL, torch.device("cpu"), "cifar10/at/s0")
    for number in range(batches):
        clock[0] += warm_up if number < 3 else 100 * seconds_per_image
        guard(100)


def test_a_training_of_more_than_reasonable_hours_is_refused_with_what_would_help(clock: list[float]) -> None:
    with pytest.raises(UserError) as caught:
        run(clock, 13, 0.05)
    assert str(caught.value) == (
        "cifar10/at/s0 would take about 50 hours on cpu (estimated from 10 batches). "
        "Run it on a CUDA device, try the small study with `make demo`, lower the suite's epoch_scale or "
        "architecture.width in params.yaml, or set INSIST=1 in the environment to train all the same."
    )


def test_it_is_refused_after_ten_timed_batches_and_not_before(clock: list[float]) -> None:
    run(clock, 12, 1.0)


def test_a_slow_warm_up_does_not_count(clock: list[float]) -> None:
    run(clock, 13, 0.047, warm_up=10_000.0)
    assert 0.047 * IMAGES_IN_ALL / 3600 < REASONABLE_HOURS


def test_batches_that_become_slow_later_are_not_refused(clock: list[float]) -> None:
    guard = PatienceGuard(IMAGES_IN_ALL, torch.device("cpu"), "cifar10/at/s0")
    for number in range(30):
        clock[0] += 0.1 if number < 13 else 1000.0
        guard(100)


def test_a_user_who_insists_is_never_refused(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSIST", "1")
    run(clock, 13, 1.0)
