"""What may be shown, what is missing, and what it would cost; and the stage that says so."""

import shutil
from pathlib import Path

import pytest
from fairat import paths
from fairat.errors import UserError
from fairat.papers.needs import PAPER_TARGETS
from fairat.papers.plan import stages_left
from fairat.papers.standing import Wanted, cost_note, duration, standing, wanted_by
from fairat.papers.tables import entries
from fairat.study import load_study
from fairat.tools import plan

from stages import paper
from tests.papers.toys import DEVICE, HASHES, evaluate, train

ROOT = Path(__file__).parents[2]
WANTED = Wanted("cifar10", "fair_tat", 0, "pgd")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study's settings and the papers' numbers, without any run; code never changes."""
    for name in ("params.yaml", "runs.yaml", "own.yaml", str(paths.PUBLISHED)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEVICE", "cpu")
    for stage in (paper, plan):
        monkeypatch.setattr(stage, "digests", dict)


def look(wanted=(WANTED,), fingerprints=None):
    return standing(list(wanted), load_study(), fingerprints or {})


def test_evidence_of_the_runs_own_weights_is_used():
    train()
    evaluate()
    found = look()
    assert found.used == (WANTED,)
    assert found.complete
    assert cost_note(found, load_study(), DEVICE) == ""


def test_evidence_of_other_weights_is_stale():
    train()
    evaluate(sha256="other")
    found = look()
    assert found.used == ()
    assert found.stale == {WANTED: "the run has other last weights now"}
    assert found.untrained == ()
    assert found.reasons()["cifar10", "fair_tat", "ema"].startswith("left out as stale: the run has other last")


@pytest.mark.parametrize(("kind", "untrained"), [("train/cifar10/fair_tat", 1), ("pgd/cifar10", 0)])
def test_evidence_of_changed_code_or_numbers_is_stale(kind, untrained):
    train()
    evaluate()
    assert look(fingerprints={Path(kind): "now"}).complete
    found = look(fingerprints={Path(kind): "tomorrow"})
    assert list(found.stale) == [WANTED]
    assert len(found.untrained) == untrained


def test_evidence_under_the_name_of_another_run_is_stale():
    evaluate(method="at")
    lying = paths.evidence("cifar10", 0, "pgd", "at")
    lying.rename(lying.with_name("fair_tat.parquet"))
    assert look().stale == {WANTED: "the file says it is of cifar10-at-s0 pgd"}


def test_missing_runs_and_those_they_start_from_are_counted():
    found = look([Wanted("cifar10", "frl", 0, "pgd")])
    assert found.missing == (Wanted("cifar10", "frl", 0, "pgd"),)
    assert found.untrained == (("cifar10", "frl", 0), ("cifar10", "at_constant", 0))
    train(method="at_constant")
    assert look([Wanted("cifar10", "frl", 0, "pgd")]).untrained == (("cifar10", "frl", 0),)


def test_a_run_that_started_from_other_weights_is_stale_and_so_is_its_evidence():
    train(method="at_constant")
    train(method="frl", start_sha256=HASHES["last"])
    evaluate(method="frl")
    of_frl = Wanted("cifar10", "frl", 0, "pgd")
    assert look([of_frl]).complete
    shutil.rmtree(paths.run("cifar10", "frl", 0))
    train(method="frl", start_sha256=HASHES["ema"])
    found = look([of_frl])
    assert found.stale == {of_frl: "the run it started from, at_constant, has other weights now"}
    assert found.untrained == (("cifar10", "frl", 0),)


def test_what_is_left_to_do_is_named_as_dvc_names_it_starts_first():
    train(method="at")
    evaluate(method="at")
    wanted = [Wanted("cifar10", name, 0, "pgd") for name in ("frl", "at_constant", "at", "rice2020")]
    assert [stage.name for stage in stages_left(look(wanted), load_study())] == [
        "train@cifar10-at_constant-s0",
        "adopt@cifar10-rice2020-s0",
        "finetune@cifar10-frl-s0",
        "pgd@cifar10-frl-s0",
        "pgd@cifar10-at_constant-s0",
        "pgd@cifar10-rice2020-s0",
    ]


def test_the_cost_is_that_of_the_runs_done_here_in_proportion_to_epochs():
    """200 epochs in 7,200 s: the 200 of `at` as long, WAT's 100 half as long; an evaluation 600 s."""
    train(seconds=7200.0)
    evaluate(seconds=600.0)
    found = look([WANTED, Wanted("cifar10", "at", 0, "pgd"), Wanted("cifar10", "wat", 0, "pgd")])
    note = cost_note(found, load_study(), DEVICE)
    assert note.startswith("Not complete. Missing or stale: 2 of 3 evaluations, 2 trainings.")
    assert "they would take about 3.3 h on this device (cpu)." in note
    assert "is unknown: nothing like them was done here" in cost_note(found, load_study(), "a GPU")


def test_a_published_network_makes_no_cost_known():
    found = look([Wanted("cifar10", "rice2020", 0, "pgd"), WANTED])
    assert "is unknown: nothing like them was done here" in cost_note(found, load_study(), DEVICE)


def test_what_was_never_timed_is_counted_not_guessed():
    train(seconds=7200.0)
    evaluate()
    found = look([WANTED, Wanted("cifar10", "at", 0, "pgd"), Wanted("cifar100", "at", 0, "pgd")])
    assert "and 2 of them more, of a kind that was not done here yet." in cost_note(found, load_study(), DEVICE)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (119, "119 s"), (180, "3.0 min"), (7200, "2.0 h"), (90000, "25 h"), (2e6, "23 days")],
)
def test_durations_are_said_in_one_unit(seconds, said):
    assert duration(seconds) == said


def test_each_file_is_wanted_once():
    wanted = wanted_by([entry.need for entry in entries(PAPER_TARGETS["table7"])])
    assert len(wanted) == len(set(wanted)) == 11 * 5


def test_a_partial_table_shows_what_there_is_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]):
    train(absent=("fawa",))
    evaluate(absent=("fawa",))
    train(method="at")
    evaluate(method="at", sha256="other")
    paper.main("table1")
    text = paths.paper_table("table1", ".md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| FAIR-TAT ◇ "))
    assert [cell.strip().split("<")[0].strip("*") for cell in line.split("|")[2:6]] == ["75.0", "50.0", "50.0", "50.0"]
    assert "| AT      " in text
    assert "left out as stale: the run has other last weights now" in text
    assert "the gate never opened" in text
    assert "Not complete. Missing or stale: 21 of 22 evaluations, 22 trainings." in text
    assert paths.paper_table("table1", ".tex").exists()
    assert "Not complete. Missing or stale: 21 of 22" in " ".join(capsys.readouterr().out.split())


def test_a_complete_table_says_nothing_of_missing_runs():
    for method in ("fat_bat", "gairat"):
        train("cifar10_resnet18", method, absent=("ema", "fawa"))
        evaluate("cifar10_resnet18", method, absent=("ema", "fawa"), steps=20)
    paper.main("bat_table3")
    text = paths.paper_table("bat_table3", ".md").read_text()
    assert "Not complete" not in text
    line = next(line for line in text.splitlines() if line.startswith("| GAIRAT"))
    values = [cell.strip().strip("*") for cell in line.split("|")[2:-1]]
    assert values == ["25.00", "50.00", "25.00", "50.00", "50.00", "50.00"]


def test_an_unknown_target_lists_those_there_are():
    with pytest.raises(
        UserError, match=r"There is no 'table12'; there are: table1, .*, bat_figure4, demo_report\. Example"
    ):
        paper.main("table12")


def test_a_figure_without_any_run_says_what_to_do():
    with pytest.raises(
        UserError,
        match=r"There is nothing to draw in figure3. Left out, because not run yet: Eng.* `dvc repro figure3` makes it",
    ):
        paper.main("figure3")


def test_a_partial_figure_is_drawn_and_says_what_it_leaves_out(capsys: pytest.CaptureFixture[str]):
    train()
    evaluate()
    paper.main("figure1")
    assert all(paths.paper_figure("figure1", suffix).stat().st_size > 5000 for suffix in (".pdf", ".png"))
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "Left out, because not run yet: Engstrom et al. 2019, Rice et al. 2020, Rade and Moosavi-Dezfooli 2021, AT."
        in said
    )


def planned(target: str, capsys: pytest.CaptureFixture[str]) -> str:
    plan.main(target)
    assert not Path("reports/tables").exists()
    assert not Path("reports/figures").exists()
    return capsys.readouterr().out


def test_a_plan_lists_what_is_left_and_writes_nothing(capsys: pytest.CaptureFixture[str]):
    said = planned("bat_table4", capsys)
    assert [line for line in said.splitlines() if "@" in line] == [
        "train@cifar10_resnet18_wo2345-pgd_at-s0",
        "train@cifar10_resnet18_wo1689-pgd_at-s0",
        "pgd@cifar10_resnet18_wo2345-pgd_at-s0",
        "pgd@cifar10_resnet18_wo1689-pgd_at-s0",
    ]
    assert "Not complete. Missing or stale: 2 of 2 evaluations, 2 trainings." in said


def test_a_plan_of_what_needs_trainings_only_and_of_what_is_done(capsys: pytest.CaptureFixture[str]):
    train(method="at", seconds=7200.0)
    said = planned("figure4", capsys)
    assert said.splitlines()[0] == "train@cifar10-fair_tat-s0"
    assert (
        "Not complete. Missing or stale: 1 training. Measured by those done here, they would take about 2.0 h" in said
    )
    train()
    assert planned("figure4", capsys) == "All that figure4 shows is done; `dvc repro figure4` renders it.\n"


def test_the_plan_of_the_demo_report_is_of_the_demo(capsys: pytest.CaptureFixture[str]):
    stages = [line for line in planned("demo_report", capsys).splitlines() if "@" in line]
    assert stages
    assert all("@demo-" in stage for stage in stages)
    assert "steps@demo-at_constant-s0" in stages
