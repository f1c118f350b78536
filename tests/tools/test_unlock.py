"""An unreadable list of DVC's, as a kill leaves it, no longer blocks every later command."""

import json
from pathlib import Path

import pytest
import zc.lockfile
from fairat.progress import told_to
from fairat.tools import unlock

from tests.toys import Ear


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    unlock.LIST.parent.mkdir(parents=True)


@pytest.mark.parametrize("left", ["", '{"read": {'])
def test_an_unreadable_list_is_removed_and_it_is_said(left: str) -> None:
    unlock.LIST.write_text(left)
    with told_to(heard := Ear()):
        unlock.clear()
    assert not unlock.LIST.exists()
    assert heard.said == [".dvc/tmp/rwlock was unreadable, as a kill leaves it; it is removed."]


def test_a_list_that_a_process_is_writing_stays() -> None:
    unlock.LIST.write_text("")
    writing = zc.lockfile.LockFile(".dvc/tmp/rwlock.lock")
    unlock.clear()
    writing.close()
    assert unlock.LIST.exists()


def test_a_readable_list_stays_and_none_is_no_fault() -> None:
    unlock.clear()
    unlock.LIST.write_text(json.dumps({"read": {"a": [{"pid": 1, "cmd": "x"}]}}))
    unlock.clear()
    assert unlock.LIST.exists()
