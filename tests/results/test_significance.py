import shutil

import numpy as np
import pandas as pd
import pytest
from fairat import paths
from fairat.console import paragraph
from fairat.errors import UserError
from fairat.methods.method import Method, bases
from fairat.papers.significance import significance_table
from fairat.results.bootstrap import Bootstrap
from fairat.results.evidence import attack_rows, corruption_rows, stacked
from fairat.results.significance import Block, compare, comparison_table, difference

from stages import significance
from tests.results.test_aggregation import origin, stored

FEW = Bootstrap(replicates=300)
MARGIN = {"kind": "robust_accuracy", "offset": 0.5}
TARGETS = {"kind": "cfps"}
AT = {"label": "AT", "objective": {"kind": "at"}}
TRADES = {"label": "TRADES", "objective": {"kind": "trades", "beta": 6.0}}


def methods(**settings):
    return {name: Method.model_validate(one) for name, one in settings.items()}


def worst(one):
    return one["worst_class_accuracy"]


def images(right, label, size=100):
    """Labels and hits of a class of which the given share is right."""
    return np.full(size, label), (np.arange(size) < right * size).astype(np.int64)


def test_the_interval_of_one_clearly_worst_class_is_that_of_paired_proportions():
    """McNemar: b and c images that only one of the rows has right; se = sqrt(b + c - (b - c)^2 / n) / n."""
    n, both, b, c = 1000, 150, 90, 40
    labels = np.repeat([0, 1], n)
    ours, base = np.ones((2, 1, 2 * n), dtype=np.int64)
    ours[0, :n] = np.arange(n) < both + b
    base[0, :n] = (np.arange(n) < both) | ((np.arange(n) >= both + b) & (np.arange(n) < both + b + c))
    found = worst(difference(ours, base, labels, bootstrap=Bootstrap(replicates=20_000)))
    half = 1.959964 * np.sqrt(b + c - (b - c) ** 2 / n) / n
    assert (found.base, found.ours, found.value) == pytest.approx((0.19, 0.24, 0.05))
    np.testing.assert_allclose([found.low, found.high], [0.05 - half, 0.05 + half], atol=0.06 * half)


def test_rows_that_are_right_on_the_same_images_do_not_differ_at_all():
    labels, right = images(0.4, 0)
    found = difference(right[None], right[None], labels)
    assert [(one.value, one.low, one.high, one.significant) for one in found.values()] == [(0, 0, 0, False)] * 2


def test_the_interval_looks_the_same_from_both_sides():
    generator = np.random.default_rng(0)
    labels, ours, base = np.repeat(range(4), 50), *generator.integers(0, 2, (2, 3, 200))
    many = Bootstrap(replicates=20_000)
    one, other = (worst(difference(*pair, labels, bootstrap=many)) for pair in ((ours, base), (base, ours)))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.015)


def test_the_overall_difference_weighs_classes_by_their_images():
    labels = np.repeat([0, 1], [90, 10])
    ours, base = (labels == 0).astype(np.int64)[None], (labels == 1).astype(np.int64)[None]
    found = difference(ours, base, labels, bootstrap=FEW)["overall_accuracy"]
    assert (found.ours, found.base) == (pytest.approx(0.9), pytest.approx(0.1))


def seeds_without_image_noise(accuracies):
    """One class whose images are all alike: of 1000 predictions of each, a share is right."""
    return np.repeat((np.array(accuracies) * 1000).astype(np.int64)[:, None], 10, axis=1)


def test_with_two_seeds_the_ends_are_the_differences_of_the_seeds():
    """One of two is drawn: whoever has two trainings knows no more than what they differ by."""
    ours, base = seeds_without_image_noise([0.30, 0.36]), seeds_without_image_noise([0.25, 0.25])
    found = worst(difference(ours, base, np.zeros(10, int), predictions=1000, bootstrap=FEW))
    assert (found.low, found.value, found.high) == pytest.approx((0.05, 0.08, 0.11))


def test_with_many_seeds_the_interval_is_that_of_a_mean():
    """1.96 s / sqrt(n)."""
    generator = np.random.default_rng(1)
    accuracies = np.round(generator.normal(0.3, 0.02, 40), 3)
    ours, base = seeds_without_image_noise(accuracies), seeds_without_image_noise([0.25] * 40)
    found = worst(difference(ours, base, np.zeros(10, int), predictions=1000, bootstrap=Bootstrap(replicates=10_000)))
    expected = 2 * 1.96 * accuracies.std(ddof=1) / np.sqrt(40)
    assert found.high - found.low == pytest.approx(expected, rel=0.08)


def test_seeds_stay_in_pairs():
    """Trainings of one seed that are both better by the same differ by nothing."""
    ours, base = (seeds_without_image_noise(np.array([0.2, 0.4, 0.6]) + shift) for shift in (0.05, 0.0))
    found = worst(difference(ours, base, np.zeros(10, int), predictions=1000, bootstrap=FEW))
    assert (found.low, found.high) == pytest.approx((0.05, 0.05))


def coverage(ours, base, *, size, trials):
    """How often the interval holds the true difference of minima, where the same draws decide what both rows get right."""
    generator = np.random.default_rng(0)
    ours, base, labels = np.array(ours), np.array(base), np.repeat(range(len(ours)), size)
    truth = ours.min() - base.min()
    held = 0
    for seed in range(trials):
        hard = generator.random(len(labels))
        right = [(hard < accuracies[labels]).astype(np.int64)[None] for accuracies in (ours, base)]
        found = worst(difference(right[0], right[1], labels, bootstrap=FEW.model_copy(update={"seed": seed})))
        held += found.low - 1e-9 <= truth <= found.high + 1e-9
    return held / trials


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """95 %, of 150 trials with a standard error of 1.8; two classes compete for the worst."""
    assert coverage([0.25, 0.26, 0.5, 0.6], [0.2, 0.3, 0.5, 0.6], size=200, trials=150) > 0.91


def test_the_interval_holds_the_truth_where_ten_classes_compete_with_one_that_is_clearly_worst():
    """The lowest of ten alike is 1.5 standard errors too low on average. The percentile interval holds half of the truths
    (docs/reproduction.md)."""
    assert coverage([0.25] * 10, [0.2] + [0.5] * 9, size=200, trials=100) > 0.80


def test_the_base_of_a_row_differs_in_its_targets_only():
    known = methods(
        at_constant=AT,
        other_beta={**TRADES, "objective": {"kind": "trades", "beta": 2.0}},
        calibrated={**TRADES, "class_weights": {"kind": "ccr"}},
        at={**AT, "margin": {**MARGIN, "begin_epoch": 10}},
        trades=TRADES,
        ours={**AT, "targets": TARGETS, "margin": {**MARGIN, "begin_epoch": 1}},
        ours_constant={**AT, "targets": TARGETS},
        ours_trades={**TRADES, "objective": {"kind": "trades", "beta": 6.0, "targeted_inner": "kl_untargeted"}}
        | {"targets": {"kind": "uniform"}},
        alone={**TRADES, "targets": TARGETS, "margin": MARGIN},
    )
    assert bases(known) == {"ours": "at", "ours_constant": "at_constant", "ours_trades": "trades", "alone": None}


CLASSES = ("cat", "dog")
LABELS = np.repeat([0, 1], 20)
SUITE = methods(
    at=AT,
    fair_tat={**AT, "label": "FAIR-TAT", "targets": TARGETS},
    clean={"label": "C", "objective": {"kind": "clean"}},
)


def predictions(right):
    """Of the first images of each class, `right` are right."""
    return np.where(np.arange(40) % 20 < right, LABELS, 1 - LABELS)


def attacked(root, method, right, *, seed=0, evaluation="pgd", attack="pgd10", images=40, weights=("last",), data="d"):
    frames = [
        attack_rows(name, attack, range(images), LABELS[:images], predictions(18)[:images], predictions(right)[:images])
        for name in weights
    ]
    changes = {"method": method, "seed": seed, "class_names": CLASSES, "data_sha256": data}
    return stored(root, stacked(frames), origin(evaluation, weights, **changes))


def by_block(comparisons):
    return {(one.method, one.block.weights, one.block.evaluation): one for one in comparisons if "worst" in one.metric}


def test_rows_are_compared_with_the_same_weights_of_their_base_over_common_seeds(tmp_path):
    files = [attacked(tmp_path, "at", 8, seed=seed, weights=("last", "ema")) for seed in (0, 1)]
    files += [attacked(tmp_path, "fair_tat", 16, seed=seed, weights=("last", "fawa")) for seed in (0, 1, 2)]
    found = by_block(compare("demo", bases(SUITE), files, FEW))
    assert set(found) == {("fair_tat", "last", "pgd10"), ("fair_tat", "last", "clean")}
    one = found["fair_tat", "last", "pgd10"]
    assert (one.base, one.seeds, one.images, one.difference.value) == ("at", 2, 40, pytest.approx(0.4))
    assert one.difference.significant
    assert found["fair_tat", "last", "clean"].difference[2:] == (0, 0)


def test_severities_of_an_image_are_drawn_together(tmp_path):
    def corrupted(method, right):
        frame = corruption_rows(
            "last",
            "fog",
            np.repeat([1, 2, 3, 4, 5], 40),
            np.tile(range(40), 5),
            np.tile(LABELS, 5),
            np.tile(predictions(right), 5),
        )
        return stored(tmp_path, frame, origin("corruptions", method=method, class_names=CLASSES))

    files = [corrupted("at", 8), corrupted("fair_tat", 10)]
    once = [attacked(tmp_path, "at", 8), attacked(tmp_path, "fair_tat", 10)]
    (fog, _), (attack, _) = compare("demo", bases(SUITE), files, FEW), compare("demo", bases(SUITE), once, FEW)[2:]
    assert fog.block == Block("last", "corruption", "fog")
    assert fog.difference == attack.difference


def test_clean_predictions_from_attacks_on_fewer_images_are_compared_on_these(tmp_path):
    files = [
        attacked(tmp_path, "at", 8),
        attacked(tmp_path, "fair_tat", 9, evaluation="square", attack="square", images=30),
    ]
    assert by_block(compare("demo", bases(SUITE), files, FEW))["fair_tat", "last", "clean"].images == 30


def test_runs_on_other_images_are_not_compared(tmp_path):
    files = [attacked(tmp_path, "at", 8), attacked(tmp_path, "fair_tat", 9, data="other")]
    with pytest.raises(UserError) as error:
        compare("demo", bases(SUITE), files, FEW)
    assert paragraph(error.value) == (
        "fair_tat and at of demo cannot be compared under clean: their evidence is not of the same test images. "
        "`dvc repro` makes again what is damaged or out of date."
    )


def test_without_evidence_of_a_base_there_is_nothing_to_compare(tmp_path):
    assert compare("demo", bases(SUITE), [], FEW) == []
    assert compare("demo", bases(SUITE), [attacked(tmp_path, "fair_tat", 9), attacked(tmp_path, "clean", 9)], FEW) == []


def test_differences_are_bold_where_the_interval_leaves_out_zero(tmp_path):
    files = [attacked(tmp_path, "at", 8), attacked(tmp_path, "fair_tat", 16)]
    table = significance_table(
        "x", "Digits", SUITE, compare("demo", bases(SUITE), files, FEW), ("clean", "pgd10", "square")
    )
    assert [column.headings[1:] for column in table.columns[::5]] == [("Clean", "Base"), ("PGD-10", "Base")]
    (line,) = table.lines
    assert line.label == "FAIR-TAT vs. AT"
    assert [set(cell.marks) for cell in line.cells] == [*[set()] * 7, {"bold"}, set(), set()]
    assert [cell.number for cell in line.cells[5:8]] == ["40.0", "80.0", "40.0"]
    assert any("One seed" in note for note in table.notes)


@pytest.fixture
def project(tmp_path, monkeypatch):
    for path in (paths.PARAMS, paths.RUNS, paths.OWN):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stage_writes_tables_and_every_number(project):
    attacked(project, "at", 8)
    attacked(project, "fair_tat", 16)
    significance.main("demo")
    directory = paths.significance("demo")
    assert {path.name for path in directory.iterdir()} == {
        f"significance{end}" for end in (".csv", ".md", ".tex", "_overall.md", "_overall.tex")
    }
    assert "FAIR-TAT vs. AT" in (directory / "significance.md").read_text()
    table = pd.read_csv(directory / "significance.csv")
    np.testing.assert_allclose(table["difference"], table["value"] - table["base_value"], atol=1e-12)
    assert (
        list(table["low"] <= table["difference"]) == list(table["difference"] <= table["high"]) == [True] * len(table)
    )


def test_the_stage_writes_an_empty_list_where_nothing_was_evaluated(project):
    significance.main("demo")
    assert [path.name for path in paths.significance("demo").iterdir()] == ["significance.csv"]
    assert len(pd.read_csv(paths.significance("demo") / "significance.csv")) == 0


def test_a_table_of_no_comparisons_keeps_its_columns():
    assert list(comparison_table([]).columns)[-5:] == ["base_value", "value", "difference", "low", "high"]
