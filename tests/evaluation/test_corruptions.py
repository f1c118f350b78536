"""Corruptions as an evaluation: a row per image, corruption and severity."""

from pathlib import Path

import pytest
import torch
from fairat.console import paragraph
from fairat.data.canonical import CorruptedManifest, Split, save_split
from fairat.errors import UserError
from fairat.evaluation import EVALUATIONS, evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.settings.evaluations import CorruptionsEvaluation

from tests.evaluation.toys import EPSILON, Ledger, tiny_model, tiny_set

PROTOCOL = CorruptionsEvaluation(batch_size=16)


def write_corrupted(directory: Path, test: EvaluationSet) -> dict[str, torch.Tensor]:
    """Two corruptions: every severity makes the images of `dark` darker, those of `mirrored` are all the same."""
    severities = torch.tensor([1, 2, 3, 4, 5]).repeat_interleave(len(test)).view(-1, 1, 1, 1)
    everything = test.images.repeat(5, 1, 1, 1)
    corrupted = {"mirrored": everything.flip(3), "dark": (everything // (severities + 1)).to(torch.uint8)}
    splits = {name: Split(images, test.labels.repeat(5)) for name, images in corrupted.items()}
    for name, split in splits.items():
        save_split(directory / f"{name}.safetensors", split)
    CorruptedManifest(
        dataset="tiny",
        source={"kind": "made"},
        corruptions=tuple(corrupted),
        image_shape=(1, 6, 6),
        images=len(test),
        sha256={name: split.sha256 for name, split in splits.items()},
    ).save(directory)
    return corrupted


def corrupted_set(directory: Path) -> EvaluationSet:
    test = tiny_set(10)
    return EvaluationSet(test.images, test.labels, test.class_names, directory)


def test_every_image_is_classified_under_every_corruption_and_severity(tmp_path: Path) -> None:
    test = corrupted_set(tmp_path)
    images = write_corrupted(tmp_path, test)
    rows = evaluate_model("corruptions", tiny_model(), test, PROTOCOL, weights="fawa", epsilon=EPSILON).to_pandas()
    model = tiny_model().eval()
    assert len(rows) == 100
    assert set(rows["weights"]) == {"fawa"}
    assert list(dict.fromkeys(rows["corruption"])) == ["mirrored", "dark"]
    for name, part in rows.groupby("corruption", observed=True):
        assert part["prediction"].tolist() == model(images[str(name)] / 255).argmax(dim=1).tolist()
        assert part["severity"].tolist() == [1] * 10 + [2] * 10 + [3] * 10 + [4] * 10 + [5] * 10
        assert part["index"].tolist() == list(range(10)) * 5
        assert part["label"].tolist() == test.labels.tolist() * 5


def test_progress_adds_up_to_the_workload(tmp_path: Path) -> None:
    test, ledger = corrupted_set(tmp_path), Ledger()
    write_corrupted(tmp_path, test)
    evaluate_model("corruptions", tiny_model(), test, PROTOCOL, epsilon=EPSILON, watcher=ledger.watcher)
    assert sum(ledger.steps) == EVALUATIONS["corruptions"].workload(test, PROTOCOL) == 100
    assert len(ledger.steps) == 2 * 4


def test_corruptions_of_other_images_are_refused(tmp_path: Path) -> None:
    test = corrupted_set(tmp_path)
    write_corrupted(tmp_path, tiny_set(15))
    with pytest.raises(UserError) as caught:
        evaluate_model("corruptions", tiny_model(), test, PROTOCOL, epsilon=EPSILON)
    assert paragraph(caught.value) == (
        f"The labels of mirrored in {tmp_path} are not those of the 10 test images, five times: it was made from other "
        "images. Delete the directory. `dvc repro` makes again what is damaged or out of date."
    )
