"""A fault of every kind in every stage; `make faults` tries hundreds."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_one_fault_of_every_kind_holds_in_every_stage() -> None:
    command = [sys.executable, "-m", "tests.faults", "--number", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "killed at a random moment:" in ended.stdout
