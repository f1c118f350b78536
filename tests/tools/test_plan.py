"""Which stages run when several run at a time, and what happens when one fails; the graph is in test_graph.py."""

import pytest
from fairat.errors import UserError
from fairat.papers.plan import Stage
from fairat.study import load_study
from fairat.tools import plan

STUDY = load_study()
LEFT = [
    Stage(kind, STUDY.run("cifar10", method, 0))
    for kind, method in (
        ("train", "at"),
        ("train", "at_constant"),
        ("adopt", "rice2020"),
        ("finetune", "frl"),
        ("pgd", "frl"),
        ("pgd", "at"),
        ("corruptions", "rice2020"),
    )
]
NAMES = [stage.name for stage in LEFT]


class Runs:
    """Notes what would be run, and lets some of it fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failing: str) -> None:
        self.ran, self.failing = [], failing
        self.made: list[tuple[str, ...]] = []
        monkeypatch.setattr(plan, "run_one", self.run_one)
        monkeypatch.setattr(plan, "dvc", self.dvc)

    def run_one(self, stage, jobs):
        self.ran.append(stage.name)
        return int(stage.name in self.failing), 1.0

    def dvc(self, *words):
        self.made.append(words)
        return self

    def wait(self):
        return int("dvc" in self.failing)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "LOGS", tmp_path / "logs")


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_stage_runs_after_the_data_and_those_it_needs(monkeypatch, jobs):
    runs = Runs(monkeypatch)
    plan.run_left(LEFT, jobs)
    assert runs.made == [("repro", "prepare@cifar10", "corrupt@cifar10")]
    assert sorted(runs.ran[:3]) == sorted(NAMES[:3])
    assert runs.ran[3] == NAMES[3]
    assert sorted(runs.ran[4:]) == sorted(NAMES[4:])


def test_where_one_fails_the_others_go_on_without_those_that_need_it(monkeypatch):
    runs = Runs(monkeypatch, "train@cifar10-at_constant-s0")
    with pytest.raises(UserError) as refused:
        plan.run_left(LEFT, 2)
    assert {*NAMES} - {*runs.ran} == {"finetune@cifar10-frl-s0", "pgd@cifar10-frl-s0"}
    assert str(refused.value).startswith("3 of 7 stages were not done; type the same again after a repair:")
    assert "train@cifar10-at_constant-s0: failed, see " in str(refused.value)
    assert "finetune@cifar10-frl-s0: needs train@cifar10-at_constant-s0" in str(refused.value)
    assert "pgd@cifar10-frl-s0: needs finetune@cifar10-frl-s0" in str(refused.value)


def test_an_evaluation_that_fails_stops_no_other(monkeypatch):
    runs = Runs(monkeypatch, "pgd@cifar10-frl-s0")
    with pytest.raises(UserError, match="1 of 7 stages were not done"):
        plan.run_left(LEFT, 1)
    assert runs.ran == NAMES


def test_without_data_nothing_starts(monkeypatch):
    runs = Runs(monkeypatch, "dvc")
    with pytest.raises(UserError, match="data could not be made"):
        plan.run_left(LEFT, 1)
    assert runs.ran == []


def test_nothing_left_is_nothing_run(monkeypatch):
    runs = Runs(monkeypatch)
    plan.run_left([], 2)
    assert runs.ran == runs.made == []


def test_a_target_that_there_is_not_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"There is no 'table12'; there are: table1, .* and the suites demo, "):
        plan.main("table12")
