"""What a table may show, and why not the rest; and the stage that renders it."""

import shutil
from pathlib import Path

import pytest
from fairat import paths
from fairat.errors import UserError
from fairat.fingerprint import digest
from fairat.papers.needs import PAPER_TARGETS
from fairat.papers.shown import NOT_EVALUATED, Wanted, look, wanted_by
from fairat.papers.tables import entries
from fairat.study import load_study

from stages import paper
from tests.papers.toys import HASHES, evaluate, train

ROOT = Path(__file__).parents[2]
WANTED = Wanted("cifar10", "fair_tat", 0, "pgd")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study's settings and the papers' numbers, without any run."""
    for name in ("params.yaml", "runs.yaml", "own.yaml", str(paths.PUBLISHED), str(paths.PUBLISHED_PARAMS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)


def left_out(wanted: Wanted = WANTED) -> str:
    """Why the evidence is left out; empty if it is used."""
    found = look([wanted], load_study())
    assert (found.used == (wanted,)) == (not found.left_out)
    return found.left_out.get(wanted, "")


def test_evidence_of_the_runs_own_weights_is_used() -> None:
    train()
    evaluate()
    assert left_out() == ""
    assert look([WANTED], load_study()).note() == ""


def test_evidence_that_is_not_there_is_missing() -> None:
    train()
    assert left_out() == NOT_EVALUATED
    assert look([WANTED], load_study()).reasons() == {}


def test_evidence_without_its_run_is_used() -> None:
    """As `dvc pull` of a table's evidence leaves it: nothing contradicts it."""
    evaluate()
    assert left_out() == ""


def test_evidence_of_other_weights_is_stale() -> None:
    train()
    evaluate(sha256="other")
    assert left_out() == "the run has other last weights now"
    reasons = look([WANTED], load_study()).reasons()
    assert reasons["cifar10", "fair_tat", "ema"] == "left out as stale: the run has other last weights now"


@pytest.mark.parametrize(("kind", "what"), [("train/cifar10/fair_tat/s0", "training"), ("pgd/cifar10", "evaluation")])
def test_evidence_of_changed_code_or_numbers_is_stale(kind: str, what: str) -> None:
    path = paths.FINGERPRINTS / kind
    path.parent.mkdir(parents=True)
    path.write_text("now")
    train(fingerprint=digest(b"now"))
    evaluate(fingerprint=digest(b"now"))
    assert left_out() == ""
    path.write_text("tomorrow")
    assert left_out() == f"the code or numbers of the {what} have changed since"


def test_evidence_of_other_images_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    train()
    evaluate()
    images = {"test": ""}
    manifest = type("Held", (), {"load": staticmethod(lambda directory: type("M", (), {"sha256": images})())})
    monkeypatch.setattr("fairat.papers.shown.Manifest", manifest)
    (paths.dataset("cifar10")).mkdir(parents=True)
    (paths.dataset("cifar10") / "manifest.json").touch()
    assert left_out() == ""
    images["test"] = "others"
    assert left_out() == "the test images are others now"


def test_evidence_under_the_name_of_another_run_is_stale() -> None:
    evaluate(method="at")
    lying = paths.evidence("cifar10", 0, "pgd", "at")
    WANTED.path.parent.mkdir(parents=True, exist_ok=True)
    lying.rename(WANTED.path)
    assert left_out() == "the file says it is of cifar10/at/s0 pgd"


def test_evidence_of_a_run_whose_start_was_trained_anew_is_stale() -> None:
    of_frl = Wanted("cifar10", "frl", 0, "pgd")
    train(method="at_constant")
    train(method="frl", start_sha256=HASHES["last"])
    evaluate(method="frl")
    assert left_out(of_frl) == ""
    shutil.rmtree(paths.run("cifar10", "frl", 0))
    train(method="frl", start_sha256=HASHES["ema"])
    assert left_out(of_frl) == "the run that frl started from, at_constant, has other weights now"


def test_what_is_missing_and_what_is_stale_is_counted() -> None:
    train()
    evaluate(sha256="other")
    note = look([WANTED, Wanted("cifar10", "at", 0, "pgd")], load_study()).note()
    assert note == "Not complete: 1 of 2 evaluations missing, 1 stale."


def test_each_file_is_wanted_once():
    wanted = wanted_by(entry.need for entry in entries(PAPER_TARGETS["table7"]))
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
    assert "Not complete: 20 of 22 evaluations missing, 1 stale." in text
    assert paths.paper_table("table1", ".tex").exists()
    said = " ".join(capsys.readouterr().out.split())
    assert "1 stale. `fairat plan table1` says what making it would cost." in said


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
