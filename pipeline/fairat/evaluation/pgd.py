"""PGD on the cross-entropy, uniform start, constant radius: the PGD columns of the tables."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from fairat import seeds
from fairat.attacks.pgd import Images, initial_perturbation, pgd
from fairat.evaluation.protocol import Conditions, EvaluationSet, in_unit_range, predict
from fairat.methods.losses import cross_entropy
from fairat.results.evidence import attack_rows, stacked
from fairat.settings.evaluations import PgdEvaluation


def workload(test: EvaluationSet, settings: PgdEvaluation) -> int:
    """Every image once."""
    return len(test)


def evaluate(model: nn.Module, test: EvaluationSet, settings: PgdEvaluation, conditions: Conditions) -> pa.Table:
    """One block of rows for each number of steps; see `evaluate_model`.

    The starts do not depend on the batch size, the device or the weight set.
    """
    # Drawn on the CPU one image after the other, so that it does not matter how the images are batched.
    streams = [seeds.stream(conditions.seed, "evaluation.pgd", restart) for restart in range(settings.restarts)]
    clean = predict(model, test.images, settings.batch_size).cpu()
    found = []
    batches = zip(test.images.split(settings.batch_size), test.labels.split(settings.batch_size), strict=True)
    for number, (stored, labels) in enumerate(batches):

        def attack(stored: Tensor = stored, labels: Tensor = labels) -> dict[str, Any]:
            predictions = first_breaking(model, in_unit_range(stored), labels, settings, conditions, streams)
            return {"predictions": predictions.cpu(), "streams": [stream.get_state() for stream in streams]}

        done = conditions.recall(f"batch{number}", len(labels), attack)
        for stream, state in zip(streams, done["streams"], strict=True):
            stream.set_state(state)  # as if the batch had been attacked now
        found.append(done["predictions"])
    adversarial, index = torch.cat(found, dim=1), torch.arange(len(test))
    return stacked(
        [
            attack_rows(conditions.weights, f"pgd{steps}", index, test.labels.cpu(), clean, predictions)
            for steps, predictions in zip(sorted(set(settings.steps)), adversarial, strict=True)
        ]
    )


@torch.no_grad()
def first_breaking(
    model: nn.Module,
    images: Images,
    labels: Int64[Tensor, " batch"],
    settings: PgdEvaluation,
    conditions: Conditions,
    streams: Sequence[torch.Generator],
) -> Int64[Tensor, "steps batch"]:
    """The prediction under the first restart that breaks the image, separately for each number of steps, ascending.

    All numbers of steps are iterates of one run of the longest attack. An image that withstands all restarts has its own
    label as prediction. There is a restart for each of the `streams`, which its uniform start is drawn from.
    """
    stored, longest = sorted(set(settings.steps)), max(settings.steps)
    radii = images.new_full((len(images),), conditions.epsilon)
    predictions = labels.expand(len(stored), -1)
    found: dict[int, Tensor] = {}

    def observer(number: int, iterate: Images, predicted: Tensor) -> None:
        found[number] = predicted
        conditions.watcher.advance(len(images) / (longest * settings.restarts), "")

    for stream in streams:
        adversarial = pgd(
            model,
            images,
            loss=lambda logits: cross_entropy(logits, labels),
            epsilon=radii,
            step_size=torch.full_like(radii, settings.step_size),
            num_steps=longest,
            start=initial_perturbation("uniform", images.cpu(), radii.cpu(), stream).to(images),
            observer=observer,
        )
        found[longest] = model(adversarial).argmax(dim=1)
        attempt = torch.stack([found[steps] for steps in stored])
        predictions = torch.where(predictions == labels, attempt, predictions)
    return predictions
