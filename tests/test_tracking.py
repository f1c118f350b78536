import multiprocessing
import os
import shutil
import socket
from itertools import count
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest
from fairat import paths, tracking
from fairat.errors import UserError
from fairat.files import sha256_of
from fairat.results.aggregation import COLUMNS, read_table, write_table
from fairat.results.evidence import Origin, attack_rows, write_evidence
from fairat.settings.base import signed_content
from fairat.tools import track

from stages import aggregate

HISTORY = "epoch,train_loss,validation_clean_accuracy,seconds,undefined\n0,2.25,0.1,1.5,nan\n1,0.3333333333333333,0.7,1.25,inf\n"
EPOCHS = [{"epoch": 0, "train_loss": 2.25, "seconds": 1.5}, {"epoch": 1, "train_loss": 1 / 3, "seconds": 1.25}]
CURVES = {"train_loss", "validation_clean_accuracy", "seconds"}
SETTINGS = {"recipe": {"batch_size": 128, "drops": [5, 9]}, "method": {"kind": "at", "num_steps": None}, "seed": 0}


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
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:secret@127.0.0.1:{free.getsockname()[1]}")


def record(suite, sha256="1", fawa=False, **changes):
    weights = {name: {"present": True, "sha256": f"{name}-{sha256}"} for name in ("last", "ema")}
    weights |= {"fawa": {"present": fawa, "sha256": f"fawa-{sha256}" if fawa else ""}}
    fields = {"suite": suite, "method": "at", "seed": 0, "settings": SETTINGS, "versions": {"torch": "2.15"}}
    fields |= {"fingerprint": "f00", "data": "da7a", "commit": "abc123+", "device": "cpu", "seconds": 3.0}
    return fields | {"weights": weights} | changes


def trained(content, history=HISTORY):
    """A training's directory, as the train stage leaves it."""
    directory = paths.run(content["suite"], content["method"], content["seed"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "history.csv").write_text(history)
    files = {"history.csv": sha256_of(directory / "history.csv")}
    (directory / "run.json").write_text(signed_content({"files": files, **content}))
    return directory


def tidy(suite, overall=0.5, classes=("cat",)):
    """A tidy table of the last and ema weights of one training."""
    rows = [
        ("pgd10", "", "overall_accuracy", "", overall, 0.4, 0.6),
        ("pgd10", "", "worst_class_accuracy", "", float("nan"), float("nan"), float("nan")),
        *(("pgd10", "", "class_accuracy", name, 0.25 + number, 0.1, 0.4) for number, name in enumerate(classes)),
        ("corruption", "mean", "overall_accuracy", "", 0.875, 0.8, 0.9),
        ("corruption", "fog", "overall_accuracy", "", 0.75, 0.7, 0.8),
        ("corruption", "fog", "class_accuracy", "cat", 0.5, 0.4, 0.6),
    ]
    filled = [(suite, "at", 0, weights, *row, 100) for weights in ("last", "ema") for row in rows]
    table = pd.DataFrame(filled, columns=list(COLUMNS))
    sha256 = {"last": "last-1", "ema": "ema-1"}
    origin = {"method": "at", "seed": 0, "evaluation": "pgd", "commit": "e7a1", "weights_sha256": sha256}
    table.attrs[tracking.ORIGINS] = [origin]
    return table


def shown(suite):
    """The MLflow runs of a suite: ema, then last."""
    experiment = mlflow.get_experiment_by_name(f"{tracking.EXPERIMENT}/{suite}")
    return (
        mlflow.MlflowClient().search_runs([experiment.experiment_id], order_by=["tags.weights"]) if experiment else []
    )


def points(run, key):
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, key)
    return [(point.step, point.value, point.timestamp) for point in history]


def curve(run, key="train_loss"):
    return [(step, value) for step, value, _ in points(run, key)]


def everything(suite):
    """Every tag, parameter, metric and point of every run of a suite."""
    return [(run.to_dictionary(), [points(run, key) for key in run.data.metrics]) for run in shown(suite)]


def test_each_weight_set_is_one_run_with_its_tags_parameters_and_curves_on_the_clock_of_the_training(suite):
    os.utime(trained(record(suite)) / "run.json", (1000.0, 1000.0))
    assert tracking.log_suite(suite) == {"new": 2}
    run, last = shown(suite)
    assert (run.info.run_name, last.info.run_name) == ("at-s0 (ema)", "at-s0 (last)")
    wanted = {"suite": suite, "method": "at", "weights": "ema", "seed": "0", "commit": "abc123+", "fingerprint": "f00"}
    assert (wanted | {"weights_sha256": "ema-1"}).items() <= run.data.tags.items()
    parameters = {"recipe.batch_size": "128", "recipe.drops": "[5, 9]", "method.kind": "at", "seed": "0"}
    assert run.data.params == parameters | {"versions.torch": "2.15"}
    assert set(run.data.metrics) == CURVES
    assert points(run, "train_loss") == [(0, 2.25, 998_500), (1, 1 / 3, 999_750)]
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", 997_000, 1_000_000)


def test_evaluations_are_added_to_the_same_run_and_doing_it_twice_changes_nothing(suite):
    trained(record(suite))
    tracking.log_suite(suite)
    before = shown(suite)[0]
    assert tracking.log_suite(suite, tidy(suite)) == {"completed": 2}
    after, state = shown(suite)[0], everything(suite)
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
    assert tracking.log_suite(suite, tidy(suite)) == {"unchanged": 2}
    assert everything(suite) == state
    assert tracking.log_suite(suite, tidy(suite, overall=0.25)) == {"completed": 2}
    assert shown(suite)[0].data.metrics["pgd10/overall_accuracy"] == 0.25


def test_other_settings_of_a_method_stand_beside_it(suite):
    trained(record(suite))
    tracking.log_suite(suite)
    trained(record(suite, sha256="2", settings={"recipe": {"batch_size": 64}}))
    assert tracking.log_suite(suite) == {"new": 2}
    assert [run.data.params["recipe.batch_size"] for run in shown(suite)] in (["128", "64"] * 2, ["64", "128"] * 2)


def test_the_same_settings_trained_again_replace_their_runs_and_numbers_of_earlier_weights_are_not_shown(suite):
    trained(record(suite, fawa=True))
    assert tracking.log_suite(suite, tidy(suite)) == {"new": 3}
    trained(record(suite, sha256="2"), HISTORY.replace("2.25", "9.0"))
    assert tracking.log_suite(suite, tidy(suite)) == {"new": 2}
    ema, last = shown(suite)
    assert curve(ema) == curve(last) == [(0, 9.0), (1, 1 / 3)]
    assert set(ema.data.metrics) == set(last.data.metrics) == CURVES


def test_class_names_of_any_kind_become_keys_that_mlflow_takes_and_tells_apart(suite):
    odd = ["mean", "crème brûlée", "n01/dog", "a:b", "a$b", "..", ".", "  ", "🐈", 'quote"', "x" * 300, "x" * 299]
    trained(record(suite))
    tracking.log_suite(suite, tidy(suite, classes=odd))
    metrics = {key.rpartition("/")[2]: value for key, value in shown(suite)[0].data.metrics.items() if "/class_" in key}
    assert sorted(metrics.values()) == [0.25 + number for number in range(len(odd))]
    assert {"mean", "crème brûlée", "n01_dog-3"} < metrics.keys()


@pytest.mark.parametrize("call", range(5))
def test_an_interrupted_logging_is_completed_without_a_second_run(suite, monkeypatch, call):
    trained(record(suite))
    genuine, calls = mlflow.MlflowClient.log_batch, count()

    def interrupted(*args, **kwargs):
        if next(calls) == call:
            raise KeyboardInterrupt
        genuine(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mlflow.MlflowClient, "log_batch", interrupted)
        tracking.log_suite(suite, tidy(suite))
    tracking.log_suite(suite, tidy(suite))
    assert tracking.log_suite(suite, tidy(suite)) == {"unchanged": 2}
    assert len(shown(suite)) == 2
    for run in shown(suite):
        assert (run.info.status, len(run.data.params)) == ("FINISHED", 5)
        assert curve(run) == [(0, 2.25), (1, 1 / 3)]
        assert run.data.metrics["pgd10/overall_accuracy"] == 0.5


def test_processes_that_find_no_store_make_one_together(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    # Forks share MLflow, whose import would take each of them seconds.
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert len(set(pool.map(tracking.page, ["demo"] * 3))) == 1


def test_the_aggregate_stage_logs_its_table_also_of_a_published_network_without_epochs(suite, monkeypatch):
    trained(record(suite), "epoch\n")
    fields = {"suite": suite, "method": "at", "seed": 0, "evaluation": "pgd", "class_names": ("cat", "dog")}
    fields |= {"settings": {}, "weights_sha256": {"last": "last-1"}, "data_sha256": "d", "fingerprint": "f"}
    origin = Origin.model_validate(fields | {"commit": "e7a1", "versions": {}, "device": "cpu", "seconds": 1.0})
    rows = attack_rows("last", "pgd10", [0, 1], [0, 1], [0, 1], [0, 0])
    path = paths.evidence(suite, 0, "pgd", "at")
    write_evidence(path, rows, origin)
    monkeypatch.setattr(aggregate, "load_study", lambda: SimpleNamespace(evidence_of=lambda name: [path]))
    aggregate.main(suite)
    logged = everything(suite)
    metrics, table = shown(suite)[1].data.metrics, read_table(paths.metrics(suite))
    numbers = (
        table[(table["evaluation"] == "pgd10") & (table["class_name"] == "")].set_index("metric")["value"].to_dict()
    )
    assert numbers["overall_accuracy"] == 0.5
    assert {name: metrics[f"pgd10/{name}"] for name in numbers} == numbers
    assert metrics["pgd10/class_accuracy/dog"] == 0.0
    track.main(suite)
    assert everything(suite) == logged


def test_a_server_that_is_down_costs_a_warning_without_the_password_and_no_second_attempt_soon(suite, dead, capsys):
    directory = trained(record(suite))
    with tracking.warning_only():
        tracking.log_suite(suite)
    warning = capsys.readouterr().err
    assert "MLflow's store http://***@127.0.0.1:" in warning
    assert "secret" not in warning
    assert f"`fairat track --suite {suite}` logs everything from the artifacts." in warning
    live = tracking.Live(record(suite, weights={}), begin_after=0, pause=0)
    live.log(EPOCHS[:1])
    live.log(EPOCHS)
    live.finish(directory)
    assert capsys.readouterr().err.count("Warning") == 1


def test_the_curves_of_a_running_training_grow_on_a_run_that_its_end_completes(suite):
    tracking.Live(record(suite, weights={}), begin_after=0).log([{**EPOCHS[0], "train_loss": 7.0}])
    # Killed, and begun again: the first of these calls takes the place of what is there.
    live = tracking.Live(record(suite, weights={}), begin_after=0, pause=0)
    for epochs in (EPOCHS[:1], EPOCHS):
        live.log(epochs)
        (running,) = shown(suite)
        assert (running.info.run_name, running.info.status) == ("at-s0 (last)", "RUNNING")
        assert curve(running) == [(epoch["epoch"], epoch["train_loss"]) for epoch in epochs]
    live.finish(trained(record(suite), f"{HISTORY}2,0.25,0.75,1,1\n"))
    ema, last = shown(suite)
    assert last.info.run_id == running.info.run_id
    assert (last.info.status, last.data.tags["weights_sha256"]) == ("FINISHED", "last-1")
    assert curve(ema) == curve(last) == [(0, 2.25), (1, 1 / 3), (2, 0.25)]
    assert tracking.log_suite(suite) == {"unchanged": 2}


def test_a_short_training_does_not_wait_for_mlflow_and_short_epochs_are_logged_together(suite):
    short = tracking.Live(record(suite, weights={}))
    short.log(EPOCHS)
    short.finish(trained(record(suite)))
    assert shown(suite) == []
    live = tracking.Live(record(suite, weights={}), begin_after=0, pause=3600)
    live.log(EPOCHS[:1])
    live.log(EPOCHS)
    assert curve(shown(suite)[0]) == [(0, 2.25)]


def test_tracking_goes_to_the_environments_store_or_to_one_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    assert tracking.tracking_uri() == "http://tracking.example"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_track_rebuilds_a_suite_from_its_artifacts_but_not_from_a_directory_that_is_being_written(suite, capsys):
    directory = trained(record(suite))
    shutil.copytree(directory, directory.with_name(".at.123.part"))
    write_table(paths.metrics(suite), tidy(suite))
    track.main(suite)
    assert shown(suite)[1].data.metrics["pgd10/overall_accuracy"] == 0.5
    track.main()
    said = capsys.readouterr().out
    assert f"{suite}: 2 new in MLflow (sqlite:///" in said
    assert f"{suite}: 2 unchanged in MLflow (sqlite:///" in said
    assert "http://127.0.0.1:5000/#/experiments/" in said


def test_track_without_a_training_says_what_to_do(suite):
    with pytest.raises(UserError, match=r"There is no finished training under runs\. Train one first: `dvc repro` or"):
        track.main()
    with pytest.raises(UserError, match=r"There is no finished training under runs/cifar10\. Train one first:"):
        track.main("cifar10")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("run.json", signed_content({"seconds": 1}), "KeyError: 'method'"),
        ("run.json", '{"seconds": 1}', "ValueError: its content does not match the digest that it ends with"),
        ("run.json", "{", "JSONDecodeError: "),
        ("history.csv", "loss\n1\n", "ValueError: history.csv is not the file that run.json names"),
        ("history.csv", None, "FileNotFoundError: .*history.csv"),
    ],
)
def test_a_directory_that_is_no_training_says_what_is_wrong(suite, name, content, reason):
    path = trained(record(suite)) / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=rf"is not what a training of this version leaves \({reason}.*\)\. Delete it"):
        tracking.log_suite(suite)
