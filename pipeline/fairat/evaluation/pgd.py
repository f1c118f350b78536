"""PGD on the cross-entropy, uniform start, constant radius: the PGD columns of the tables."""

from collections.abc import Sequence

import pyarrow as pa
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from fairat import seeds
from fairat.attacks.pgd import Images, initial_perturbation, pgd
from fairat.evaluation.protocol import EvaluationSet, Watcher, in_unit_range, predict
from fairat.methods.losses import cross_entropy
from fairat.results.evidence import attack_rows, stacked
from fairat.settings.evaluations import PgdEvaluation


def workload(test: EvaluationSet, settings: PgdEvaluation) -> int:
    """Every image once."""
    return len(test)


def evaluate(
    model: nn.Module,
    test: EvaluationSet,
    settings: PgdEvaluation,
    *,
    weights: str,
    epsilon: float,
    seed: int,
    watcher: Watcher,
) -> pa.Table:
    """One block of rows for each number of steps; see `evaluate_model`.

    The starts do not depend on the batch size, the device or the weight set.
    """
    # Drawn on the CPU one image after the other, so that it does not matter how the images are batched.
    streams = [seeds.stream(seed, "evaluation.pgd", restart) for restart in range(settings.restarts)]
    clean = predict(model, test.images, settings.batch_size).cpu()
    found = []
    for stored, labels in zip(
        test.images.split(settings.batch_size), test.labels.split(settings.batch_size), strict=True
    ):
        found.append(first_breaking(model, in_unit_range(stored), labels, settings, epsilon, streams, watcher))
    adversarial, index = torch.cat(found, dim=1).cpu(), torch.arange(len(test))
    return stacked(
        [
            attack_rows(weights, f"pgd{steps}", index, test.labels.cpu(), clean, predictions)
            for steps, predictions in zip(checkpoints(settings), adversarial, strict=True)
        ]
    )


def checkpoints(settings: PgdEvaluation) -> list[int]:
    """After how many steps a prediction is stored, ascending."""
    return sorted(set(settings.steps))


def first_breaking(
    model: nn.Module,
    images: Images,
    labels: Int64[Tensor, " batch"],
    settings: PgdEvaluation,
    epsilon: float,
    streams: Sequence[torch.Generator],
    watcher: Watcher,
) -> Int64[Tensor, "steps batch"]:
    """The prediction under the first restart that breaks the image, separately for each number of steps.

    An image that withstands all restarts has its own label as prediction. There is a restart for each of the `streams`,
    which its uniform start is drawn from.
    """
    predictions = labels.expand(len(checkpoints(settings)), -1)
    radii = images.new_full((len(images),), epsilon)
    for stream in streams:
        start = initial_perturbation("uniform", images.cpu(), radii.cpu(), stream).to(images)
        attempt = predictions_along(model, images, labels, settings, radii, start, watcher)
        predictions = torch.where(predictions == labels, attempt, predictions)
    return predictions


@torch.no_grad()
def predictions_along(
    model: nn.Module,
    images: Images,
    labels: Int64[Tensor, " batch"],
    settings: PgdEvaluation,
    radii: Tensor,
    start: Images,
    watcher: Watcher,
) -> Int64[Tensor, "steps batch"]:
    """Predictions of the iterates after each of the `checkpoints`, from one run of the longest attack."""
    found: dict[int, Tensor] = {}
    longest = max(settings.steps)
    progress_of_a_step = len(images) / (longest * settings.restarts)

    def observer(number: int, iterate: Images, predictions: Tensor) -> None:
        found[number] = predictions
        watcher.advance(progress_of_a_step, "")

    adversarial = pgd(
        model,
        images,
        loss=lambda logits: cross_entropy(logits, labels),
        epsilon=radii,
        step_size=torch.full_like(radii, settings.step_size),
        num_steps=longest,
        start=start,
        observer=observer,
    )
    found[longest] = model(adversarial).argmax(dim=1)
    return torch.stack([found[steps] for steps in checkpoints(settings)])
