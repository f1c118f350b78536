"""Any valid composition of parts trains: without nan, inside the ball and the box, and resumes to the same weights."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from fairat.methods import KINDS
from fairat.methods.method import Method
from fairat.methods.parts import Batch, Objective, Trace
from fairat.study import load_study
from fairat.training.checkpoint import Saver, load_resumable
from fairat.training.loop import TrainingSettings, TrainingState, train
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from tests.training.toys import tiny_images, tiny_network, tiny_settings, trained

TARGETED = {"at", "trades", "fat"}
WITH_CLEAN_TERM = {"clean", "trades", "bat"}
COMPOSITIONS = [dict(zip(KINDS, kinds, strict=True)) for kinds in itertools.product(*KINDS.values())]


def makes_sense(parts: dict[str, str]) -> bool:
    """What is refused, in words of its own."""
    if parts["objective"] == "clean":
        return (parts["targets"], parts["margin"], parts["class_weights"]) == ("untargeted", "constant", "none")
    if parts["targets"] != "untargeted" and parts["objective"] not in TARGETED:
        return False
    return parts["class_weights"] != "ccr" or parts["objective"] in WITH_CLEAN_TERM


VALID = [parts for parts in COMPOSITIONS if makes_sense(parts)]


def test_exactly_the_compositions_that_make_sense_are_accepted() -> None:
    refused = []
    for parts in COMPOSITIONS:
        try:
            Method.model_validate({"label": "test", **parts})
        except ValidationError:
            refused.append(parts)
    assert len(COMPOSITIONS) == 360
    assert refused == [parts for parts in COMPOSITIONS if not makes_sense(parts)]


SETTINGS: dict[str, list[dict[str, Any]]] = {
    "at": [{}, {"attack_bn": "eval"}, {"num_steps": 1, "step_size": "64/255"}],
    "trades": [{}, {"beta": 0}, {"beta": 1.5, "normalize": False}, {"targeted_inner": "kl_untargeted"}, {"attack_bn": "train"}],
    "fat": [{}, {"tau": 0}, {"tau": 1, "stop_on": "target_hit"}, {"variant": "original", "tau_schedule": [{"at": 1, "tau": 1}]}],
    "bat": [{}, {"overshoot": 0, "uniform_kl": "paper"}, {"trajectories": "independent"}, {"uniform_on": ["attacked"]}, {"fits": "trades"}, {"fits": "trades", "uniform_on": []}],
    "gairat": [{"start_epoch": 0}, {"start_epoch": 1, "offset": 3}],
    "cfps": [{}, {"from_scores": "proportional"}, {"statistics": "validation"}],
    "robust_accuracy": [{}, {"offset": 0}, {"cap": 1.0, "begin_epoch": 0}],
    "distance": [{"begin_epoch": 1, "lam": 0.3}],
    "ccr": [{"begin_epoch": 1}, {"begin_epoch": 0, "offset": 0}],
    "frl_remargin": [{}, {"tau1": 0, "rate2": 1.0}],
    "frl_reweight": [{}, {"tau0": 0, "tau1": 0, "rate1": 1.0, "halve_at": 1}],
    "no_regret": [{}, {"eta": 5}],
}  # fmt: skip
"""Settings of each kind to draw from; its defaults where it is not named."""
SHARING = {("frl_remargin", "frl_reweight"), ("distance", "distance")}
"""Margins and class weights that carry out one policy together."""


@st.composite
def compositions(draw: st.DrawFn) -> dict[str, Any]:
    parts = draw(st.sampled_from(VALID))
    drawn = {slot: {"kind": kind, **draw(st.sampled_from(SETTINGS.get(kind, [{}])))} for slot, kind in parts.items()}
    if (parts["margin"], parts["class_weights"]) in SHARING:
        drawn["class_weights"] = {"kind": parts["class_weights"]}  # its numbers are stated with the margin
    return drawn


@contextmanager
def watched(objective: Objective) -> Iterator[list[tuple[Batch, Trace]]]:
    """Collects every batch that the objective attacks, and what it finds."""
    seen: list[tuple[Batch, Trace]] = []
    attack = type(objective).attack

    def watching(self: Objective, model: nn.Module, batch: Batch) -> Trace:
        trace = attack(self, model, batch)
        seen.append((batch, trace))
        return trace

    with patch.object(type(objective), "attack", watching):
        yield seen


def continued(state: TrainingState, settings: TrainingSettings, epochs: int) -> TrainingState:
    """Trains on two batches an epoch, for some epochs or to the end."""
    for done, _ in enumerate(train(state, settings, tiny_images(40, 1), tiny_images(12, 2)), start=1):
        if done == epochs:
            break
    return state


def assert_in_ball_and_box(batch: Batch, images: Tensor) -> None:
    assert images.min() >= 0
    assert images.max() <= 1
    assert ((images - batch.images).abs().amax(dim=(1, 2, 3)) <= batch.epsilon + 1e-6).all()


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(parts=compositions(), seed=st.integers(0, 3))
def test_every_valid_composition_trains_and_resumes(parts: dict[str, Any], seed: int) -> None:
    """AF-38."""
    chosen = tiny_settings(parts, epochs=2, seed=seed)
    chosen = replace(chosen, recipe=chosen.recipe.model_copy(update={"batch_size": 20}))
    with watched(chosen.method.objective) as seen:
        whole = continued(TrainingState.fresh(tiny_network(), chosen), chosen, 2)
    assert len(seen) == 4
    for batch, trace in seen:
        assert_in_ball_and_box(batch, trace.adversarial)
        for further in (trace.last_clean, trace.attacked):
            if further is not None:
                assert_in_ball_and_box(batch, further)
    weights = whole.model.state_dict()
    assert all(value.isfinite().all() for value in weights.values())
    with tempfile.TemporaryDirectory() as directory:
        with Saver(Path(directory), "identity", {"threads": "1"}) as saver:
            saver(continued(TrainingState.fresh(tiny_network(), chosen), chosen, 1))
        state = TrainingState.fresh(tiny_network(seed=99), chosen)
        assert load_resumable(Path(directory), state, "identity")
    resumed = continued(state, chosen, 2).model.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in weights.items())


@pytest.mark.parametrize("name", load_study().methods)
def test_every_method_of_params_yaml_learns(name: str) -> None:
    """With all its own numbers but those that count epochs."""
    method = load_study().methods[name].scaled(0.05)
    parts = {slot: getattr(method, slot) for slot in KINDS}
    losses = [report["train_loss"] for report in trained(tiny_settings(parts, epochs=6)).reports]
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize(
    ("margin", "weights", "name", "text"),
    [
        ({"kind": "frl_remargin", "tau0": 0.05}, {"kind": "frl_reweight", "tau0": 0.1}, "tau0", "is 0.1 here and 0.05 in margin"),
        ({"kind": "frl_remargin"}, {"kind": "frl_reweight", "limit": 0.4}, "limit", "is 0.4 here and 0.5 in margin"),
        ({"kind": "distance", "lam": 1.5}, {"kind": "distance", "lam": 1.0}, "lam", "is 1 here and 1.5 in margin"),
    ],
)  # fmt: skip
def test_two_parts_of_one_policy_are_refused_where_their_numbers_disagree(
    margin: dict[str, Any], weights: dict[str, Any], name: str, text: str
) -> None:
    with pytest.raises(ValidationError, match=f"{name} {text}.*state it once, in margin"):
        Method.model_validate({"label": "test", "objective": "trades", "margin": margin, "class_weights": weights})


def test_class_weights_take_the_numbers_of_their_policy_from_the_margin() -> None:
    numbers = {"limit": 0.4, "rate1": 0.1, "rate2": 0.3, "tau0": 0.02, "tau1": 0.03, "halve_at": 7}
    parts = {"objective": "trades", "margin": {"kind": "frl_remargin", **numbers}, "class_weights": "frl_reweight"}
    weights = Method.model_validate({"label": "test", **parts}).class_weights
    assert weights.model_dump(exclude={"kind"}) == numbers
    alone = Method.model_validate({"label": "test", **parts, "margin": "constant"}).class_weights
    assert alone.model_dump(exclude={"kind"}) != numbers
    same = Method.model_validate({"label": "test", **parts, "class_weights": {"kind": "frl_reweight", "tau0": 0.02}})
    assert same.class_weights == weights
