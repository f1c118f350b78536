"""stages.evaluate on a suite of a few images, from params.yaml to Parquet."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from fairat import paths
from fairat.console import paragraph
from fairat.data.canonical import Split, channel_statistics, save_split
from fairat.errors import UserError
from fairat.results.evidence import attack_rows, corruption_rows, read_evidence, stacked
from fairat.settings.architectures import PreActResNet18
from fairat.training.checkpoint import save_weights
from fairat.training.record import RunRecord, WeightsRecord

from stages.evaluate import main, summary
from tests.evaluation.test_corruptions import write_corrupted
from tests.evaluation.toys import tiny_set
from tests.toys import manifest_of, run_record

PARAMS = """
methods:
  at: {label: AT, objective: {kind: at}}
suites:
  tiny:
    title: Tiny
    data: {source: {kind: digits}}
    architecture: {kind: preact_resnet18, width: 2}
    threat: {epsilon: 8/255, step_size: 2/255, num_steps: 2}
    weights: [last, ema, fawa]
    evaluation:
      pgd: {steps: [1, 2], step_size: 4/255}
      autoattack: {images: 10, iterations: 2, target_classes: 1, queries: 2}
      square: {queries: 2}
"""
RUNS = "runs: {tiny/at/s1: {suite: tiny, start: data/tiny}}"
TEST = tiny_set(20)
RUN = Path("runs/tiny/at/s1")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with test images and a training whose weights `last` and `ema` differ, and which has no `fawa`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEVICE", "cpu")
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    Path("runs.yaml").write_text(RUNS, encoding="utf-8")
    Path("own.yaml").write_text("# nothing\n", encoding="utf-8")
    for evaluation in paths.EVALUATIONS:
        path = paths.FINGERPRINTS / evaluation / ("tiny/at/s1" if evaluation == "steps" else "tiny")
        path.parent.mkdir(parents=True)
        path.write_text(evaluation)
    write_test_images(TEST.class_names)
    write_training(RUN)
    return tmp_path


def write_test_images(class_names: tuple[str, ...]) -> None:
    paths.dataset("tiny").mkdir(parents=True, exist_ok=True)
    split = Split(TEST.images, TEST.labels, class_names)
    save_split(paths.dataset("tiny") / "test.safetensors", split)
    manifest_of(split).save(paths.dataset("tiny"))
    write_corrupted(paths.corrupted("tiny"), TEST)


def write_training(directory: Path) -> None:
    mean, std = channel_statistics(TEST.images)
    record = run_record(
        seed=1,
        class_names=TEST.class_names,
        architecture=PreActResNet18(width=2),
        statistics={"mean": mean, "std": std},
    )
    weights = {"fawa": WeightsRecord(present=False, reason="its gate never opened")}
    for seed, name in enumerate(("last", "ema")):
        torch.manual_seed(seed)
        sha256 = save_weights(paths.weights(directory, name), record.network().state_dict(), {})
        weights[name] = WeightsRecord(present=True, sha256=sha256)
    record.model_copy(update={"weights": weights}).save(directory)


@pytest.mark.parametrize(
    ("evaluation", "blocks", "images"),
    [
        ("pgd", ["pgd1", "pgd2"], 20),
        ("autoattack", ["autoattack"], 10),
        ("square", ["square"], 20),
        ("corruptions", ["mirrored", "dark"], 100),
    ],
)
def test_an_evaluation_leaves_a_row_per_image_and_weight_set(
    evaluation: str, blocks: list[str], images: int, capsys: pytest.CaptureFixture[str]
) -> None:
    main(evaluation, "tiny/at/s1")
    rows, origin = read_evidence(Path(f"results/{evaluation}/tiny/at/s1.parquet"))
    column = "corruption" if evaluation == "corruptions" else "attack"
    counted = Counter(zip(rows["weights"], rows[column], strict=True))
    assert counted == {(weights, block): images for weights in ("last", "ema") for block in blocks}
    assert (origin.suite, origin.method, origin.seed, origin.evaluation) == ("tiny", "at", 1, evaluation)
    assert origin.settings["epsilon"] == pytest.approx(8 / 255)
    assert origin.fingerprint == hashlib.sha256(evaluation.encode()).hexdigest()[:16]
    assert origin.weights_sha256 == {
        name: hashlib.sha256((RUN / f"{name}.safetensors").read_bytes()).hexdigest() for name in ("last", "ema")
    }
    said = capsys.readouterr().out
    assert "tiny/at/s1: no fawa weights (its gate never opened)" in said
    assert "  ema: " in said


def test_the_rows_are_the_predictions_of_the_saved_weights() -> None:
    main("pgd", "tiny/at/s1")
    rows, origin = read_evidence(Path("results/pgd/tiny/at/s1.parquet"))
    assert origin.data_sha256 == Split(TEST.images, TEST.labels, TEST.class_names).sha256
    for seed, name in enumerate(("last", "ema")):
        torch.manual_seed(seed)
        model = RunRecord.load(RUN).network().eval()
        part = rows[(rows["weights"] == name) & (rows["attack"] == "pgd1")]
        assert part["clean"].tolist() == model(TEST.images / 255).argmax(dim=1).tolist()


def test_evaluating_again_gives_the_same_rows() -> None:
    frames = []
    for _ in range(2):
        main("square", "tiny/at/s1")
        frames.append(read_evidence(Path("results/square/tiny/at/s1.parquet"))[0])
    assert frames[0].equals(frames[1])


def test_an_unknown_evaluation_is_answered_with_those_there_are() -> None:
    with pytest.raises(UserError) as caught:
        main("fgsm", "tiny/at/s1")
    assert str(caught.value) == (
        "There is no evaluation 'fgsm'; there are: pgd, autoattack, square, corruptions, steps."
    )


def test_a_run_without_any_of_the_weights_asked_for_is_refused() -> None:
    Path("params.yaml").write_text(PARAMS.replace("[last, ema, fawa]", "[fawa, best]"), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        main("pgd", "tiny/at/s1")
    assert str(caught.value) == (
        "suites.tiny.weights asks for fawa, best, but runs/tiny/at/s1 holds last, ema. "
        "Ask for one that it holds, or train the run again."
    )


def test_missing_weights_are_named() -> None:
    (RUN / "ema.safetensors").unlink()
    with pytest.raises(UserError) as caught:
        main("pgd", "tiny/at/s1")
    assert paragraph(caught.value) == (
        "There are no weights at runs/tiny/at/s1/ema.safetensors. Train the run first. `dvc repro` makes what is missing."
    )
    assert not list(Path("results").rglob("*.parquet"))


def test_a_run_that_was_not_trained_is_named() -> None:
    (RUN / "run.json").unlink()
    with pytest.raises(UserError, match=r"There is no finished training in runs/tiny/at/s1 \(run\.json is missing\)"):
        main("pgd", "tiny/at/s1")


def test_images_of_other_classes_than_the_training_s_are_refused() -> None:
    write_test_images(("a", "b", "c", "d", "e"))
    with pytest.raises(UserError) as caught:
        main("pgd", "tiny/at/s1")
    assert str(caught.value) == (
        "tiny/at/s1 was trained on images with the classes class 0, class 1, class 2, class 3, class 4, but the test "
        "images in data/tiny have a, b, c, d, e. Train it again: `dvc repro train@tiny/at/s1`."
    )


def test_images_of_another_shape_than_the_training_s_are_refused() -> None:
    RunRecord.load(RUN).model_copy(update={"image_shape": (3, 32, 32)}).save(RUN)
    with pytest.raises(UserError) as caught:
        main("pgd", "tiny/at/s1")
    assert str(caught.value) == (
        "tiny/at/s1 was trained on images with the image shape 3, 32, 32, but the test images in data/tiny have 1, 6, 6. "
        "Train it again: `dvc repro train@tiny/at/s1`."
    )


def test_a_missing_fingerprint_says_how_to_write_it() -> None:
    (paths.FINGERPRINTS / "pgd" / "tiny").unlink()
    with pytest.raises(UserError) as caught:
        main("pgd", "tiny/at/s1")
    assert paragraph(caught.value) == (
        "There is no fingerprints/pgd/tiny: the stage `fingerprint` writes it. `dvc repro` makes what is missing."
    )


def test_the_summary_tells_the_longest_attack_and_the_worst_class() -> None:
    labels, clean = [0, 0, 1, 1], [0, 0, 1, 0]
    frames = [
        attack_rows("last", name, range(4), labels, clean, adversarial)
        for name, adversarial in (("pgd10", [0, 0, 1, 1]), ("pgd20", [1, 1, 1, 0]))
    ]
    assert summary(stacked(frames), ("cat", "dog")) == (
        "75.0% clean, 25.0% robust (pgd20, 4 images), worst class cat 0.0%"
    )


def test_the_summary_of_corruptions_tells_the_worst_one() -> None:
    frames = [
        corruption_rows("last", name, 1, range(4), [0, 0, 1, 1], predictions)
        for name, predictions in (("fog", [0, 0, 1, 1]), ("snow", [1, 1, 1, 0]))
    ]
    assert summary(stacked(frames), ("cat", "dog")) == "62.5% right under 2 corruptions, worst snow 25.0%"


def test_brackets_in_class_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("[a]", "[b]", "[c]", "[d]", "[e]")
    write_test_images(names)
    RunRecord.load(RUN).model_copy(update={"class_names": names}).save(RUN)
    main("pgd", "tiny/at/s1")
    assert re.search(r"worst class \[[a-e]\] 0\.0%", capsys.readouterr().out)
