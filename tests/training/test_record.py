"""What a training leaves beside its weights: its record, and its histories as tables."""

import csv
from pathlib import Path

import pytest
import torch
from fairat.errors import UserError
from fairat.files import sha256_of
from fairat.settings.base import signed_content
from fairat.training.checkpoint import save_history
from fairat.training.record import RECORD, RunRecord
from safetensors.torch import load_file

from tests.toys import run_record
from tests.training.toys import tiny_settings, trained


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = run_record(versions={"torch": "2"}, statistics={"mean": (0.5,), "std": (0.1,)}, peak_memory=7)
    record.save(tmp_path)
    assert RunRecord.load(tmp_path) == record


def test_a_record_that_is_missing_or_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no finished training in .* \(run\.json is missing\)\.$"):
        RunRecord.load(tmp_path)
    (tmp_path / RECORD).write_text(signed_content({"suite": "tiny"}))
    with pytest.raises(
        UserError, match=r"was not written by this version: method: Field required\. Train the run again"
    ):
        RunRecord.load(tmp_path)


def test_a_record_that_was_changed_is_refused(tmp_path: Path) -> None:
    run_record().save(tmp_path)
    (tmp_path / RECORD).write_text((tmp_path / RECORD).read_text().replace('"method": "at"', '"method": "bat"'))
    with pytest.raises(UserError, match=r"run\.json is damaged: its content does not match the digest .*\. Delete "):
        RunRecord.load(tmp_path)


def test_a_file_beside_the_record_is_compared_with_it(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("epoch")
    record = run_record(files={"classes.csv": sha256_of(tmp_path / "classes.csv")})
    record.verify(tmp_path, "classes.csv")
    (tmp_path / "classes.csv").write_text("epoca")
    with pytest.raises(
        UserError, match=r"classes\.csv is missing, damaged or was changed: it is not the file that run"
    ):
        record.verify(tmp_path, "classes.csv")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_histories_have_a_row_an_epoch_and_a_row_an_epoch_and_class(tmp_path: Path) -> None:
    """The record before training, which FRL asks for, is no epoch."""
    parts = {"objective": "trades", "margin": "frl_remargin", "class_weights": "frl_reweight"}
    state = trained(tiny_settings(parts, epochs=2))
    save_history(tmp_path, state, ("cat", "dog", "frog, green"))
    epochs, classes = rows_of(tmp_path / "history.csv"), rows_of(tmp_path / "classes.csv")
    assert [row["epoch"] for row in epochs] == ["0", "1"]
    assert [float(row["train_loss"]) for row in epochs] == [report["train_loss"] for report in state.reports]
    assert [(row["epoch"], row["class_name"]) for row in classes] == [
        (epoch, name) for epoch in "01" for name in ("cat", "dog", "frog, green")
    ]
    assert [float(row["epsilon"]) for row in classes] == torch.cat(state.radii).tolist()
    counts = state.history.records[-1]["train.robust"]
    assert float(classes[-1]["train_robust_accuracy"]) == pytest.approx(float(counts[2, 2] / counts[2].sum()))
    saved = load_file(tmp_path / "history.safetensors")
    assert saved.keys() == state.history.to_tensors().keys()
    assert "-1/val.pgd20" in saved
    assert all(torch.equal(value, saved[name]) for name, value in state.history.to_tensors().items())
