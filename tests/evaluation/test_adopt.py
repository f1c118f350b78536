"""A published network becomes a run that evaluations treat like any other."""

import hashlib
from pathlib import Path

import pytest
import torch
from fairat import paths
from fairat.console import paragraph
from fairat.data.canonical import Manifest, Split, save_split
from fairat.errors import UserError
from fairat.evaluation import evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.models import build_model
from fairat.results.evidence import read_evidence
from fairat.settings.architectures import ShippedResNet18, ZooModel
from fairat.settings.evaluations import PgdEvaluation
from fairat.training.adoption import adopt, described
from fairat.training.record import RunRecord

from stages import evaluate, train

PARAMS = """
methods: {}
zoo:
  shipped: {label: Shipped, architecture: {kind: shipped_resnet18}}
suites:
  tiny:
    title: Tiny
    data: {source: {kind: digits}}
    architecture: {kind: preact_resnet18, width: 2}
    threat: {epsilon: 8/255, step_size: 2/255}
    evaluation:
      pgd: {steps: [2], step_size: 2/255}
"""
KEY = "tiny/shipped/s0"
NAMES = tuple(f"class {number}" for number in range(10))
LABELS = torch.arange(10)
IMAGES = torch.randint(256, (10, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
RUN = Path("runs/tiny/shipped/s0")
ADOPTED = paths.FINGERPRINTS / "train" / KEY


def manifest(classes: int = 10) -> Manifest:
    return Manifest(
        dataset="tiny",
        source={"kind": "digits"},
        class_names=NAMES[:classes],
        image_shape=(3, 8, 8),
        counts={},
        sha256={"test": Split(IMAGES, LABELS, NAMES[:classes]).sha256},
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
    )


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with test images, fingerprints, and a published network among its runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEVICE", "cpu")
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    Path("runs.yaml").write_text(f"runs: {{{KEY}: {{suite: tiny, start: data/tiny}}}}", encoding="utf-8")
    Path("own.yaml").write_text("# nothing\n", encoding="utf-8")
    for path in (ADOPTED, paths.FINGERPRINTS / "pgd" / "tiny"):
        path.parent.mkdir(parents=True)
        path.write_text("code")
    paths.dataset("tiny").mkdir(parents=True)
    manifest().save(paths.dataset("tiny"))
    save_split(paths.dataset("tiny") / "test.safetensors", Split(IMAGES, LABELS, NAMES))


def test_an_adopted_network_is_evaluated_as_it_was_published() -> None:
    train.main(KEY)
    evaluate.main("pgd", KEY)
    rows, _ = read_evidence(Path("results/pgd/tiny/shipped/s0.parquet"))
    original = build_model(ShippedResNet18(), num_classes=10, channels=3, mean=None, std=None)
    protocol = PgdEvaluation(steps=(2,), step_size=2 / 255)
    expected = evaluate_model(
        "pgd", original, EvaluationSet(IMAGES, LABELS, NAMES), protocol, epsilon=8 / 255
    ).to_pandas()
    for column in ("clean", "adversarial"):
        assert rows[column].tolist() == expected[column].tolist()
    assert set(rows["weights"]) == {"last"}


def test_an_adopted_network_leaves_what_a_training_leaves() -> None:
    train.main(KEY)
    record = RunRecord.load(RUN)
    assert (record.suite, record.method, record.seed, record.epochs) == ("tiny", "shipped", 0, 0)
    assert (record.class_names, record.image_shape, record.statistics) == (NAMES, (3, 8, 8), None)
    assert record.settings == {"architecture": {"kind": "shipped_resnet18"}}
    assert record.data == manifest().digest
    assert record.fingerprint == hashlib.sha256(b"code").hexdigest()[:16]
    assert [name for name, weights in record.weights.items() if weights.present] == ["last"]
    assert record.weights["last"].sha256 == hashlib.sha256((RUN / "last.safetensors").read_bytes()).hexdigest()
    assert record.weights["ema"].reason == "the network was published with one set of weights"
    assert (RUN / "history.csv").read_text() == "epoch\n"


def test_where_the_weights_lay_is_not_part_of_the_record() -> None:
    architecture = ZooModel(name="Rice2020Overfitting", path=Path("weights/rice.pt"))
    record = described(architecture, manifest(), "tiny", "shipped", 0, fingerprint="")
    assert record.architecture == ZooModel(name="Rice2020Overfitting")


def test_a_network_for_other_classes_is_refused_and_leaves_nothing() -> None:
    architecture = ShippedResNet18()
    record = described(architecture, manifest(classes=7), "tiny", "shipped", 0, fingerprint="")
    with pytest.raises(UserError, match="the data has 7 classes and 3 channels"):
        adopt(RUN, architecture, record)
    assert not RUN.exists()


def test_a_network_for_images_of_another_size_is_refused_before_anything_is_fetched() -> None:
    architecture = ZooModel(name="Rice2020Overfitting", path=Path("absent.pt"))
    record = described(architecture, manifest(), "tiny", "shipped", 0, fingerprint="")
    with pytest.raises(UserError) as caught:
        adopt(RUN, architecture, record)
    assert str(caught.value) == (
        "The network {kind: zoo, name: Rice2020Overfitting, dataset: cifar10} takes images of 3x32x32 pixels, but those "
        "of tiny have 3x8x8. Choose another network for this suite."
    )
    assert not RUN.exists()


def test_a_missing_fingerprint_says_how_to_write_it() -> None:
    ADOPTED.unlink()
    with pytest.raises(UserError) as caught:
        train.main(KEY)
    assert paragraph(caught.value) == (
        "There is no fingerprints/train/tiny/shipped/s0: the stage `fingerprint` writes it. "
        "`dvc repro` makes what is missing."
    )
