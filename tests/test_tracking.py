import csv
import json
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
from fairat import paths
from fairat.errors import UserError
from fairat.results.aggregation import COLUMNS, read_table, write_table
from fairat.results.evidence import Origin, attack_rows, write_evidence
from fairat.tools import track
from fairat.tracking import ORIGINS, LiveTracker, TrackedTraining, Tracker, log_suite, tracking_uri, trainings
from fairat.tracking.projection import evaluation_metrics, unique_names
from fairat.tracking.store import EXPERIMENT, METRICS_AT_ONCE, PARAMS_AT_ONCE, VIEW, without_password
from fairat.training.record import RunRecord

from stages import aggregate

EPOCHS = [
    {"epoch": 0, "train_loss": 2.25, "validation_clean_accuracy": 0.1, "seconds": 1.5, "undefined": float("nan")},
    {"epoch": 1, "train_loss": 1 / 3, "validation_clean_accuracy": 0.7, "seconds": 1.25, "undefined": float("inf")},
]
SETTINGS = {
    "recipe": {"batch_size": 128, "milestones": [5, 9]},
    "method": {"objective": {"kind": "at", "num_steps": None}},
    "seed": 0,
}
CURVES = {"train_loss", "validation_clean_accuracy", "seconds"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def suite(store, tmp_path, monkeypatch, request):
    """A suite of its own in a repository of its own; all tests share one store, whose making takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    return request.node.name.removeprefix("test_")


@pytest.fixture
def dead(monkeypatch):
    """The address of a server that is down, in the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://ann:secret@127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    # One attempt: the wait before a second one would be the longest part of these tests.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return uri


def record(suite, method="at", fawa=False, **changes):
    weights = {name: {"present": True, "sha256": f"{method}-{name}", "reason": ""} for name in ("last", "ema")}
    weights |= {"fawa": {"present": fawa, "sha256": "", "reason": "" if fawa else "the gate never opened"}}
    fields = {"suite": suite, "method": method, "seed": 0, "class_names": ("cat", "dog"), "image_shape": (3, 8, 8)}
    fields |= {"architecture": {"kind": "preact_resnet18"}, "statistics": None, "settings": SETTINGS, "epochs": 2}
    fields |= {
        "fingerprint": "f00",
        "data": "da7a",
        "commit": "abc123+",
        "versions": {"torch": "2.15"},
        "device": "cpu",
    }
    fields |= {"seconds": 3.0, "weights": weights}
    return RunRecord.model_validate(fields | changes).model_dump(mode="json")


def trained(content, epochs=EPOCHS):
    """A training's directory, as the train stage leaves it."""
    directory = paths.run(content["suite"], content["method"], content["seed"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_text(json.dumps(content, indent=1))
    with (directory / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(epochs[0]))
        writer.writeheader()
        writer.writerows(epochs)
    return directory


def tidy(suite, method="at", overall=0.5, extra=()):
    """A tidy table of the last and ema weights of one method."""
    rows = [
        ("pgd10", "", "overall_accuracy", "", overall, 0.4, 0.6),
        ("pgd10", "", "class_accuracy", "cat", 0.25, 0.1, 0.4),
        ("corruption", "mean", "overall_accuracy", "", 0.875, 0.8, 0.9),
        ("corruption", "fog", "overall_accuracy", "", 0.75, 0.7, 0.8),
        *extra,
    ]
    filled = [(suite, method, 0, weights, *row, 100) for weights in ("last", "ema") for row in rows]
    table = pd.DataFrame(filled, columns=list(COLUMNS))
    sha256 = {name: f"{method}-{name}" for name in ("last", "ema")}
    table.attrs[ORIGINS] = [
        {"method": method, "seed": 0, "evaluation": "pgd", "commit": "e7a1", "weights_sha256": sha256}
    ]
    return table


def evaluated(suite, method="at"):
    """A file of evidence: two images of two classes, one of each two predicted rightly under attack."""
    sha256 = {"last": f"{method}-last"}
    fields = {"suite": suite, "method": method, "seed": 0, "evaluation": "pgd", "class_names": ("cat", "dog")}
    fields |= {"settings": {}, "weights_sha256": sha256, "data_sha256": "d", "fingerprint": "f", "commit": "e7a1"}
    fields |= {"versions": {}, "device": "cpu", "seconds": 1.0}
    rows = attack_rows("last", "pgd10", [0, 1], [0, 1], [0, 1], [0, 0])
    write_evidence(paths.evidence(suite, 0, "pgd", method), rows, Origin.model_validate(fields))


def shown(suite):
    """What MLflow shows of a suite, by the name of the run."""
    tracker = Tracker(suite)
    return {str(run.info.run_name): run for run in tracker._client.search_runs([tracker._experiment.experiment_id])}


def page_of(suite):
    return Tracker(suite).page


def curve(suite, run, key):
    return [(point.step, point.value) for point in Tracker(suite)._client.get_metric_history(run.info.run_id, key)]


def everything(suite):
    """Every tag, parameter and point of every run of a suite, and the number of runs."""
    tracker = Tracker(suite)
    runs = tracker._client.search_runs([tracker._experiment.experiment_id])
    points = [tracker._client.get_metric_history(run.info.run_id, key) for run in runs for key in run.data.metrics]
    return len(runs), [run.to_dictionary() for run in runs], [dict(point) for points_ in points for point in points_]


def test_each_weight_set_of_a_training_is_one_run_with_its_tags_parameters_and_curves(suite):
    assert Tracker(suite).log([TrackedTraining.read(trained(record(suite)))]) == {"created": 2}
    assert sorted(shown(suite)) == ["at-s0 (ema)", "at-s0 (last)"]
    run = shown(suite)["at-s0 (ema)"]
    wanted = {"suite": suite, "method": "at", "weights": "ema", "seed": "0", "commit": "abc123+", "fingerprint": "f00"}
    wanted |= {"weights_sha256": "at-ema", "mlflow.source.git.commit": "abc123"}
    assert wanted.items() <= run.data.tags.items()
    assert run.data.params == {
        "recipe.batch_size": "128",
        "recipe.milestones": "[5, 9]",
        "method.objective.kind": "at",
        "seed": "0",
        "versions.torch": "2.15",
    }
    assert set(run.data.metrics) == CURVES
    assert curve(suite, run, "train_loss") == [(0, 2.25), (1, 1 / 3)]
    assert run.info.status == "FINISHED"


def test_curves_lie_on_the_clock_of_the_training(suite):
    directory = trained(record(suite))
    os.utime(directory / "run.json", (1000.0, 1000.0))
    tracker = Tracker(suite)
    tracker.log([TrackedTraining.read(directory)])
    run = shown(suite)["at-s0 (last)"]
    assert (run.info.start_time, run.info.end_time) == (997_000, 1_000_000)
    times = [point.timestamp for point in tracker._client.get_metric_history(run.info.run_id, "train_loss")]
    assert times == [998_500, 999_750]


def test_logging_twice_changes_nothing(suite):
    found = [
        TrackedTraining.read(trained(record(suite))),
        TrackedTraining.read(trained(record(suite, method="trades"))),
    ]
    assert Tracker(suite).log(found, tidy(suite)) == {"created": 4}
    before = everything(suite)
    assert before[0] == 4
    assert Tracker(suite).log(found, tidy(suite)) == {"unchanged": 4}
    assert everything(suite) == before


def test_a_training_repeated_with_other_numbers_replaces_its_runs_with_their_evaluations(suite):
    Tracker(suite).log([TrackedTraining.read(trained(record(suite)))], tidy(suite))
    content = record(suite, settings={"recipe": {"batch_size": 64}})
    again = TrackedTraining.read(trained(content, [{**EPOCHS[0], "train_loss": 9.0}]))
    assert Tracker(suite).log([again]) == {"replaced": 2}
    assert len(shown(suite)) == 2
    run = shown(suite)["at-s0 (last)"]
    assert curve(suite, run, "train_loss") == [(0, 9.0)]
    assert run.data.params["recipe.batch_size"] == "64"
    assert set(run.data.metrics) == CURVES


def test_a_weight_set_that_a_training_no_longer_gives_loses_its_run(suite):
    Tracker(suite).log([TrackedTraining.read(trained(record(suite, fawa=True)))])
    assert "at-s0 (fawa)" in shown(suite)
    outcome = Tracker(suite).log([TrackedTraining.read(trained(record(suite, fawa=False)))])
    assert outcome == {"replaced": 2, "removed": 1}
    assert "at-s0 (fawa)" not in shown(suite)


def test_evaluation_metrics_land_on_the_run_of_the_training_with_the_commit_of_the_evaluation(suite):
    found = [TrackedTraining.read(trained(record(suite)))]
    Tracker(suite).log(found)
    before = shown(suite)["at-s0 (ema)"]
    assert Tracker(suite).log(found, tidy(suite)) == {"completed": 2}
    after = shown(suite)["at-s0 (ema)"]
    assert after.info.run_id == before.info.run_id
    assert {key: value for key, value in after.data.metrics.items() if key not in CURVES} == {
        "pgd10/overall_accuracy": 0.5,
        "pgd10/overall_accuracy_low": 0.4,
        "pgd10/overall_accuracy_high": 0.6,
        "pgd10/class_accuracy/cat": 0.25,
        "corruption/overall_accuracy": 0.875,
        "corruption/overall_accuracy_low": 0.8,
        "corruption/overall_accuracy_high": 0.9,
        "corruption/overall_accuracy/fog": 0.75,
    }
    assert after.data.tags["commit.pgd"] == "e7a1"


def test_a_further_evaluation_is_added_to_the_same_run(suite):
    found = [TrackedTraining.read(trained(record(suite)))]
    Tracker(suite).log(found, tidy(suite))
    before = shown(suite)["at-s0 (last)"]
    square = ("square", "", "overall_accuracy", "", 0.375, 0.3, 0.5)
    assert Tracker(suite).log(found, tidy(suite, extra=[square])) == {"completed": 2}
    after = shown(suite)["at-s0 (last)"]
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["square/overall_accuracy"] == 0.375


def test_a_repeated_evaluation_leaves_one_value_and_the_curves(suite):
    found = [TrackedTraining.read(trained(record(suite)))]
    Tracker(suite).log(found, tidy(suite, overall=0.5))
    assert Tracker(suite).log(found, tidy(suite, overall=0.25)) == {"replaced": 2}
    run = shown(suite)["at-s0 (last)"]
    assert curve(suite, run, "pgd10/overall_accuracy") == [(0, 0.25)]
    assert curve(suite, run, "train_loss") == [(0, 2.25), (1, 1 / 3)]


def test_numbers_of_earlier_weights_are_not_shown_beside_later_ones(suite, capsys):
    content = record(suite)
    content["weights"]["last"]["sha256"] = "trained again"
    trained(content)
    log_suite(suite, tidy(suite))
    assert set(shown(suite)["at-s0 (last)"].data.metrics) == CURVES
    assert "pgd10/overall_accuracy" in shown(suite)["at-s0 (ema)"].data.metrics
    assert (
        f"1 weight sets of {suite} were trained again after their evaluation, whose numbers MLflow therefore does not "
        "show. `dvc repro` evaluates them."
    ) in capsys.readouterr().err


def test_more_than_mlflow_takes_at_once_arrives_whole(suite):
    many = [{"epoch": number, "seconds": 1.0, **{f"m{key}": float(key) for key in range(30)}} for number in range(70)]
    assert len(many) * len(many[0]) > METRICS_AT_ONCE
    classes = [
        ("pgd10", "", "class_accuracy", f"class {number}", 0.5, 0.4, 0.6) for number in range(METRICS_AT_ONCE + 1)
    ]
    settings = {f"p{number}": number for number in range(PARAMS_AT_ONCE + 1)}
    Tracker(suite).log(
        [TrackedTraining.read(trained(record(suite, settings=settings), many))], tidy(suite, extra=classes)
    )
    run = shown(suite)["at-s0 (ema)"]
    assert curve(suite, run, "m29") == [(number, 29.0) for number in range(70)]
    assert sum(key.startswith("pgd10/class_accuracy/class ") for key in run.data.metrics) == len(classes)
    assert len(run.data.params) == len(settings) + 1


def test_class_names_of_any_kind_become_keys_that_mlflow_takes_and_tells_apart(suite):
    odd = ["mean", "crème brûlée", "n01/dog", "a:b", "a$b", "..", ".", "  ", "🐈", 'quote"', "x" * 300, "x" * 299]
    classes = [("pgd10", "", "class_accuracy", name, number / 100, 0, 1) for number, name in enumerate(odd)]
    Tracker(suite).log([TrackedTraining.read(trained(record(suite)))], tidy(suite, extra=classes))
    metrics = shown(suite)["at-s0 (last)"].data.metrics
    logged = {key.rpartition("/")[2]: value for key, value in metrics.items() if "/class_accuracy/" in key}
    assert sorted(logged.values()) == sorted([*(number / 100 for number in range(len(odd))), 0.25])
    assert (logged["mean"], logged["crème brûlée"], logged["n01_dog"]) == (0.0, 0.01, 0.02)


def test_names_that_become_equal_get_numbers():
    assert unique_names(["", "a/b", "a:b", "a_b"]) == {"": "", "a/b": "a_b", "a:b": "a_b-2", "a_b": "a_b-3"}


def test_undefined_values_and_single_classes_under_corruptions_are_not_metrics():
    undefined = ("pgd10", "", "worst_class_accuracy", "", float("nan"), float("nan"), float("nan"))
    table = tidy("demo", extra=[undefined, ("corruption", "fog", "class_accuracy", "cat", 0.5, 0.4, 0.6)])
    assert evaluation_metrics(table) == evaluation_metrics(tidy("demo"))


@pytest.mark.parametrize("call", range(5))
def test_an_interrupted_logging_is_completed_without_a_second_run(suite, monkeypatch, call):
    found = [TrackedTraining.read(trained(record(suite)))]
    tracker = Tracker(suite)
    # Parameters, curves, the end, the mark of a whole run, evaluation metrics.
    calls = ["log_batch", "log_batch", "set_terminated", "log_batch", "log_batch"][: call + 1]
    genuine = {name: getattr(tracker._client, name) for name in ("log_batch", "set_terminated")}

    def interrupted(name, *args, **kwargs):
        assert calls.pop(0) == name
        if not calls:
            raise KeyboardInterrupt
        genuine[name](*args, **kwargs)

    for name in genuine:
        monkeypatch.setattr(tracker._client, name, partial(interrupted, name))
    with pytest.raises(KeyboardInterrupt):
        tracker.log(found, tidy(suite))
    assert len(shown(suite)) == 1
    Tracker(suite).log(found, tidy(suite))
    assert Tracker(suite).log(found, tidy(suite)) == {"unchanged": 2}
    for run in shown(suite).values():
        assert run.info.status == "FINISHED"
        assert curve(suite, run, "train_loss") == [(0, 2.25), (1, 1 / 3)]
        assert run.data.metrics["pgd10/overall_accuracy"] == 0.5


def test_a_copy_of_a_run_is_removed(suite):
    found = [TrackedTraining.read(trained(record(suite)))]
    tracker = Tracker(suite)
    tracker.log(found)
    tracker.finish(tracker._create(found[0], "last"), found[0], "last")
    assert everything(suite)[0] == 3
    assert tracker.log(found) == {"unchanged": 2}
    assert everything(suite)[0] == 2


def test_trainings_that_log_at_the_same_time_do_not_disturb_one_another(suite):
    methods = [f"m{number}" for number in range(4)]
    found = [TrackedTraining.read(trained(record(suite, method=method))) for method in methods]
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda training: Tracker(suite).log([training]), found))
    assert outcomes == [{"created": 2}] * 4
    assert sorted(shown(suite)) == sorted(
        f"{method}-s0 ({weights})" for method in methods for weights in ("last", "ema")
    )


def test_processes_that_find_no_store_make_one_together(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    # Forks share MLflow, whose import would take each of them seconds.
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pages = pool.map(page_of, ["demo"] * 3)
    assert len(set(pages)) == 1


def test_a_deleted_experiment_comes_back(suite):
    found = [TrackedTraining.read(trained(record(suite)))]
    tracker = Tracker(suite)
    tracker.log(found)
    tracker._client.delete_experiment(tracker._experiment.experiment_id)
    Tracker(suite).log(found)
    assert sorted(shown(suite)) == ["at-s0 (ema)", "at-s0 (last)"]


def test_the_experiment_can_be_named_by_the_environment(suite, monkeypatch):
    assert Tracker(suite)._experiment.name == f"{EXPERIMENT}/{suite}"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "ann")
    assert Tracker(suite)._experiment.name == f"ann/{suite}"


def test_the_page_offers_the_accuracies_of_what_was_evaluated_and_one_curve_per_training(suite):
    Tracker(suite).log([TrackedTraining.read(trained(record(suite, fawa=True)))], tidy(suite))
    tracker = Tracker(suite)
    views = {key.rpartition(".")[2]: value for key, value in tracker._experiment.tags.items() if key.startswith(VIEW)}
    accuracies, curves = (json.loads(json.loads(views[name])["state"]) for name in ("accuracies", "curves"))
    assert accuracies["selectedColumns"] == [
        "metrics.`pgd10/overall_accuracy`",
        "metrics.`corruption/overall_accuracy`",
    ]
    for view, found in ((accuracies, ["at-s0 (ema)", "at-s0 (last)"]), (curves, ["at-s0 (last)"])):
        runs = tracker._client.search_runs([tracker._experiment.experiment_id], view["searchFilter"])
        assert sorted(str(run.info.run_name) for run in runs) == found
    assert {key for key in CURVES if re.search(curves["chartsSearchFilter"], key)} == CURVES - {"seconds"}
    assert tracker.page.startswith(f"http://127.0.0.1:5000/#/experiments/{tracker._experiment.experiment_id}/runs?")


def test_a_published_network_has_a_run_without_curves(suite):
    weights = {"last": {"present": True, "sha256": "at-last"}, "ema": {"present": False}}
    directory = trained(record(suite, weights=weights))
    (directory / "history.csv").write_text("epoch\n")
    assert Tracker(suite).log([TrackedTraining.read(directory)], tidy(suite)) == {"created": 1}
    assert shown(suite)["at-s0 (last)"].data.metrics["pgd10/overall_accuracy"] == 0.5


def test_the_aggregate_stage_logs_the_numbers_of_its_table_once(suite):
    trained(record(suite))
    evaluated(suite)
    aggregate.main(suite)
    before = everything(suite)
    aggregate.main(suite)
    assert everything(suite) == before
    run = shown(suite)["at-s0 (last)"]
    table = read_table(paths.metrics(suite))
    attacked = table.loc[(table["evaluation"] == "pgd10") & (table["class_name"] == "")]
    numbers = dict(zip(attacked["metric"], attacked["value"], strict=True))
    assert numbers["overall_accuracy"] == 0.5
    assert {name: run.data.metrics[f"pgd10/{name}"] for name in numbers} == numbers
    assert run.data.metrics["pgd10/class_accuracy/dog"] == 0.0
    assert run.data.tags["commit.pgd"] == "e7a1"


def test_a_server_that_is_down_costs_the_aggregate_stage_a_warning(suite, dead, capsys):
    trained(record(suite))
    evaluated(suite)
    aggregate.main(suite)
    assert paths.metrics(suite).exists()
    warning = capsys.readouterr().err
    assert f"MLflow's store {without_password(dead)} cannot be used" in warning
    assert "secret" not in warning
    assert f"`fairat track --suite {suite}` logs everything from the artifacts." in warning


def test_a_server_that_is_down_costs_a_training_a_warning_and_no_second_attempt_soon(suite, dead, capsys):
    with LiveTracker(record(suite, weights={}), begin_after=0, pause=0) as live:
        live.log(EPOCHS[:1])
        live.log(EPOCHS)
        live.finish(trained(record(suite)))
    assert capsys.readouterr().err.count("Warning") == 1


def test_the_curves_of_a_running_training_grow_on_a_run_that_its_end_completes(suite):
    Tracker(suite).log([TrackedTraining.read(trained(record(suite, commit="old", fawa=True)))])
    with LiveTracker(record(suite, weights={}), begin_after=0, pause=0) as live:
        live.log(EPOCHS[:1])
        (running,) = shown(suite).values()
        assert (running.info.run_name, running.info.status) == ("at-s0 (last)", "RUNNING")
        assert curve(suite, running, "train_loss") == [(0, 2.25)]
        live.finish(trained(record(suite)))
    runs = shown(suite)
    assert sorted(runs) == ["at-s0 (ema)", "at-s0 (last)"]
    assert runs["at-s0 (last)"].info.run_id == running.info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert curve(suite, runs["at-s0 (last)"], "train_loss") == [(0, 2.25), (1, 1 / 3)]
    assert runs["at-s0 (last)"].data.tags["weights_sha256"] == "at-last"
    assert Tracker(suite).log(trainings(suite)) == {"unchanged": 2}


def test_a_short_training_does_not_wait_for_mlflow(suite):
    with LiveTracker(record(suite, weights={})) as live:
        live.log(EPOCHS)
        live.finish(trained(record(suite)))
    assert shown(suite) == {}


def test_short_epochs_are_logged_together_and_none_twice(suite):
    epochs = [{"epoch": number, "seconds": 0.1} for number in range(5)]
    with LiveTracker(record(suite, weights={}), begin_after=0, pause=3600) as live:
        live.log(epochs[:1])
        live.log(epochs[:2])
        (run,) = shown(suite).values()
        assert [step for step, _ in curve(suite, run, "seconds")] == [0]
        assert live._tracker
        live._tracker._client = Mock(wraps=live._tracker._client)
        live.finish(trained(record(suite), epochs))
        (_, logged), *_ = live._tracker._client.log_batch.call_args_list
    assert [point.step for point in logged["metrics"]] == [1, 2, 3, 4]


def test_a_directory_that_is_being_written_is_no_training(suite):
    directory = trained(record(suite))
    shutil.copytree(directory, directory.with_name(".at.123.part"))
    assert len(trainings(suite)) == 1


@pytest.mark.parametrize(("error", "status"), [(UserError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_training_that_stops_early_is_marked_and_goes_on_from_its_first_epoch(suite, error, status):
    with pytest.raises(error), LiveTracker(record(suite, weights={}), begin_after=0) as live:
        live.log(EPOCHS[:1])
        raise error
    assert [run.info.status for run in shown(suite).values()] == [status]
    with LiveTracker(record(suite, weights={}), begin_after=0) as live:
        live.log(EPOCHS)
        (resumed,) = shown(suite).values()
        assert curve(suite, resumed, "train_loss") == [(0, 2.25), (1, 1 / 3)]


def test_tracking_goes_to_the_environments_store_or_to_one_that_git_ignores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    assert tracking_uri() == "http://tracking.example"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / ".gitignore").write_text((Path(__file__).parents[1] / ".gitignore").read_text())
    subprocess.run(["git", "init", "--quiet"], check=True)
    made = ["mlflow.db", "mlflow.db-journal", "mlflow.db-wal", "mlruns/1"]
    listed = subprocess.run(["git", "check-ignore", *made], check=True, capture_output=True, text=True)
    assert listed.stdout.split() == made


def test_track_rebuilds_a_suite_from_its_artifacts(suite, capsys):
    trained(record(suite))
    write_table(paths.metrics(suite), tidy(suite))
    track.main(suite)
    assert shown(suite)["at-s0 (last)"].data.metrics["pgd10/overall_accuracy"] == 0.5
    track.main()
    said = capsys.readouterr().out
    assert f"{suite}: 2 created in MLflow (sqlite:///" in said
    assert f"{suite}: 2 unchanged in MLflow (sqlite:///" in said


def test_track_without_a_training_says_what_to_do(suite):
    with pytest.raises(UserError, match=r"There is no finished training under runs\. Train one first: `dvc repro` or"):
        track.main()
    with pytest.raises(UserError, match=r"There is no finished training under runs/cifar10\. Train one first:"):
        track.main("cifar10")


def test_a_directory_that_is_no_training_says_what_is_wrong(suite):
    directory = trained(record(suite))
    (directory / "run.json").write_text(json.dumps(record(suite) | {"seed": "zero"}))
    with pytest.raises(
        UserError, match=r"is not what a training of this version leaves \(run\.json: seed: Input should"
    ):
        TrackedTraining.read(directory)
    directory = trained(record(suite))
    (directory / "history.csv").write_text("loss\n1\n")
    with pytest.raises(UserError, match=r"leaves \(history\.csv: a row has no epoch\)\. Delete it and train the run"):
        TrackedTraining.read(directory)
    (directory / "history.csv").unlink()
    with pytest.raises(UserError, match=r"no finished training in .* \(history\.csv is missing\)\. Train it with"):
        TrackedTraining.read(directory)
