"""BAT's errors from pairs of predictions, and its attack steps."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from fairat.evaluation import evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.rendering.figures import source_and_target
from fairat.rendering.table import Row
from fairat.results import metrics
from fairat.results.aggregation import aggregate
from fairat.results.bootstrap import Bootstrap
from fairat.results.evidence import Origin, attack_rows, write_evidence
from fairat.settings.evaluations import StepsEvaluation
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.patches import Rectangle

from tests.evaluation.toys import EPSILON, Ledger, tiny_model, tiny_set

STEP, STEPS = EPSILON / 10, 25


@given(arrays(np.int64, (3, 60), elements=st.integers(0, 4)))
def test_errors_of_pairs_are_those_of_the_two_confusions(numbers):
    labels, clean, robust = numbers
    pairs = np.zeros((5, 2, 2), dtype=np.int64)
    np.add.at(pairs, (labels, (clean == labels).astype(int), (robust == labels).astype(int)), 1)
    expected = metrics.bat_errors(*(metrics.confusion(labels, found, 5) for found in (clean, robust)))
    np.testing.assert_allclose(metrics.paired_bat_errors(pairs), expected)


def test_intervals_of_the_errors_agree_with_images_drawn_one_by_one():
    generator = np.random.default_rng(5)
    labels = generator.integers(0, 3, 300)
    clean = generator.random(300) < np.array([0.9, 0.7, 0.8])[labels]
    robust = clean & (generator.random(300) < np.array([0.6, 0.5, 0.8])[labels])
    drawn = generator.integers(0, 300, (4000, 300))
    cells = labels * 4 + clean * 2 + robust
    counts = np.stack([np.bincount(cells[row], minlength=12) for row in drawn]).reshape(-1, 3, 2, 2)
    intervals = Bootstrap(replicates=4000).bat_errors(np.bincount(cells, minlength=12).reshape(3, 2, 2))
    for name, values in metrics.paired_bat_errors(counts)._asdict().items():
        expected = np.quantile(values, (0.025, 0.975))
        np.testing.assert_allclose(np.array(intervals[f"{name}_error"][1:]), expected, atol=0.015, err_msg=name)


def test_attack_steps_are_means_over_the_images_of_a_class():
    steps = np.array([[0, 2, 2], [4, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(metrics.attack_steps(steps), [1.5, 0, np.nan])
    interval = Bootstrap(replicates=200).attack_steps(steps)
    assert interval["attack_steps"].value == 6 / 8
    assert interval["class_attack_steps"].low[1] == interval["class_attack_steps"].high[1] == 0


def reference(test: EvaluationSet) -> tuple[list[int], list[int]]:
    """First wrong check and its prediction, by PGD on images, all at once, from the images themselves."""
    model, images = tiny_model().eval(), test.images.float() / 255
    adversarial, first, found = images.clone(), [STEPS] * len(test), [-1] * len(test)
    for check in range(STEPS + 1):
        adversarial = adversarial.detach().requires_grad_()
        logits = model(adversarial)
        for number, (prediction, label) in enumerate(
            zip(logits.argmax(dim=1).tolist(), test.labels.tolist(), strict=True)
        ):
            if first[number] == STEPS and found[number] == -1 and (prediction != label or check == STEPS):
                first[number], found[number] = check, prediction
        F.cross_entropy(logits, test.labels).backward()
        assert adversarial.grad is not None
        adversarial = adversarial.detach() + STEP * adversarial.grad.sign()
        adversarial = torch.max(torch.min(adversarial, images + EPSILON), images - EPSILON).clamp(0, 1)
    return first, found


def stepped(ledger: Ledger | None = None):
    settings = StepsEvaluation(step_size=STEP, num_steps=STEPS, batch_size=16)
    watcher = ledger.watcher if ledger else None
    return evaluate_model("steps", tiny_model(), tiny_set(), settings, epsilon=EPSILON, watcher=watcher)


def test_the_first_success_is_that_of_a_straightforward_loop():
    rows, (first, predictions) = stepped().to_pydict(), reference(tiny_set())
    assert rows["first_success"] == first
    assert rows["adversarial"] == predictions
    assert 0 < sum(number == STEPS for number in first) < len(first)
    assert len(set(first)) > 3


def test_images_that_are_wrong_already_take_no_step():
    rows = stepped().to_pydict()
    for label, clean, first in zip(rows["label"], rows["clean"], rows["first_success"], strict=True):
        assert (clean != label) == (first == 0)


def test_progress_adds_up_to_the_images_though_batches_end_early():
    ledger = Ledger()
    stepped(ledger)
    assert sum(ledger.steps) == pytest.approx(40)


def evidence(path):
    labels, first = [0, 0, 0, 1, 1, 1], [0, 3, 50, 50, 50, 20]
    adversarial = [1, 1, 0, 1, 1, 0]
    rows = attack_rows("last", "pgd50", range(6), labels, [1, 0, 0, 1, 1, 1], adversarial, first)
    fields = {"suite": "demo", "method": "at", "seed": 0, "evaluation": "steps", "class_names": ("cat", "dog")}
    fields |= {"settings": {}, "weights_sha256": {"last": "x"}, "data_sha256": "", "fingerprint": "", "commit": ""}
    write_evidence(path, rows, Origin.model_validate(fields | {"versions": {}, "device": "cpu", "seconds": 0}))
    return path


def test_the_tidy_table_has_the_mean_steps_of_each_source_class_and_the_share_that_withstands(tmp_path):
    table = aggregate([evidence(tmp_path / "at.parquet")], Bootstrap(replicates=20))
    of_steps = table.loc[table["evaluation"] == "steps"].set_index(["metric", "class_name"])["value"]
    assert of_steps["class_attack_steps", "cat"] == pytest.approx(53 / 3)
    assert of_steps["class_attack_steps", "dog"] == 40
    assert of_steps["attack_steps", ""] == pytest.approx(173 / 6)
    assert of_steps["overall_accuracy", ""] == 0.5


def test_the_figure_shows_steps_as_they_are_and_shares_in_percent(tmp_path):
    of_steps = aggregate([evidence(tmp_path / "at.parquet")], Bootstrap(replicates=20))
    others = [of_steps.assign(evaluation=name) for name in ("clean", "pgd20", "pgd10")]
    figure = source_and_target(pd.concat([of_steps, *others]), Row("at", "last", "PGD-AT"), "demo")
    _, steps, shares = (
        [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)] for axes in figure.axes
    )
    assert steps == pytest.approx([53 / 3, 40])
    assert sum(shares) == pytest.approx(100)
