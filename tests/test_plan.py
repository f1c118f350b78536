"""Which stages run when several run at a time, and what happens when one fails; the graph is in test_graph.py."""

import pytest

from pipeline.config import load_study
from pipeline.errors import UserError
from stages import plan

LEFT = [
    "train@cifar10-at-s0",
    "train@cifar10-at_constant-s0",
    "adopt@cifar10-rice2020-s0",
    "finetune@cifar10-frl-s0",
    "pgd@cifar10-frl-s0",
    "pgd@cifar10-at-s0",
    "corruptions@cifar10-rice2020-s0",
]


class Runs:
    """Notes what would be run, and lets some of it fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: str) -> None:
        self.ran, self.failing = [], failing
        self.made: list[tuple[str, ...]] = []
        monkeypatch.setattr(plan, "run_one", self.run_one)
        monkeypatch.setattr(plan, "dvc", self.dvc)

    def run_one(self, stage, suite, study, jobs):
        assert suite == "cifar10"
        self.ran.append(stage)
        return int(stage in self.failing), 1.0

    def dvc(self, *words):
        self.made.append(words)
        return self

    def wait(self):
        return int("dvc" in self.failing)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    study = load_study()
    monkeypatch.setattr(plan, "LOGS", tmp_path / "logs")
    return study


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_stage_runs_after_the_data_and_those_it_needs(monkeypatch, elsewhere, jobs):
    runs = Runs(monkeypatch)
    plan.run_left(LEFT, elsewhere, jobs)
    assert runs.made == [("repro", "prepare@cifar10", "corrupt@cifar10")]
    assert sorted(runs.ran[:3]) == sorted(LEFT[:3])
    assert runs.ran[3] == LEFT[3]
    assert sorted(runs.ran[4:]) == sorted(LEFT[4:])


def test_where_one_fails_the_others_go_on_without_those_that_need_it(monkeypatch, elsewhere):
    runs = Runs(monkeypatch, "train@cifar10-at_constant-s0")
    with pytest.raises(UserError) as refused:
        plan.run_left(LEFT, elsewhere, 2)
    assert {*LEFT} - {*runs.ran} == {"finetune@cifar10-frl-s0", "pgd@cifar10-frl-s0"}
    assert str(refused.value).startswith("3 of 7 stages were not done; type the same again after a repair:")
    assert "train@cifar10-at_constant-s0: failed, see " in str(refused.value)
    assert "finetune@cifar10-frl-s0: needs train@cifar10-at_constant-s0" in str(refused.value)
    assert "pgd@cifar10-frl-s0: needs finetune@cifar10-frl-s0" in str(refused.value)


def test_an_evaluation_that_fails_stops_no_other(monkeypatch, elsewhere):
    runs = Runs(monkeypatch, "pgd@cifar10-frl-s0")
    with pytest.raises(UserError, match="1 of 7 stages were not done"):
        plan.run_left(LEFT, elsewhere, 1)
    assert runs.ran == LEFT


def test_without_data_nothing_starts(monkeypatch, elsewhere):
    runs = Runs(monkeypatch, "dvc")
    with pytest.raises(UserError, match="data could not be made"):
        plan.run_left(LEFT, elsewhere, 1)
    assert runs.ran == []


def test_nothing_left_is_nothing_run(monkeypatch, elsewhere):
    runs = Runs(monkeypatch)
    plan.run_left([], elsewhere, 2)
    assert runs.ran == runs.made == []


def test_a_target_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"There is no 'table12'; there are: table1, .* and the suites demo, "):
        plan.main("table12")
