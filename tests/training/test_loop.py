"""Whole trainings of a tiny network: they learn, resume exactly, and count what the spec says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fairat.results import metrics
from fairat.settings.averaging import Averaging
from fairat.training.checkpoint import load_resumable, save_resumable
from fairat.training.loop import TrainingState

from tests.training.toys import tiny_network, tiny_settings, trained

METHODS: dict[str, dict[str, Any]] = {
    "clean": {"objective": "clean"},
    "at": {"objective": "at"},
    "at_cfa": {"objective": "at", "margin": "robust_accuracy"},
    "trades": {"objective": "trades"},
    "fair_tat": {"objective": "at", "targets": "cfps", "margin": "robust_accuracy"},
    "fair_tat_uniform": {"objective": "at", "targets": "uniform"},
    "fair_tat_trades": {"objective": "trades", "targets": "cfps", "margin": "robust_accuracy"},
    "trades_ccr": {"objective": "trades", "class_weights": {"kind": "ccr", "begin_epoch": 1}},
    "fat": {"objective": {"kind": "fat", "tau": 1}},
    "fat_original": {"objective": {"kind": "fat", "variant": "original", "tau": 1}},
    "fair_tat_fat": {"objective": {"kind": "fat", "tau": 1}, "targets": "cfps", "margin": "robust_accuracy"},
    "frl": {
        "objective": {"kind": "trades", "beta": 1.5, "normalise": False},
        "margin": "frl_remargin",
        "class_weights": "frl_reweight",
    },
    "bat": {"objective": "bat"},
    "wat": {"objective": {"kind": "trades", "normalise": False}, "class_weights": "no_regret"},
    "dafa": {
        "objective": {"kind": "trades", "normalise": False},
        "margin": {"kind": "distance", "begin_epoch": 1, "lam": 0.3},
        "class_weights": {"kind": "distance", "begin_epoch": 1, "lam": 0.3},
    },
    "gairat": {"objective": {"kind": "gairat", "start_epoch": 1}},
}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_goes_down(name: str) -> None:
    state = trained(tiny_settings(METHODS[name], epochs=8))
    losses = [report["train_loss"] for report in state.reports]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", METHODS)
def test_a_killed_training_resumes_to_the_same_weights(name: str, tmp_path: Path) -> None:
    """AF-38: bit for bit, averages and history included."""
    settings = tiny_settings(METHODS[name], epochs=4)
    whole = trained(settings)
    save_resumable(tmp_path, trained(settings, epochs=2), "identity")
    state = TrainingState.fresh(tiny_network(seed=99), settings)
    assert load_resumable(tmp_path, state, "identity")
    assert state.history.epoch == 2
    resumed = trained(settings, state=state)
    assert equal(whole.model.state_dict(), resumed.model.state_dict())
    assert whole.averages.sets.keys() == resumed.averages.sets.keys()
    assert all(equal(whole.averages.sets[kind], resumed.averages.sets[kind]) for kind in whole.averages.sets)
    assert equal(whole.history.to_tensors(), resumed.history.to_tensors())
    assert [report["train_loss"] for report in whole.reports] == [report["train_loss"] for report in resumed.reports]


def test_a_state_of_other_code_data_or_numbers_is_not_taken_up(tmp_path: Path) -> None:
    settings = tiny_settings(METHODS["at"])
    save_resumable(tmp_path, trained(settings, epochs=1), "identity")
    assert not load_resumable(tmp_path, TrainingState.fresh(tiny_network(), settings), "another")
    assert not load_resumable(tmp_path / "nowhere", TrainingState.fresh(tiny_network(), settings), "identity")


def test_averaging_does_not_touch_the_live_weights() -> None:
    """AF-39."""
    settings = tiny_settings(METHODS["fair_tat"])
    without = trained(settings)
    always = tiny_settings(METHODS["fair_tat"])
    object.__setattr__(always, "averaging", always.averaging.model_copy(update={"start_epoch": 0, "decay": 0.1}))
    assert equal(without.model.state_dict(), trained(always).model.state_dict())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again = (trained(tiny_settings(METHODS["fair_tat"])).model.state_dict() for _ in range(2))
    other = trained(tiny_settings(METHODS["fair_tat"], seed=1)).model.state_dict()
    assert equal(first, again)
    assert not equal(first, other)


def test_every_image_is_counted_once_an_epoch() -> None:
    """Spec 1.4: train.robust from the loss's logits, train.clean from the clean pass."""
    state = trained(tiny_settings(METHODS["trades"], epochs=2))
    for record in state.history.records:
        assert record["train.robust"].sum() == record["train.clean"].sum() == 100
        assert record["val.clean"].sum() == record["val.pgd10"].sum() == 30
    assert state.reports[0]["train_robust_accuracy"] == pytest.approx(
        metrics.overall_accuracy(state.history.records[0]["train.robust"].numpy())
    )


def test_without_a_clean_pass_there_are_no_clean_counts_and_other_statistics() -> None:
    """Spec 1.3: the pass moves the batch-norm statistics, nothing else in the first epoch's step does."""
    with_pass, without = (
        trained(tiny_settings(METHODS["at"], epochs=1, clean_pass=when)) for when in ("after_step", "none")
    )
    assert without.history.records[0]["train.clean"].sum() == 0
    one, other = with_pass.model.state_dict(), without.model.state_dict()
    assert torch.equal(one["0.weight"], other["0.weight"])
    assert not torch.equal(one["1.running_mean"], other["1.running_mean"])


def test_attack_forwards_move_the_running_statistics_in_train_mode_only() -> None:
    """Spec 1.3: 3 attack forwards, 1 robust, 1 clean for each of 3 batches; in eval mode only the last two."""
    states = {
        mode: trained(tiny_settings({"objective": {"kind": "at", "attack_bn": mode}}, epochs=1))
        for mode in ("train", "eval")
    }
    counted = {mode: int(state.model.state_dict()["1.num_batches_tracked"]) for mode, state in states.items()}
    assert counted == {"train": 3 * 5, "eval": 3 * 2}


def test_radii_follow_the_robust_accuracy_of_the_epoch_before() -> None:
    state = trained(tiny_settings(METHODS["at_cfa"]))
    accuracy = metrics.class_accuracies(state.history.records[0]["train.robust"].numpy())
    assert state.radii[0].tolist() == pytest.approx([0.1] * 3)
    assert state.radii[1].tolist() == pytest.approx(list(0.1 * (0.5 + accuracy)))


def test_a_margin_that_has_not_begun_is_the_constant_one() -> None:
    """Bit for bit, through whole trainings."""
    constant = trained(tiny_settings(METHODS["at"], epochs=2))
    neutral = trained(
        tiny_settings({"objective": "at", "margin": {"kind": "robust_accuracy", "begin_epoch": 99}}, epochs=2)
    )
    assert equal(constant.model.state_dict(), neutral.model.state_dict())


def test_a_loss_that_is_not_finite_stops_with_batch_epoch_radii_and_rate() -> None:
    """Spec 3, common degenerate cases."""
    settings = tiny_settings(METHODS["at"], learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"epoch 0, batch \d.*learning rate 1e\+30.*radii.*25\.50") as error:
        trained(settings)
    assert "last good epoch" in str(error.value)


def test_weights_that_are_not_finite_after_the_last_batch_stop_the_training_too() -> None:
    """No later loss would tell."""
    settings = tiny_settings(METHODS["at"], epochs=1, learning_rate=1e38)
    settings = replace(settings, recipe=settings.recipe.model_copy(update={"batch_size": 100}))
    with pytest.raises(
        FloatingPointError, match=r"weights after epoch 0, batch 0 are not finite \(learning rate 1e\+38"
    ):
        trained(settings)


def test_the_gate_looks_at_the_probe_that_is_asked_for() -> None:
    """Spec 3.7, `averaging.probe`: the field is measured, and its worst class decides."""
    settings = tiny_settings(METHODS["at"], epochs=3)
    for threshold, open_gate in ((0.0, True), (1.0, False)):
        averaging = Averaging(probe="trades10", threshold=threshold, start_epoch=0)
        state = trained(replace(settings, averaging=averaging))
        assert state.history.records[-1]["val.trades10"].sum() == 30
        assert ("fawa" in state.averages.sets) == open_gate
