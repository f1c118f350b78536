"""Averages of weights (AF-19, AF-20, AF-21)."""

import math

import pytest
import torch
from fairat.methods.averaging import Averages, averaged
from fairat.settings.averaging import Averaging


def live(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([value], dtype=torch.float64), "steps": torch.tensor(int(value))}


def test_an_average_begins_with_a_copy_and_forgets_slowly() -> None:
    """AF-19."""
    first = averaged(None, live(1), 0.85)
    second = averaged(first, live(2), 0.85)
    third = averaged(second, live(3), 0.85)
    assert [state["weight"].item() for state in (first, second, third)] == pytest.approx([1, 1.15, 1.4275])
    assert math.log(0.5) / math.log(Averaging().decay) == pytest.approx(4.265, abs=1e-3)
    assert Averaging().decay ** 150 == pytest.approx(2.6e-11, rel=0.02)


def test_integer_buffers_are_taken_from_the_live_model() -> None:
    """AF-21."""
    state = averaged(averaged(None, live(1), 0.85), live(2), 0.85)
    assert state["steps"].dtype == torch.int64
    assert state["steps"].item() == 2


def test_a_running_mean_and_variance_are_averaged() -> None:
    """AF-21, on a real batch norm."""
    norm = torch.nn.BatchNorm1d(2)
    before = averaged(None, norm.state_dict(), 0.85)
    norm(torch.randn(16, 2) + 3)
    after = averaged(before, norm.state_dict(), 0.85)
    for name in ("running_mean", "running_var"):
        expected = 0.85 * before[name] + 0.15 * norm.state_dict()[name]
        torch.testing.assert_close(after[name], expected)


def test_fawa_averages_only_epochs_whose_worst_class_reaches_the_threshold() -> None:
    """AF-20: equality opens the gate."""
    averages = Averages(Averaging(start_epoch=0), epochs=5)
    seen: list[float | None] = []
    for epoch, worst in enumerate((0.10, 0.25, 0.19, 0.22, 0.20)):
        averages.update(epoch, live(epoch + 1), worst_class=worst, overall=0.5)
        seen.append(averages.sets["fawa"]["weight"].item() if "fawa" in averages.sets else None)
    assert seen[0] is None
    assert seen[1:] == pytest.approx([2, 2, 2.3, 2.705])


def test_a_gate_that_never_opens_leaves_no_weights_and_a_reason() -> None:
    """AF-20"""
    averages = Averages(Averaging(start_epoch=0), epochs=2)
    averages.update(0, live(1), worst_class=0.1, overall=0.5)
    assert "fawa" not in averages.sets
    assert "never opened" in averages.reason_for_absence("fawa")
    assert "ema" in averages.sets


def test_averaging_begins_after_a_quarter_of_the_epochs() -> None:
    """A11 in docs/deviations.md: at the end of the 50th of 200 epochs."""
    assert Averaging().first_epoch(200) == 49
    assert [Averaging().first_epoch(epochs) for epochs in (1, 4, 12)] == [0, 0, 2]
    assert Averaging(start_epoch=0).first_epoch(200) == 0


def test_the_best_epoch_is_kept_by_validation_accuracy() -> None:
    averages = Averages(Averaging(), epochs=3)
    for epoch, overall in enumerate((0.2, 0.4, 0.3)):
        averages.update(epoch, live(epoch), worst_class=0.0, overall=overall)
    assert averages.sets["best"]["weight"].item() == 1


def test_averages_do_not_share_memory_with_the_live_weights() -> None:
    state = live(1)
    averages = Averages(Averaging(start_epoch=0), epochs=2)
    averages.update(0, state, worst_class=1.0, overall=1.0)
    state["weight"] += 5
    assert averages.sets["ema"]["weight"].item() == averages.sets["best"]["weight"].item() == 1
