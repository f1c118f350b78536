"""What results remember of the code they come from."""

import subprocess
from pathlib import Path

import pytest
from fairat.progress import told_to
from fairat.provenance import commit, differing

from tests.toys import Ear


def test_outside_a_repository_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() == ""
    subprocess.run(["git", "init", "-q"], check=True)
    assert commit() == ""


def test_git_that_refuses_a_directory_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '/x'\" >&2\nexit 128\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with told_to(heard := Ear()):
        assert commit() == "unknown"
    assert heard.said == [
        "git does not tell the commit, so results name it as unknown. It says: fatal: detected dubious ownership in "
        "repository at '/x'"
    ]


def test_conditions_that_differ_are_named_with_both_values() -> None:
    assert differing({"threads": "1", "torch": "2"}, {"threads": "2", "torch": "2", "timm": "1"}) == (
        "threads 1 (now 2), timm unknown (now 1)"
    )
