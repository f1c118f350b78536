"""A killed training goes on as if nothing had happened: from any epoch, to the same bytes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairat import files, sealed, seeds
from fairat.errors import UserError
from fairat.progress import told_to
from fairat.settings.averaging import Averaging
from fairat.settings.recipe import AdamW, Drop, Steps
from fairat.training.checkpoint import RESUME_FILE, Saver, load_resumable, load_weights, save_weights
from fairat.training.loop import TrainingSettings, TrainingState, train
from torch import Tensor, nn

from tests.toys import Ear
from tests.training.toys import tiny_images, tiny_network, tiny_settings

EPOCHS = 4
CONDITIONS = {"threads": "1"}
TRADES = {"kind": "trades", "normalize": False}
WITH_MEMORY: dict[str, dict[str, Any]] = {
    "cfa": {"objective": "at", "margin": "robust_accuracy"},
    "ccr": {"objective": "trades", "class_weights": {"kind": "ccr", "begin_epoch": 1}},
    "fair_tat": {"objective": "at", "targets": "cfps"},
    "frl": {"objective": TRADES, "margin": {"kind": "frl_remargin", "halve_at": 2}, "class_weights": "frl_reweight"},
    "wat": {"objective": TRADES, "class_weights": "no_regret"},
    "dafa": {"objective": TRADES, "margin": {"kind": "distance", "begin_epoch": 2, "lam": 0.3}, "class_weights": "distance"},
    "fat": {"objective": {"kind": "fat", "variant": "original", "tau_schedule": [{"at": 2, "tau": 1}]}},
    "gairat": {"objective": {"kind": "gairat", "start_epoch": 2}},
}  # fmt: skip
"""Methods whose next epoch depends on earlier ones or on its number, each in its own way."""


def bytes_of(value: Any) -> Any:
    """The value with its tensors as bytes, so that equal means equal bit for bit."""
    if isinstance(value, Tensor):
        return str(value.dtype), tuple(value.shape), value.detach().contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: bytes_of(part) for key, part in value.items()}
    if isinstance(value, list):
        return [bytes_of(part) for part in value]
    return value


def everything(state: TrainingState) -> dict[str, Any]:
    """All that a training leaves, but for what the clock said."""
    timed = {"seconds", "images_per_second", "peak_memory_gib"}
    return {
        "weights": bytes_of(state.model.state_dict()),
        "optimizer": bytes_of(state.optimizer.state_dict()),
        "averages": bytes_of(state.averages.sets),
        "best_score": state.averages.best_score,
        "history": bytes_of(state.history.to_tensors()),
        "reports": [{name: value for name, value in report.items() if name not in timed} for report in state.reports],
        "radii": bytes_of(state.radii),
    }


def save_resumable(directory: Path, state: TrainingState, identity: str) -> None:
    with Saver(directory, identity, CONDITIONS) as saver:
        saver(state)
        saver.wait()


def content_of(file: Path) -> dict[str, Any]:
    return next(sealed.read(file, "epochs"))


def run(settings: TrainingSettings, state: TrainingState, saved: Path | None = None) -> TrainingState:
    """Trains to the end on batches of 40, 40 and 20 images; saves the state of every epoch in a directory of its own."""
    for epoch in train(state, settings, tiny_images(100, 1), tiny_images(30, 2)):
        if saved is not None:
            save_resumable(saved / str(epoch), state, "identity")
    return state


def assert_resumes_from_any_epoch(
    settings: TrainingSettings, directory: Path, network: Callable[[int], nn.Module] = tiny_network
) -> TrainingState:
    whole = run(settings, TrainingState.fresh(network(0), settings), directory)
    for epoch in range(settings.recipe.epochs):
        state = TrainingState.fresh(network(99), settings)
        assert load_resumable(directory / str(epoch), state, "identity")
        assert state.history.epoch == epoch + 1
        torch.manual_seed(epoch)  # a new process has another global stream
        assert everything(run(settings, state)) == everything(whole), f"resumed after epoch {epoch}"
    return whole


@pytest.mark.parametrize("name", WITH_MEMORY)
def test_a_method_with_memory_resumes_from_any_epoch_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    state = assert_resumes_from_any_epoch(tiny_settings(WITH_MEMORY[name], epochs=EPOCHS), tmp_path)
    assert [record.epoch for record in state.history.records] == [*([-1] if name == "frl" else []), 0, 1, 2, 3]


def test_averages_resume_whether_they_have_begun_or_not(tmp_path: Path) -> None:
    """EMA begins in epoch 1; the gate of FAWA opens in epoch 3 only."""
    averaging = Averaging(threshold=0.05, start_epoch=1)
    settings = replace(tiny_settings(WITH_MEMORY["cfa"], epochs=EPOCHS), averaging=averaging)
    assert_resumes_from_any_epoch(settings, tmp_path)
    sets = [set(content_of(tmp_path / str(epoch) / RESUME_FILE)["averages"]) for epoch in range(EPOCHS)]
    assert sets == [{"best"}, {"best", "ema"}, {"best", "ema"}, {"best", "ema", "fawa"}]


def test_adamw_resumes_with_its_moments_and_steps(tmp_path: Path) -> None:
    settings = tiny_settings(WITH_MEMORY["wat"], optimizer=AdamW(), learning_rate=0.01)
    state = assert_resumes_from_any_epoch(settings, tmp_path)
    assert {float(moments["step"]) for moments in state.optimizer.state.values()} == {3 * 3}


def test_a_network_with_randomness_of_its_own_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """Dropout draws from the global stream, which is nowhere saved: every epoch seeds it."""
    settings = tiny_settings(WITH_MEMORY["cfa"])
    assert_resumes_from_any_epoch(settings, tmp_path, lambda seed: nn.Sequential(nn.Dropout(0.2), tiny_network(seed)))


def test_a_channels_last_network_resumes_to_the_same_bytes_and_layout(tmp_path: Path) -> None:
    settings = tiny_settings(WITH_MEMORY["cfa"])
    layout = torch.channels_last

    def network(seed: int) -> nn.Module:
        return tiny_network(seed).to(memory_format=layout)

    state = assert_resumes_from_any_epoch(settings, tmp_path, network)
    assert state.model.get_parameter("3.weight").is_contiguous(memory_format=layout)
    assert load_resumable(tmp_path / "1", resumed := TrainingState.fresh(network(1), settings), "identity")
    assert resumed.model.get_parameter("3.weight").is_contiguous(memory_format=layout)


def test_the_streams_of_an_epoch_are_the_same_in_any_process_and_differ_from_one_another() -> None:
    """Each depends on the seed, its purpose and the epoch alone, so none is saved."""
    assert seeds.derived(0, "order", 3) == 2723741169552378311
    streams = [(seed, purpose, epoch) for seed in (0, 1) for purpose in ("order", "attack") for epoch in (0, 1)]
    assert len({seeds.derived(*stream) for stream in streams}) == len(streams)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with the state of a training of one epoch."""
    settings = tiny_settings(WITH_MEMORY["cfa"], epochs=1)
    run(settings, TrainingState.fresh(tiny_network(), settings), tmp_path)
    return tmp_path / "0"


def test_a_state_of_other_code_data_or_numbers_is_not_taken_up(saved: Path) -> None:
    state = TrainingState.fresh(tiny_network(), tiny_settings(WITH_MEMORY["cfa"]))
    before = everything(state)
    assert not load_resumable(saved, state, "another")
    assert not load_resumable(saved / "nowhere", state, "identity")
    assert everything(state) == before


def flip_a_bit(content: bytes, saved: Path) -> bytes:
    """One bit of a weight."""
    place = content.index(content_of(saved)["model"]["3.weight"].numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content, saved: b"", id="empty"),
        pytest.param(lambda content, saved: content[: len(content) // 2], id="half of it"),
        pytest.param(lambda content, saved: content[:-1], id="all but a byte"),
        pytest.param(flip_a_bit, id="a bit flipped"),
    ],
)
def test_a_damaged_state_is_not_taken_up(saved: Path, damage: Callable[[bytes, Path], bytes]) -> None:
    file = saved / RESUME_FILE
    file.write_bytes(damage(file.read_bytes(), file))
    state = TrainingState.fresh(tiny_network(), tiny_settings(WITH_MEMORY["cfa"]))
    before = everything(state)
    with told_to(heard := Ear()):
        assert load_resumable(saved, state, "identity") is None
    assert everything(state) == before
    assert heard.said == [
        f"{file} is damaged: its content does not match its digest. It is not used; the epochs since the state before it are lost."
    ]


@pytest.fixture(scope="module")
def two_states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The states after epochs 0 and 1, in one directory."""
    directory, settings = tmp_path_factory.mktemp("two"), tiny_settings(WITH_MEMORY["cfa"], epochs=2)
    state = TrainingState.fresh(tiny_network(), settings)
    for _ in train(state, settings, tiny_images(100, 1), tiny_images(30, 2)):
        save_resumable(directory, state, "identity")
    return directory


def test_a_flipped_bit_anywhere_costs_an_epoch_and_is_said(two_states: Path) -> None:
    """40 places, over the whole file; `make faults` flips more."""
    file, settings = two_states / RESUME_FILE, tiny_settings(WITH_MEMORY["cfa"], epochs=2)
    whole = file.read_bytes()
    for place in np.random.default_rng(0).integers(8 * len(whole), size=40).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        state = TrainingState.fresh(tiny_network(), settings)
        with told_to(heard := Ear()):
            assert load_resumable(two_states, state, "identity") == CONDITIONS
        assert state.history.epoch == 1 and len(heard.said) == 1
    file.write_bytes(whole)
    assert load_resumable(two_states, state := TrainingState.fresh(tiny_network(), settings), "identity")
    assert state.history.epoch == 2


def test_a_save_that_fails_leaves_the_state_before_it(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (saved / RESUME_FILE).read_bytes()

    def fail(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "synced", fail)
    with pytest.raises(KeyboardInterrupt):
        save_resumable(saved, TrainingState.fresh(tiny_network(), tiny_settings(WITH_MEMORY["cfa"])), "identity")
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == {
        RESUME_FILE: before,
        sealed.predecessor(saved / RESUME_FILE).name: before,
    }


def test_a_loss_that_is_not_finite_leaves_nothing_of_its_epoch(tmp_path: Path) -> None:
    """The learning rate explodes in epoch 2: records, curves, radii and averages end with epoch 1, whose state resumes."""
    settings = tiny_settings(WITH_MEMORY["frl"], epochs=EPOCHS)
    explodes = Steps(drops=(Drop(at=2, factor=1e38),))
    exploding = replace(settings, recipe=settings.recipe.model_copy(update={"schedule": explodes}))
    state = TrainingState.fresh(tiny_network(), exploding)
    with pytest.raises(FloatingPointError, match="epoch 2, batch"):
        run(exploding, state, tmp_path)
    kept = TrainingState.fresh(tiny_network(), settings)
    assert load_resumable(tmp_path / "1", kept, "identity")
    live = {"weights", "optimizer"}
    assert all(everything(state)[name] == part for name, part in everything(kept).items() if name not in live)
    assert not (tmp_path / "2").exists()
    whole = run(settings, TrainingState.fresh(tiny_network(), settings))
    assert everything(run(settings, kept)) == everything(whole)


def test_weights_come_back_with_their_origin_and_in_any_layout(tmp_path: Path) -> None:
    model = tiny_network().to(memory_format=torch.channels_last)
    origin = {"suite": "tiny", "seed": 0}
    digest = save_weights(tmp_path / "last.safetensors", model.state_dict(), origin)
    other = tiny_network(seed=1)
    assert load_weights(tmp_path / "last.safetensors", other) == origin
    assert bytes_of(other.state_dict()) == bytes_of(model.state_dict())
    assert digest == save_weights(tmp_path / "again.safetensors", tiny_network().state_dict(), origin)


def test_weights_that_are_not_those_of_the_record_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    sha256 = save_weights(path, nn.Linear(2, 3).state_dict(), {})
    load_weights(path, nn.Linear(2, 3), sha256)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged or was replaced: its SHA-256 is .*run\.json names .*Delete"):
        load_weights(path, nn.Linear(2, 3), sha256)


def test_weights_that_cannot_be_used_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_weights(path, nn.Linear(2, 3).state_dict(), {})
    with pytest.raises(UserError, match=r"does not fit the suite's architecture: .*Train the run again with the arch"):
        load_weights(path, nn.Linear(4, 3))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"is not a safetensors file \(.*\)\. Delete it and train the run again\."):
        load_weights(path, nn.Linear(2, 3))
