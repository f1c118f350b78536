"""What is left to run, asked of DVC, and what it would cost."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fairat import paths
from fairat.errors import UserError
from fairat.settings.base import merged
from fairat.study import load_study
from fairat.tools.plan import Clock, cautions, duration, stages_left, summary, training_passes

from tests.papers.toys import evaluate, train

CPU = torch.device("cpu")
STUDY = load_study()
GRAPH = """
stages:
  first: {cmd: echo 1 > a, outs: [a]}
  second: {cmd: cp a b, deps: [a], outs: [b]}
  third: {cmd: cp b c, deps: [b], outs: [c]}
  apart: {cmd: echo 2 > d, outs: [d]}
"""


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A graph of three stages in a row and one apart, none of which has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    dvc("init", "--quiet", "--no-scm")
    return tmp_path


def dvc(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words], check=True, capture_output=True)


def test_everything_behind_a_target_is_left_on_a_clone_each_stage_after_those_it_needs(graph: Path) -> None:
    assert stages_left("third") == ["first", "second", "third"]
    assert stages_left("second") == ["first", "second"]


def test_what_is_done_is_not_left_and_what_follows_a_stale_stage_is(graph: Path) -> None:
    dvc("repro", "third")
    assert stages_left("third") == []
    (graph / "dvc.yaml").write_text(GRAPH.replace("cp a b", "cp ./a b"))
    assert stages_left("third") == ["second", "third"]


def test_an_unknown_target_is_refused_with_what_would_do(graph: Path) -> None:
    with pytest.raises(UserError, match=r"There is no target 'fourth': .* Name a stage of dvc\.yaml, or a suite\."):
        stages_left("fourth")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place without runs; a pass takes a millisecond."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Clock, "seconds_of_a_pass", 1e-3)


@pytest.mark.usefixtures("elsewhere")
def test_the_cost_is_that_of_the_same_method_and_evaluation_where_they_were_run_here() -> None:
    train(seed=1, seconds=7200.0)
    train(seed=2, seconds=3600.0)
    evaluate(seed=1, seconds=600.0)
    said = summary(["prepare@cifar10", "train@cifar10/fair_tat/s0", "pgd@cifar10/fair_tat/s0", "table1"], STUDY, CPU)
    assert said == (
        "1 training and 1 evaluation, about 100 min on this device (cpu): 2 known from runs done here, "
        "0 estimated from a timed step."
    )


@pytest.mark.usefixtures("elsewhere")
def test_what_was_never_run_is_estimated_from_the_passes_it_makes() -> None:
    clock = Clock(STUDY.suites["cifar10"], "cifar10", CPU)
    run = STUDY.resolved["cifar10/at_constant/s0"]
    assert clock.cost("train", run).seconds == pytest.approx(200 * 50_000 * (2 * 10 + 3 + 1) * 1e-3)
    assert clock.cost("pgd", run).seconds == pytest.approx(3 * 10_000 * 2 * 20 * 1e-3)
    assert clock.cost("square", run).seconds == pytest.approx(3 * 10_000 * 5_000 * 1e-3)
    assert not clock.cost("train", run).measured


@pytest.mark.parametrize(
    ("key", "passes"),
    [
        ("cifar10/clean/s0", 3),
        ("cifar10/fair_tat/s0", 2 * 10 + 3 + 2),
        ("cifar10/trades/s0", 2 * 10 + 6 + 1),
        ("cifar10/bat/s0", 2 * 10 + 9),
    ],
)
def test_a_training_makes_the_passes_of_its_attack_its_update_and_its_clean_passes(key: str, passes: int) -> None:
    run = STUDY.resolved[key]
    assert training_passes(run) == passes  # pyright: ignore[reportArgumentType]


@pytest.mark.usefixtures("elsewhere")
def test_images_that_are_not_known_before_they_are_prepared_leave_the_cost_unknown() -> None:
    said = summary(["train@imagenette_resnet18/bat/s0"], STUDY, CPU)
    assert said == "1 training and 0 evaluations; what they would cost here is unknown before the images are prepared."


@pytest.mark.usefixtures("elsewhere")
def test_a_published_network_costs_nothing_to_adopt() -> None:
    assert (
        Clock(STUDY.suites["cifar10"], "cifar10", CPU).cost("train", STUDY.resolved["cifar10/rice2020/s0"]).seconds == 0
    )


def test_nothing_left_and_nothing_that_trains_is_said() -> None:
    assert summary([], STUDY, CPU) == "Nothing is left to do."
    assert summary(["aggregate@demo", "tables@demo"], STUDY, CPU) == "2 stages, none of which trains or evaluates."


def test_a_pass_is_timed_on_the_network_of_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not paths.dataset("demo").exists()
    assert 0 < Clock(STUDY.suites["demo"], "demo", CPU).seconds_of_a_pass < 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (119, "119 s"), (180, "3.0 min"), (7200, "2.0 h"), (90000, "25 h"), (2e6, "23 days")],
)
def test_durations_are_said_in_one_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_plan_says_what_a_training_would_do_that_its_user_hardly_wants() -> None:
    untrained = merged(STUDY.suites["cifar10_xcit"], {"architecture": {"checkpoint": None}})
    study = STUDY.model_copy(update={"suites": {**STUDY.suites, "cifar10_xcit": untrained}})
    vars(study).pop("resolved", None)  # was copied along
    left = [
        "prepare@cifar10_xcit",
        "train@cifar10_xcit/xcit_at/s0",
        "pgd@cifar10_xcit/xcit_at/s0",
        "train@cifar10/at/s0",
    ]
    (said,) = cautions(left, study)
    assert said.startswith(
        "cifar10_xcit/xcit_at/s0: starts from random weights, where the paper starts from weights that"
    )
