"""Fingerprints: what makes a stage stale, and what does not."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import fairat
import pytest
from fairat import dependencies, fingerprint, models
from fairat.dependencies import contents
from fairat.fingerprint import closure
from fairat.models import resnet
from fairat.settings.architectures import PreActResNet18
from fairat.study import Study, Training, load_study

BASE = "def f(x):\n    return x + 1\n"


@pytest.fixture
def closure_of(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The modules below fairat.data.user, and their hashes, in a package of which some files are others."""

    def write(others: dict[str, str]) -> dict[str, str]:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        user = "from fairat.data.base import f\n\ndef g(x):\n    import fairat.data.late\n    return f(x)\n"
        files = {"user": user, "base": BASE, "late": "VALUE = 1\n", "other": "VALUE = 2\n", **others}
        (root / "pipeline/fairat/data").mkdir(parents=True)
        for name, text in files.items():
            (root / f"pipeline/fairat/data/{name}.py").write_text(text)
        return closure(["fairat.data.user"], root)

    return lambda **others: write(others)


def test_everything_imported_counts_wherever_the_import_stands(closure_of: Callable[..., dict[str, str]]) -> None:
    assert set(closure_of()) == {"fairat.data.user", "fairat.data.base", "fairat.data.late"}


def test_code_counts_and_comments_docstrings_and_formatting_do_not(closure_of: Callable[..., dict[str, str]]) -> None:
    before = closure_of()
    assert closure_of(base=BASE.replace("1", "2")) != before
    assert closure_of(late="VALUE = 3\n") != before
    assert closure_of(other="VALUE = 3\n") == before
    same = (
        '"""A docstring."""\n\n\ndef f(x):\n    """Another."""\n    # a comment\n    return (\n        x + 1\n    )\n'
    )
    assert closure_of(base=same) == before


def test_where_it_starts_and_resolved_settings_count() -> None:
    def text(start: str, beta: int) -> dict[str, object]:
        return fingerprint.fingerprint([f"fairat.methods.{start}"], {"beta": beta})

    assert text("trades.Trades", 6) == text("trades.Trades", 6)
    assert text("trades.Trades", 6) != text("trades.Trades", 2)
    # Two classes of one module have the same code.
    assert text("cfa.RobustAccuracyMargin", 6) != text("cfa.CalibratedWeights", 6)


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study()


@pytest.fixture(scope="module")
def now() -> dict[Path, str]:
    return dict(contents())


@pytest.fixture
def stale(tmp_path: Path, now: dict[Path, str]) -> Callable[..., set[Path]]:
    """Which fingerprints differ after edits of the package fairat: a file, and a text that another one replaces.

    By default a line is added to the file.
    """

    def after(*edits: tuple[str, str, str] | str) -> set[Path]:
        for folder in ("pipeline", "stages"):
            shutil.copytree(folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for edit in edits:
            file, old, new = (edit, "", "\nEDITED = 1\n") if isinstance(edit, str) else edit
            path = tmp_path / "pipeline/fairat" / file
            text = path.read_text() if path.exists() else ""
            assert old in text
            path.write_text(text.replace(old, new, 1) if old else text + new)
        return {name for name, text in contents(tmp_path) if text != now[name]}

    return after


def kinds_of(names: set[Path]) -> set[str]:
    return {name.parts[0] for name in names}


def trained_with(study: Study, module: str) -> set[Path]:
    """The fingerprints of trainings whose method has a part of a module."""
    runs = [run for run in study.resolved.values() if isinstance(run, Training)]
    used = [run for run in runs if module in {type(part).__module__ for part in run.method.parts}]
    return {Path("train", run.key) for run in used}


@pytest.mark.parametrize("name", ["frl", "cfa", "fair_tat", "wat"])
def test_editing_a_paper_s_file_makes_stale_what_is_trained_with_it_and_no_other_training(
    name: str, study: Study, stale: Callable[..., set[Path]]
) -> None:
    expected = trained_with(study, f"fairat.methods.{name}")
    found = stale(f"methods/{name}.py")
    assert {path for path in found if path.parts[0] == "train"} == expected != set()
    # Tables name CFA's margin in their headings.
    assert kinds_of(found) <= {"train", *(("tables", "significance", "demo") if name == "cfa" else ())}


def test_editing_the_attack_s_loop_makes_all_stale_that_attacks(
    now: dict[Path, str], stale: Callable[..., set[Path]]
) -> None:
    found = stale("attacks/pgd.py")
    assert found >= {name for name in now if name.parts[0] in ("train", "pgd", "autoattack", "square", "steps")}
    assert not kinds_of(found) & {"prepare", "corrupt", "aggregate", "paper"}


def test_how_a_network_is_compiled_changes_sums_and_so_counts(
    now: dict[Path, str], stale: Callable[..., set[Path]]
) -> None:
    assert stale("device.py") >= {name for name in now if name.parts[0] in ("train", "pgd")}


@pytest.mark.parametrize("name", ["resnet", "xcit", "pretrained"])
def test_editing_a_network_makes_its_suites_stale_and_no_other(
    name: str, study: Study, now: dict[Path, str], stale: Callable[..., set[Path]]
) -> None:
    kinds = {
        "resnet": {"resnet18", "shipped_resnet18"},
        "xcit": {"xcit_s12"},
        "pretrained": {"zoo", "shipped_resnet18", "xcit_s12"},
    }[name]
    runs = {Path("train", run.key) for run in study.resolved.values() if run.architecture.kind in kinds}
    suites = [suite for suite in study.suites if study.suites[suite].architecture.kind in kinds]
    evaluations = ("pgd", "autoattack", "square", "corruptions", "steps")
    stepped = {Path("steps", key) for key in study.stepped if study.resolved[key].suite_name in suites}
    expected = runs | stepped | {Path(evaluation, suite) for evaluation in evaluations for suite in suites}
    assert stale(f"models/{name}.py") == expected & set(now) != set()


def test_a_docstring_or_comment_makes_nothing_stale(stale: Callable[..., set[Path]]) -> None:
    assert stale(("attacks/pgd.py", '"""', '"""Edited. '), ("training/step.py", "", "# a comment\n")) == set()


def test_a_new_kind_makes_nothing_stale(stale: Callable[..., set[Path]]) -> None:
    margin = "from fairat.methods.parts import Margin\n\n\nclass Own(Margin):\n    ...\n"
    network = "class OwnNet(NetworkSettings): ...\n\n\nclass PreActResNet18"
    edits = [
        ("methods/own.py", "", margin),
        ("methods/__init__.py", "import bat, ", "import own, bat, "),
        ("methods/__init__.py", '    "margin": {\n', '    "margin": {\n        "own": own.Own,\n'),
        ("models/own.py", "", "def build(): ...\n"),
        ("models/__init__.py", "import preact_resnet,", "import own, preact_resnet,"),
        ("models/__init__.py", "    PreActResNet18,", "    OwnNet,\n    PreActResNet18,"),
        ("models/__init__.py", "    ResNet18: (", "    OwnNet: (own.build, None),\n    ResNet18: ("),
        ("settings/architectures.py", "class PreActResNet18", network),
        ("settings/architectures.py", "    PreActResNet18 | ", "    OwnNet | PreActResNet18 | "),
        ("evaluation/own.py", "", "def workload(): ...\n"),
        ("evaluation/__init__.py", "import autoattack,", "import own, autoattack,"),
        ("evaluation/__init__.py", '    "pgd": pgd,', '    "own": own,\n    "pgd": pgd,'),
    ]
    assert stale(*edits) == set()


def test_an_entry_of_a_catalog_that_becomes_another_one_counts(
    study: Study, stale: Callable[..., set[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(models.NETWORKS, PreActResNet18, (resnet.build, None))
    found = stale()
    assert {name for name in found if name.parts[0] == "train"} == {
        Path("train", run.key)
        for run in study.resolved.values()
        if isinstance(run, Training) and run.architecture.kind == "preact_resnet18"
    }


def test_what_names_files_reads_settings_or_talks_to_people_makes_no_result_stale(
    stale: Callable[..., set[Path]],
) -> None:
    rooms = ("errors", "paths", "files", "provenance", "progress", "study", "fingerprint", "console", "dependencies")
    assert kinds_of(stale("tracking.py", *(f"{room}.py" for room in rooms))) == set()


def test_the_rooms_that_are_left_out_on_the_ground_floor_know_no_tensors() -> None:
    for room in fairat.ROOMS[: fairat.ROOMS.index(fingerprint.COMPUTING[0])]:
        assert not re.search(
            r"(import|from) (torch|numpy)", Path(f"pipeline/fairat/{room}.py").read_text(encoding="utf-8")
        ), room


def test_rendering_makes_no_training_and_no_evaluation_stale(stale: Callable[..., set[Path]]) -> None:
    found = stale("rendering/tables.py", "rendering/figures.py", "papers/tables.py")
    assert kinds_of(found) == {"tables", "demo", "paper", "report"}


def test_editing_a_stage_makes_it_stale_and_no_other(stale: Callable[..., set[Path]]) -> None:
    assert kinds_of(stale("../../stages/train.py")) == {"train"}


def test_the_catalogs_are_those_that_runs_choose_from() -> None:
    """A dict that is read whole must not be taken for one: its entries would count for nothing."""
    found = {
        ast.unparse(node).partition("=")[0].partition(":")[0].strip()
        for path in Path("pipeline/fairat").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if fingerprint.is_catalog(node, package=path.name == "__init__.py")
    }
    assert found == {"KINDS", "CONTRACTS", "NETWORKS", "EVALUATIONS", "Architecture", "PublishedNetwork", "Source"}


STUDY = """
methods:
  at: {label: AT, objective: at}
  tuned: {label: Tuned, objective: at, starts_from: net}
  again: {label: Again, objective: at, starts_from: tuned}
zoo:
  net: {label: Net, architecture: {kind: zoo, name: Rice2020Overfitting}}
suites:
  tiny:
    title: Tiny
    data: {source: {kind: cifar10}}
    architecture: {kind: resnet18, width: 4}
    threat: {epsilon: 8/255, step_size: 2/255}
    evaluation: {pgd: {step_size: 2/255}}
"""
RUNS = """
runs:
  tiny/at/s0: {suite: tiny, start: data/tiny}
  tiny/tuned/s0: {suite: tiny, start: runs/tiny/net/s0}
  tiny/again/s0: {suite: tiny, start: runs/tiny/tuned/s0}
  tiny/net/s0: {suite: tiny, start: data/tiny}
"""


@pytest.fixture
def stale_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], set[str]]:
    """The methods and published networks of the runs that an edit of params.yaml makes stale."""

    def fingerprints(params: str) -> dict[Path, str]:
        (tmp_path / "params.yaml").write_text(params)
        (tmp_path / "runs.yaml").write_text(RUNS)
        study = load_study([tmp_path / "params.yaml", tmp_path / "runs.yaml"])
        monkeypatch.setattr(dependencies, "load_study", lambda: study)
        return {name: text for name, text in contents() if name.parts[0] == "train"}

    def compare(old: str, new: str) -> set[str]:
        assert STUDY.count(old) == 1
        before, after = fingerprints(STUDY), fingerprints(STUDY.replace(old, new))
        return {name.parent.name for name in before if before[name] != after[name]}

    return compare


def test_a_changed_published_network_makes_all_stale_that_starts_from_it(
    stale_after: Callable[[str, str], set[str]],
) -> None:
    assert stale_after("Rice2020Overfitting", "Wong2020Fast") == {"net", "tuned", "again"}
    assert stale_after("{kind: zoo, name: Rice2020Overfitting}", "{kind: shipped_resnet18}") == {
        "net",
        "tuned",
        "again",
    }
    assert stale_after("Rice2020Overfitting}", "Rice2020Overfitting, path: rice.pt}") == set()


def test_the_suite_s_network_is_nothing_to_what_starts_from_a_published_one(
    stale_after: Callable[[str, str], set[str]],
) -> None:
    assert stale_after("width: 4", "width: 8") == {"at"}
    assert stale_after("title: Tiny", "normalize: false\n    title: Tiny") == {"at"}
