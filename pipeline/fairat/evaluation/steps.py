"""How many small steps break an image: BAT's measure of how hard each source class is to attack (its Figure 2)."""

import pyarrow as pa
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from fairat.attacks.pgd import Images, pgd
from fairat.evaluation.protocol import Conditions, EvaluationSet, in_unit_range, predict
from fairat.methods.losses import cross_entropy
from fairat.results.evidence import attack_rows
from fairat.settings.evaluations import StepsEvaluation


def workload(test: EvaluationSet, settings: StepsEvaluation) -> int:
    """Every image once."""
    return len(test)


def evaluate(model: nn.Module, test: EvaluationSet, settings: StepsEvaluation, conditions: Conditions) -> pa.Table:
    """One block of rows; see `evaluate_model`. From the image itself, so nothing is random."""
    clean = predict(model, test.images, settings.batch_size).cpu()
    batches = zip(test.images.split(settings.batch_size), test.labels.split(settings.batch_size), strict=True)
    found = []
    for number, (images, labels) in enumerate(batches):

        def attack(images: Tensor = images, labels: Tensor = labels) -> list[Tensor]:
            return [part.cpu() for part in broken(model, in_unit_range(images), labels, settings, conditions)]

        found.append(conditions.recall(f"batch{number}", len(labels), attack))
    adversarial, first = (torch.cat(parts) for parts in zip(*found, strict=True))
    return attack_rows(
        conditions.weights,
        f"pgd{settings.num_steps}",
        torch.arange(len(test)),
        test.labels.cpu(),
        clean,
        adversarial,
        first,
    )


@torch.no_grad()
def broken(
    model: nn.Module,
    images: Images,
    labels: Int64[Tensor, " batch"],
    settings: StepsEvaluation,
    conditions: Conditions,
) -> tuple[Int64[Tensor, " batch"], Int64[Tensor, " batch"]]:
    """The prediction of the first wrong iterate, or else of the last; and the check, `num_steps` where none was wrong."""
    share, radii = len(images) / settings.num_steps, images.new_full((len(images),), conditions.epsilon)
    first, checks = torch.full_like(labels, settings.num_steps), 0

    def standing(predictions: Tensor) -> Tensor:
        """Freezes an image at its first wrong prediction, and remembers at which check that was."""
        nonlocal first, checks
        first = torch.where((predictions != labels) & (first == settings.num_steps), checks, first)
        checks += 1
        conditions.watcher.advance(share, "")
        return first == settings.num_steps

    adversarial = pgd(
        model,
        images,
        loss=lambda logits: cross_entropy(logits, labels),
        epsilon=radii,
        step_size=torch.full_like(radii, settings.step_size),
        num_steps=settings.num_steps,
        start=torch.zeros_like(images),
        stopping=standing,
    )
    conditions.watcher.advance(share * (settings.num_steps - checks), "")
    return model(adversarial).argmax(dim=1), first
