"""Predictions on the corrupted test set, every corruption and severity (Hendrycks and Dietterich 2019)."""

from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor, nn

from fairat.data.canonical import SEVERITIES, corruption_names, load_corruption
from fairat.errors import Hint, UserError
from fairat.evaluation.protocol import Conditions, EvaluationSet, predict
from fairat.results.evidence import corruption_rows, stacked
from fairat.settings.evaluations import CorruptionsEvaluation


def workload(test: EvaluationSet, settings: CorruptionsEvaluation) -> int:
    """Every image under every corruption and severity."""
    return len(corruption_names(_directory(test))) * len(SEVERITIES) * len(test)


def evaluate(
    model: nn.Module, test: EvaluationSet, settings: CorruptionsEvaluation, conditions: Conditions
) -> pa.Table:
    """One block of rows for each corruption and severity; see `evaluate_model`. Nothing is attacked.

    Raises:
        UserError: there is no corrupted test set, or it was made from other test images.
    """
    tables = []
    for name in corruption_names(_directory(test)):
        corrupted = load_corruption(_directory(test), name)
        labels = test.labels.cpu().repeat(len(SEVERITIES))
        if not torch.equal(corrupted.labels, labels):
            raise UserError(
                f"The labels of {name} in {test.corrupted} are not those of the {len(test)} test images, five times: it "
                "was made from other images. Delete the directory.",
                Hint.REMAKE,
            )

        def classify(name: str = name, images: Tensor = corrupted.images) -> Tensor:
            def told(by: float) -> None:
                conditions.watcher.advance(by, name)

            return predict(model, images.to(test.images.device), settings.batch_size, told).cpu()

        predictions = conditions.recall(name, len(corrupted), classify)
        index = torch.arange(len(test)).repeat(len(SEVERITIES))
        tables.append(corruption_rows(conditions.weights, name, corrupted.severities, index, labels, predictions))
    return stacked(tables)


def _directory(test: EvaluationSet) -> Path:
    if test.corrupted is None:
        raise UserError(
            "No corrupted test set was given. Give the directory of one, or make it from the test images with "
            "the stage `corrupt`."
        )
    return test.corrupted
