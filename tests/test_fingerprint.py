"""Fingerprints: what makes a stage stale, and what does not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fairat import dependencies
from fairat.dependencies import contents, network_modules
from fairat.fingerprint import closure, fingerprint
from fairat.methods.catalogue import CATALOGUE, module_of
from fairat.study import load_study


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in {
        "pipeline/fairat/__init__.py": "",
        "pipeline/fairat/base.py": "def f(x):\n    return x + 1\n",
        "pipeline/fairat/user.py": "from fairat.base import f\n\ndef g(x):\n    import fairat.late\n    return f(x)\n",
        "pipeline/fairat/late.py": "VALUE = 1\n",
        "pipeline/fairat/other.py": "VALUE = 2\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def changed(root: Path, file: str, text: str, modules: tuple[str, ...] = ("fairat.user",)) -> bool:
    """Whether the fingerprint differs after a file is rewritten; each state is read from a place of its own."""
    before = fingerprint(modules, {}, root)
    after_root = root.parent / f"{root.name}-after-{len(list(root.parent.iterdir()))}"
    for path in root.rglob("*.py"):
        target = after_root / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text())
    (after_root / file).write_text(text)
    return fingerprint(modules, {}, after_root) != before


def test_everything_imported_counts_wherever_the_import_stands(package: Path) -> None:
    assert closure(["fairat.user"], package) >= {"fairat.user", "fairat.base", "fairat.late"}
    assert "fairat.other" not in closure(["fairat.user"], package)


def test_code_counts_and_comments_docstrings_and_formatting_do_not(package: Path) -> None:
    assert changed(package, "pipeline/fairat/base.py", "def f(x):\n    return x + 2\n")
    assert changed(package, "pipeline/fairat/late.py", "VALUE = 3\n")
    assert not changed(package, "pipeline/fairat/other.py", "VALUE = 3\n")
    same = (
        '"""A docstring."""\n\n\ndef f(x):\n    """Another."""\n    # a comment\n    return (\n        x + 1\n    )\n'
    )
    assert not changed(package, "pipeline/fairat/base.py", same)


def test_resolved_settings_count(package: Path) -> None:
    assert fingerprint(["fairat.user"], {"beta": 6}, package) != fingerprint(["fairat.user"], {"beta": 2}, package)


def test_training_depends_on_its_own_method_s_file_only() -> None:
    shared = closure(["stages.train"])
    assert {"fairat.attacks.pgd", "fairat.training.step", "fairat.methods.parts"} <= shared
    for name in ("fair_tat", "cfa", "trades", "frl", "wat", "dafa", "bat", "gairat"):
        assert f"fairat.methods.{name}" not in shared
    assert module_of("targets", "cfps") == "fairat.methods.fair_tat"


def test_training_does_not_depend_on_evaluation_rendering_or_tracking() -> None:
    rooms = ("fairat.evaluation", "fairat.rendering", "fairat.tracking", "fairat.results.aggregation")
    assert not [name for name in closure(["stages.train"]) if name.startswith(rooms)]


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
    assert stale_after("title: Tiny", "normalise: false\n    title: Tiny") == {"at"}


def test_the_loader_of_a_published_network_makes_stale_what_starts_from_it(
    stale_after: Callable[[str, str], set[str]],
) -> None:
    stale_after("Tiny", "Tiny")
    code = {name.parent.name: json.loads(text)["code"].keys() for name, text in contents() if name.parts[0] == "train"}
    for name in ("tuned", "again"):
        assert {"fairat.models.zoo", "fairat.models.foreign", "fairat.models.normalization"} <= code[name]
        assert "fairat.models.resnet" not in code[name]
    assert "fairat.models.resnet" in code["at"]
    assert "fairat.models.zoo" not in code["at"]


def test_every_module_that_the_graph_names_exists() -> None:
    modules = {module_of(slot, kind) for slot, kinds in CATALOGUE.items() for kind in kinds}
    modules |= {module for suite in load_study().suites.values() for module in network_modules(suite.architecture)}
    assert closure(modules) >= modules
