import json
import math

import numpy as np
import pandas as pd
import pytest
from fairat import paths
from fairat.errors import Hint, UserError
from fairat.results import aggregation, metrics
from fairat.results.aggregation import COLUMNS, aggregate, headline, over_seeds, read_table, write_table
from fairat.results.bootstrap import Bootstrap
from fairat.results.evidence import Origin, attack_rows, corruption_rows, stacked, write_evidence

FEW = Bootstrap(replicates=50)
CLASSES = ("cat", "dog", "eel")
LABELS = [0, 0, 1, 1, 2, 2]
CLEAN = [0, 0, 1, 2, 2, 2]
PGD = [0, 1, 2, 2, 2, 2]
SQUARE = [0, 1, 1, 2, 2, 2]


def origin(evaluation, weights=("last",), **changes):
    fields = {"suite": "demo", "method": "at", "seed": 0, "evaluation": evaluation, "class_names": CLASSES}
    fields |= {"settings": {}, "weights_sha256": {name: f"hash of {name}" for name in weights}, "data_sha256": ""}
    fields |= {"fingerprint": "", "commit": "", "versions": {}, "device": "cpu", "seconds": 0}
    return Origin(**fields | changes)


def stored(root, frame, origin):
    path = root / paths.evidence(origin.suite, origin.seed, origin.evaluation, origin.method)
    write_evidence(path, frame, origin)
    return path


def pgd_file(root, weights=("last",), predictions=PGD, **changes):
    frames = [attack_rows(name, "pgd10", range(6), LABELS, CLEAN, predictions) for name in weights]
    return stored(root, stacked(frames), origin("pgd", weights, **changes))


def square_file(root, images=6, clean=CLEAN, **changes):
    frame = attack_rows("last", "square", range(images), LABELS[:images], clean[:images], SQUARE[:images])
    return stored(root, frame, origin("square", **changes))


def corruption_file(root, weights=("last",)):
    """Fog: right everywhere, but the first image from severity 3 on. Snow: everything is an eel."""
    severity, labels = np.repeat([1, 2, 3, 4, 5], 6), LABELS * 5
    fog = np.array(labels)
    fog[(severity >= 3) & (np.tile(range(6), 5) == 0)] = 1
    frames = [
        corruption_rows(set_name, name, severity, list(range(6)) * 5, labels, predictions)
        for set_name in weights
        for name, predictions in (("fog", fog), ("snow", np.full(30, 2)))
    ]
    return stored(root, stacked(frames), origin("corruptions", weights))


def value(table, metric, class_name="", **keys):
    rows = pd.DataFrame(table[(table["metric"] == metric) & (table["class_name"] == class_name)])
    for column, wanted in keys.items():
        rows = pd.DataFrame(rows[rows[column] == wanted])
    (found,) = rows["value"].tolist()
    return found


def test_every_metric_of_an_attack_is_that_counted_by_hand(tmp_path):
    table = aggregate([pgd_file(tmp_path)], FEW)
    assert tuple(table.columns) == COLUMNS
    assert value(table, "overall_accuracy", evaluation="clean") == pytest.approx(5 / 6)
    assert value(table, "overall_accuracy", evaluation="pgd10") == pytest.approx(3 / 6)
    assert value(table, "worst_class_accuracy", evaluation="clean") == 0.5
    assert value(table, "worst_class_accuracy", evaluation="pgd10") == 0
    assert value(table, "minimum_class_accuracy", evaluation="pgd10") == 0
    assert [value(table, "class_accuracy", name, evaluation="pgd10") for name in CLASSES] == [0.5, 0, 1]
    # Wrong: a cat taken for a dog, two dogs for eels.
    assert [value(table, "cfps", name, evaluation="pgd10") for name in CLASSES] == pytest.approx([0, 1 / 3, 2 / 3])
    ovr = [value(table, "class_accuracy_ovr", name, evaluation="pgd10") for name in CLASSES]
    assert ovr == pytest.approx([5 / 6, 3 / 6, 4 / 6])
    errors = [f"{kind}_{name}_error" for kind in ("average", "worst") for name in ("standard", "boundary", "robust")]
    found = [value(table, name, evaluation="pgd10") for name in errors]
    assert found == pytest.approx([1 / 6, 2 / 6, 3 / 6, 0.5, 0.5, 1])
    assert len(table) == 2 * (3 + 3 * 3) + len(errors)


def test_intervals_hold_their_values_and_undefined_values_have_none(tmp_path):
    table = aggregate([pgd_file(tmp_path, predictions=LABELS)])
    undefined = (table["evaluation"] == "pgd10") & (table["metric"] == "cfps")
    assert np.isnan(table.loc[undefined, ["value", "low", "high"]].to_numpy()).all()
    value, low, high = (table.loc[~undefined, column].to_numpy() for column in ("value", "low", "high"))
    assert (low <= value).all()
    assert (value <= high).all()


def test_clean_accuracy_comes_from_the_evidence_with_the_most_images(tmp_path):
    fewer = square_file(tmp_path, images=3)
    alone = aggregate([fewer], FEW)
    assert value(alone, "overall_accuracy", evaluation="clean", images=3) == 1
    table = aggregate([fewer, pgd_file(tmp_path)], FEW)
    assert value(table, "overall_accuracy", evaluation="clean") == pytest.approx(5 / 6)
    assert table.groupby("evaluation")["images"].unique().map(list).to_dict() == {
        "clean": [6],
        "pgd10": [6],
        "square": [3],
    }


def test_clean_accuracy_comes_from_pgd_where_others_have_as_many_images(tmp_path):
    files = [square_file(tmp_path, clean=LABELS), pgd_file(tmp_path)]
    assert value(aggregate(files, FEW), "overall_accuracy", evaluation="clean") == pytest.approx(5 / 6)


def test_a_class_without_images_has_no_accuracy(tmp_path):
    table = aggregate([square_file(tmp_path, images=3)], FEW)
    assert math.isnan(value(table, "class_accuracy", "eel", evaluation="square"))
    assert value(table, "worst_class_accuracy", evaluation="square") == 0.5


def test_a_corruption_pools_its_severities_and_the_mean_is_over_corruptions(tmp_path):
    table = aggregate([corruption_file(tmp_path)], FEW)
    assert set(table["evaluation"]) == {"corruption"}
    assert value(table, "overall_accuracy", corruption="fog") == pytest.approx(27 / 30)
    assert value(table, "worst_class_accuracy", corruption="fog") == pytest.approx(7 / 10)
    assert [value(table, "class_accuracy", name, corruption="snow") for name in CLASSES] == [0, 0, 1]
    assert value(table, "overall_accuracy", corruption="mean") == pytest.approx((27 / 30 + 10 / 30) / 2)
    assert set(table.loc[table["corruption"] == "mean", "metric"]) == {"overall_accuracy"}
    assert not set(table["metric"]) & {"cfps", "class_accuracy_ovr"}
    assert table.groupby("corruption")["images"].first().to_dict() == {"fog": 30, "mean": 60, "snow": 30}


def test_an_interval_under_corruption_counts_images_not_their_severities(tmp_path):
    """Right at every severity or at none: 100 images tell of 100 trials, not of 500."""
    count = 100
    index, right = np.tile(np.arange(count), 5), np.tile(np.arange(count) % 2, 5)
    labels = np.zeros(5 * count, dtype=int)
    frame = corruption_rows("last", "fog", np.repeat([1, 2, 3, 4, 5], count), index, labels, 1 - right)
    table = aggregate([stored(tmp_path, frame, origin("corruptions"))])
    fog = table[(table["metric"] == "overall_accuracy") & (table["corruption"] == "fog")].iloc[0]
    assert fog["value"] == 0.5
    assert fog["high"] - fog["low"] == pytest.approx(2 * 1.96 * 0.05, rel=0.15)


def test_the_table_does_not_depend_on_the_order_of_the_files(tmp_path):
    files = [
        pgd_file(tmp_path, ("last", "ema")),
        pgd_file(tmp_path, seed=1),
        pgd_file(tmp_path, method="trades"),
        square_file(tmp_path),
        corruption_file(tmp_path, ("last", "ema")),
    ]
    table = aggregate(files, FEW)
    pd.testing.assert_frame_equal(aggregate(files[::-1], FEW), table)
    assert not table.duplicated(list(COLUMNS[:8])).any()
    assert list(table["evaluation"].unique()) == ["clean", "pgd10", "square", "corruption"]


def test_weight_sets_have_rows_of_their_own(tmp_path):
    frames = [
        attack_rows(name, "pgd20", range(6), LABELS, clean, PGD) for name, clean in (("last", CLEAN), ("ema", LABELS))
    ]
    table = aggregate([stored(tmp_path, stacked(frames), origin("pgd", ("last", "ema")))], FEW)
    clean = [value(table, "overall_accuracy", weights=name, evaluation="clean") for name in ("last", "ema")]
    assert clean == [pytest.approx(5 / 6), 1]


def test_the_table_is_recomputed_from_the_confusions(tmp_path):
    files = [pgd_file(tmp_path), square_file(tmp_path)]
    table, counted = aggregate(files, FEW), {tally.evaluation: tally.confusion for tally in aggregation.tallies(files)}
    np.testing.assert_array_equal(counted["pgd10"], [[1, 1, 0], [0, 0, 2], [0, 0, 2]])
    assert list(counted) == ["clean", "pgd10", "square"]
    for evaluation, confusion in counted.items():
        assert value(table, "overall_accuracy", evaluation=evaluation) == metrics.overall_accuracy(confusion)
        np.testing.assert_array_equal(
            [value(table, "cfps", name, evaluation=evaluation) for name in CLASSES], metrics.cfps(confusion)
        )


def test_a_confusion_under_a_corruption_pools_its_severities(tmp_path):
    counted = {tally.corruption: tally.confusion for tally in aggregation.tallies([corruption_file(tmp_path)])}
    np.testing.assert_array_equal(counted["snow"], [[0, 0, 10]] * 3)
    assert set(counted) == {"fog", "snow", "mean"}


def tidy(values, metric="overall_accuracy", **keys):
    """A tidy table of one value per seed."""
    columns = {"suite": "demo", "method": "at", "weights": "last", "evaluation": "clean", "corruption": ""} | keys
    rows = [{**columns, "seed": seed, "metric": metric, "value": value} for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).assign(class_name="", low=np.nan, high=np.nan, images=10)


def test_over_seeds_are_mean_and_sample_standard_deviation():
    """AF-35."""
    (row,) = over_seeds(tidy([0.480, 0.484, 0.481, 0.485, 0.480])).to_dict("records")
    assert row["mean"] == pytest.approx(0.482, abs=1e-9)
    assert row["std"] == pytest.approx(0.002345, abs=1e-6)
    assert row["seeds"] == 5
    assert "seed" not in row


def test_one_seed_has_no_standard_deviation_and_an_undefined_seed_does_not_count():
    table = pd.DataFrame(pd.concat([tidy([0.5]), tidy([0.2, np.nan, 0.4], method="trades")]))
    one, three = over_seeds(table).to_dict("records")
    assert (one["method"], one["seeds"], one["mean"]) == ("at", 1, 0.5)
    assert math.isnan(one["std"])
    assert (three["method"], three["seeds"]) == ("trades", 2)
    assert three["mean"] == pytest.approx(0.3)
    assert three["std"] == pytest.approx(0.2 / 2**0.5)


def test_the_headline_has_three_numbers_of_the_last_weights_rounded_means_over_seeds():
    parts = (
        tidy([0.81111, 0.82223]),
        tidy([0.3, 0.5], "worst_class_accuracy", evaluation="pgd10"),
        tidy([0.45], evaluation="pgd10"),
        tidy([0.9], "worst_class_accuracy"),
        tidy([0.7], "cfps", evaluation="pgd10"),
        tidy([0.6], evaluation="corruption", corruption="mean"),
        tidy([0.1], weights="ema"),
        tidy([0.1], evaluation="autoattack"),
        tidy([np.nan], method="trades"),
    )
    table = pd.DataFrame(pd.concat(parts))
    expected = {"at": {"clean": 0.8167, "pgd10_worst": 0.4, "pgd10": 0.45}}
    assert headline(table) == expected
    assert json.loads(json.dumps(headline(table), allow_nan=False)) == expected


def test_a_table_is_read_back_as_written(tmp_path):
    table = aggregate([pgd_file(tmp_path), corruption_file(tmp_path)], FEW)
    write_table(tmp_path / "metrics/demo.parquet", table)
    pd.testing.assert_frame_equal(read_table(tmp_path / "metrics/demo.parquet"), table)


def test_a_failing_write_leaves_the_old_table_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "metrics.parquet"
    write_table(path, tidy([0.5]))
    before = path.read_bytes()

    def stops_halfway(frame, where, **options):
        where.write_bytes(before[:50])
        raise RuntimeError("killed")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", stops_halfway)
    with pytest.raises(RuntimeError, match="killed"):
        write_table(path, tidy([0.6]))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_that_cannot_be_read_says_what_to_do(tmp_path):
    path = tmp_path / "metrics.parquet"
    with pytest.raises(UserError, match=r"There is no table .*metrics\.parquet: nothing was aggregated") as missing:
        read_table(path)
    assert missing.value.hint is Hint.MAKE
    path.write_text("suite,method")
    with pytest.raises(UserError, match=r"metrics\.parquet cannot be read as Parquet .* Delete it") as damaged:
        read_table(path)
    assert damaged.value.hint is Hint.REMAKE
    pd.DataFrame({"suite": ["demo"]}).to_parquet(path)
    with pytest.raises(UserError, match="is not a tidy table: it has the columns suite, not suite, method, seed"):
        read_table(path)


def test_nothing_to_aggregate_says_what_to_do():
    with pytest.raises(UserError, match=r"There is no evidence to aggregate: no file results/.* Evaluate a run first"):
        aggregate([])


def test_two_files_of_one_evaluation_are_refused(tmp_path):
    files = [pgd_file(tmp_path), pgd_file(tmp_path / "copy")]
    message = r"cannot both belong to the run demo/at/s0: both are its evidence of pgd\. Delete the one"
    with pytest.raises(UserError, match=message):
        aggregate(files)


def test_evidence_of_weights_from_two_trainings_is_refused(tmp_path):
    files = [pgd_file(tmp_path), square_file(tmp_path, weights_sha256={"last": "trained again"})]
    with pytest.raises(UserError, match=r"they evaluate different last weights\.") as caught:
        aggregate(files)
    assert caught.value.hint is Hint.REMAKE


def test_evidence_of_other_classes_is_refused(tmp_path):
    files = [pgd_file(tmp_path), square_file(tmp_path, class_names=("cat", "dog", "cow"))]
    with pytest.raises(UserError, match="their class names differ"):
        aggregation.tallies(files)
