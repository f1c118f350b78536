import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest

from pipeline import paths
from pipeline.aggregation import COLUMNS, write_table
from pipeline.errors import UserError
from pipeline.tracking import (
    RUNS,
    Counts,
    LiveTracker,
    Tracker,
    Training,
    evaluation_metrics,
    log_suite,
    log_training,
    tracking_uri,
    trainings,
    unique_names,
    without_password,
)
from pipeline.tracking.store import PATIENT_ENOUGH, PROJECT
from stages import track

EPOCHS = [
    {"epoch": 0, "train_loss": 2.25, "validation_clean_accuracy": 0.1, "seconds": 1.5},
    {"epoch": 1, "train_loss": 1 / 3, "validation_clean_accuracy": 0.7, "seconds": 1.25},
]
SETTINGS = {"recipe": {"batch_size": 128, "milestones": [5, 9]}, "method": {"objective": {"kind": "at"}}, "seed": 0}
DEAD = "http://127.0.0.1:{}"


def record(suite="demo", method="at", fawa=False, **changes):
    weights = {"last": {"present": True, "sha256": "1"}, "ema": {"present": True, "sha256": "2"}}
    weights |= {"fawa": {"present": fawa, "sha256": "", "reason": "" if fawa else "the gate never opened"}}
    content = {"suite": suite, "method": method, "seed": 0, "settings": SETTINGS, "fingerprint": "f00", "data": "da7a"}
    content |= {"commit": "abc123+", "versions": {"torch": "2.15"}, "device": "cpu", "seconds": 3.0, "weights": weights}
    return content | changes


def trained(content, epochs=EPOCHS):
    directory = paths.run(content["suite"], content["method"], content["seed"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_text(json.dumps(content, indent=1))
    with (directory / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(epochs[0]))
        writer.writeheader()
        writer.writerows(epochs)
    return directory


def tidy(suite="demo", method="at", overall=0.5, extra=()):
    rows = [
        ("pgd10", "", "overall_accuracy", "", overall, 0.4, 0.6),
        ("pgd10", "", "class_accuracy", "cat", 0.25, 0.1, 0.4),
    ]
    rows += [("corruption", "fog", "overall_accuracy", "", 0.75, 0.7, 0.8), *extra]
    filled = [(suite, method, 0, weights, *row, 100) for weights in ("last", "ema") for row in rows]
    return pd.DataFrame(filled, columns=list(COLUMNS))


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "empty.db"
    with Tracker(f"sqlite:///{path}")._store():
        pass
    return path


@pytest.fixture
def tracker(empty_store, tmp_path, monkeypatch):
    """A tracker of a store of its own, in a repository of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, "mlflow.db")
    return Tracker()


def runs(tracker, suite="demo"):
    found = tracker._client.search_runs([tracker._experiment(suite)])
    return {run.info.run_name: run for run in found}


def content(tracker, suite="demo"):
    """Everything a store shows of a suite, ids apart; every point of every curve."""
    shown = {}
    for name, run in runs(tracker, suite).items():
        history = [tracker._client.get_metric_history(run.info.run_id, key) for key in run.data.metrics]
        points = sorted((point.key, point.step, point.value, point.timestamp) for points in history for point in points)
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.user"}
        shown[name] = (tags, run.data.params, points, run.info.status, run.info.start_time, run.info.end_time)
    return shown


def curve(tracker, run, key):
    return [(point.step, point.value) for point in tracker._client.get_metric_history(run.info.run_id, key)]


def test_each_weight_set_of_a_training_is_one_run_with_its_parameters_and_curves(tracker):
    tracker.log([Training.read(trained(record()))])
    assert sorted(runs(tracker)) == ["at-s0 (ema)", "at-s0 (last)"]
    run = runs(tracker)["at-s0 (ema)"]
    assert run.data.params == {
        "recipe.batch_size": "128",
        "recipe.milestones": "[5, 9]",
        "method.objective.kind": "at",
        "seed": "0",
        "versions.torch": "2.15",
    }
    wanted = {"suite": "demo", "method": "at", "weights": "ema", "seed": "0", "commit": "abc123+", "fingerprint": "f00"}
    assert wanted.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.source.git.commit"] == "abc123"
    assert curve(tracker, run, "train_loss") == [(0, 2.25), (1, 1 / 3)]
    assert run.info.status == "FINISHED"


def test_curves_lie_on_the_clock_of_the_training(tracker):
    directory = trained(record())
    os.utime(directory / "run.json", (1000.0, 1000.0))
    tracker.log([Training.read(directory)])
    run = runs(tracker)["at-s0 (last)"]
    assert (run.info.start_time, run.info.end_time) == (997_000, 1_000_000)
    times = [point.timestamp for point in tracker._client.get_metric_history(run.info.run_id, "train_loss")]
    assert times == [998_500, 999_750]


def test_a_weight_set_that_a_training_did_not_give_has_no_run(tracker):
    tracker.log([Training.read(trained(record(fawa=True)))])
    assert "at-s0 (fawa)" in runs(tracker)
    counts = tracker.log([Training.read(trained(record(fawa=False)))])
    assert counts == Counts(updated=2, removed=1)
    assert "at-s0 (fawa)" not in runs(tracker)


def test_logging_twice_changes_nothing(tracker):
    found = [Training.read(trained(record())), Training.read(trained(record(method="trades")))]
    assert tracker.log(found, tidy()) == Counts(created=4)
    before = content(tracker)
    assert Tracker().log(found, tidy()) == Counts(unchanged=4)
    assert content(tracker) == before


def test_an_unchanged_suite_costs_one_search_and_no_writing(tracker, monkeypatch):
    found = [Training.read(trained(record())), Training.read(trained(record(method="trades")))]
    tracker.log(found, tidy())
    calls = []

    class Counting:
        def __getattr__(self, name):
            calls.append(name)
            return getattr(client, name)

    client = tracker._client
    monkeypatch.setattr(tracker, "_client", Counting())
    tracker.log(found, tidy())
    assert calls == ["search_runs"]


def test_a_training_repeated_with_other_numbers_replaces_the_run_and_its_evaluations(tracker):
    tracker.log([Training.read(trained(record()))], tidy())
    again = [{**epoch, "train_loss": 9.0} for epoch in EPOCHS[:1]]
    assert tracker.log([Training.read(trained(record(), again))]) == Counts(updated=2)
    run = runs(tracker)["at-s0 (last)"]
    assert curve(tracker, run, "train_loss") == [(0, 9.0)]
    assert not any("/" in key for key in run.data.metrics)


def test_a_training_with_other_settings_replaces_the_parameters(tracker):
    tracker.log([Training.read(trained(record()))])
    tracker.log([Training.read(trained(record(settings={"recipe": {"batch_size": 64}})))])
    assert runs(tracker)["at-s0 (last)"].data.params["recipe.batch_size"] == "64"


def test_evaluation_metrics_land_on_the_run_of_the_training(tracker):
    directory = trained(record())
    tracker.log([Training.read(directory)])
    before = runs(tracker)["at-s0 (ema)"]
    assert tracker.log([Training.read(directory)], tidy()) == Counts(updated=2)
    after = runs(tracker)["at-s0 (ema)"]
    assert after.info.run_id == before.info.run_id
    evaluated = {key: value for key, value in after.data.metrics.items() if key not in before.data.metrics}
    assert evaluated == {
        "pgd10/overall_accuracy": 0.5,
        "pgd10/overall_accuracy/low": 0.4,
        "pgd10/overall_accuracy/high": 0.6,
        "pgd10/class_accuracy/cat": 0.25,
        "corruption/fog/overall_accuracy": 0.75,
        "corruption/fog/overall_accuracy/low": 0.7,
        "corruption/fog/overall_accuracy/high": 0.8,
    }


def test_a_further_evaluation_is_added_to_the_same_run(tracker):
    found = [Training.read(trained(record()))]
    tracker.log(found, tidy())
    before = runs(tracker)["at-s0 (last)"]
    square = ("square", "", "overall_accuracy", "", 0.375, 0.3, 0.5)
    assert tracker.log(found, tidy(extra=[square])) == Counts(updated=2)
    after = runs(tracker)["at-s0 (last)"]
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["square/overall_accuracy"] == 0.375


def test_a_repeated_evaluation_leaves_one_value_and_the_curves(tracker):
    found = [Training.read(trained(record()))]
    tracker.log(found, tidy(overall=0.5))
    assert tracker.log(found, tidy(overall=0.25)) == Counts(updated=2)
    run = runs(tracker)["at-s0 (last)"]
    assert curve(tracker, run, "pgd10/overall_accuracy") == [(0, 0.25)]
    assert curve(tracker, run, "train_loss") == [(0, 2.25), (1, 1 / 3)]


def test_more_metrics_than_mlflow_takes_at_once_arrive_whole(tracker):
    many = [{"epoch": number, "seconds": 1.0, **{f"m{key}": float(key) for key in range(30)}} for number in range(70)]
    classes = [("pgd10", "", "class_accuracy", f"class {number}", 0.5, 0.4, 0.6) for number in range(1100)]
    settings = {f"p{number}": number for number in range(230)}
    tracker.log([Training.read(trained(record(settings=settings), many))], tidy(extra=classes))
    run = runs(tracker)["at-s0 (ema)"]
    assert curve(tracker, run, "m29") == [(number, 29.0) for number in range(70)]
    assert sum(key.startswith("pgd10/class_accuracy/class ") for key in run.data.metrics) == 1100
    assert len(run.data.params) == 231


def test_class_names_of_any_kind_become_keys_that_mlflow_takes_and_tells_apart(tracker):
    odd = ["cat", "crème brûlée", "n01/dog", "a:b", "a$b", "..", ".", "  ", "🐈", 'quote"', "x" * 300, "x" * 299]
    classes = [("pgd10", "", "class_accuracy", name, number / 100, 0, 1) for number, name in enumerate(odd)]
    table = tidy(extra=classes)
    tracker.log([Training.read(trained(record()))], table[table["value"] != 0.25])
    metrics = runs(tracker)["at-s0 (last)"].data.metrics
    logged = {key: value for key, value in metrics.items() if key.startswith("pgd10/class_accuracy/")}
    assert sorted(logged.values()) == [number / 100 for number in range(len(odd))]
    assert logged["pgd10/class_accuracy/crème brûlée"] == 0.01
    assert logged["pgd10/class_accuracy/n01_dog"] == 0.02


def test_names_that_become_equal_get_numbers():
    assert unique_names(["", "a/b", "a:b", "a_b"]) == {"": "", "a/b": "a_b", "a:b": "a_b-2", "a_b": "a_b-3"}


def test_undefined_values_and_single_classes_under_corruptions_are_not_metrics():
    undefined = ("pgd10", "", "worst_class_accuracy", "", float("nan"), float("nan"), float("nan"))
    table = tidy(extra=[undefined, ("corruption", "fog", "class_accuracy", "cat", 0.5, 0.4, 0.6)])
    assert evaluation_metrics(table) == evaluation_metrics(tidy())


def test_an_interrupted_logging_is_completed_on_the_same_run(tracker, monkeypatch):
    found = [Training.read(trained(record()))]
    monkeypatch.setattr(tracker._client, "set_terminated", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tracker.log(found, tidy())
    (begun,) = runs(tracker).values()
    tags = begun.data.tags
    tracker._client.delete_tag(begun.info.run_id, "training")
    counts = Tracker().log(found, tidy())
    assert counts == Counts(created=1, updated=1)
    assert tags["run"] == "demo/at/s0"
    run = runs(tracker)[begun.info.run_name]
    assert run.info.run_id == begun.info.run_id
    assert run.info.status == "FINISHED"
    assert curve(tracker, run, "train_loss") == [(0, 2.25), (1, 1 / 3)]
