"""Fingerprints: what makes a stage stale, and what does not."""

from pathlib import Path

import pytest

from pipeline.config import load_study
from pipeline.fingerprint import closure, fingerprint
from pipeline.methods.catalogue import CATALOGUE, module_of
from stages.fingerprint import network_modules


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in {
        "pipeline/__init__.py": "",
        "pipeline/base.py": "def f(x):\n    return x + 1\n",
        "pipeline/user.py": "from pipeline.base import f\n\ndef g(x):\n    import pipeline.late\n    return f(x)\n",
        "pipeline/late.py": "VALUE = 1\n",
        "pipeline/other.py": "VALUE = 2\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def changed(root: Path, file: str, text: str, modules: tuple[str, ...] = ("pipeline.user",)) -> bool:
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
    assert closure(["pipeline.user"], package) >= {"pipeline.user", "pipeline.base", "pipeline.late"}
    assert "pipeline.other" not in closure(["pipeline.user"], package)


def test_code_counts_and_comments_docstrings_and_formatting_do_not(package: Path) -> None:
    assert changed(package, "pipeline/base.py", "def f(x):\n    return x + 2\n")
    assert changed(package, "pipeline/late.py", "VALUE = 3\n")
    assert not changed(package, "pipeline/other.py", "VALUE = 3\n")
    same = (
        '"""A docstring."""\n\n\ndef f(x):\n    """Another."""\n    # a comment\n    return (\n        x + 1\n    )\n'
    )
    assert not changed(package, "pipeline/base.py", same)


def test_resolved_settings_count(package: Path) -> None:
    assert fingerprint(["pipeline.user"], {"beta": 6}, package) != fingerprint(["pipeline.user"], {"beta": 2}, package)


def test_training_depends_on_its_own_method_s_file_only() -> None:
    shared = closure(["stages.train"])
    assert {"pipeline.attacks.pgd", "pipeline.training.step", "pipeline.methods.parts"} <= shared
    for name in ("fair_tat", "cfa", "trades", "frl", "wat", "dafa", "bat", "gairat"):
        assert f"pipeline.methods.{name}" not in shared
    assert module_of("targets", "cfps") == "pipeline.methods.fair_tat"


def test_training_does_not_depend_on_evaluation_rendering_or_tracking() -> None:
    rooms = ("pipeline.evaluation", "pipeline.rendering", "pipeline.tracking", "pipeline.aggregation")
    assert not [name for name in closure(["stages.train"]) if name.startswith(rooms)]


def test_every_module_that_the_graph_names_exists() -> None:
    modules = {module_of(slot, kind) for slot, kinds in CATALOGUE.items() for kind in kinds}
    modules |= {module for suite in load_study().suites.values() for module in network_modules(suite)}
    assert closure(modules) >= modules
