"""What is measured on the validation set at the end of an epoch, in eval mode on the live model."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fairat.attacks.pgd import Images, Start, attacking, initial_perturbation, pgd
from fairat.methods.losses import cross_entropy, divergence
from fairat.results import metrics
from fairat.settings.threat import Threat

_TRADES_FIELDS = frozenset({"val.trades10", "val.ce", "val.kl"})


def measure(
    needs: Iterable[str],
    model: nn.Module,
    images: Images,
    labels: Int[Tensor, " count"],
    *,
    num_classes: int,
    threat: Threat,
    generator: torch.Generator,
    batch_size: int = 1024,
) -> dict[str, Tensor]:
    """Measures exactly the `val.` fields that are asked for, and val.clean always.

    Results are on the CPU: class means of losses, confusion counts of predictions.

    Args:
        needs: names of history fields; those that are not validation fields are passed over.
        model: comes back in the mode it was given in.
        images: the validation images, in [0, 1], not augmented.
        labels: their classes.
        num_classes: K.
        threat: radius and step size of every probe, the same for all classes.
        generator: the stream of the probes' starts.
        batch_size: images attacked at once.
    """
    wanted = {name for name in needs if name.startswith("val.")}
    chunks = []
    with attacking(model, "eval"):
        for chunk, truth in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            chunks.append(_measure_chunk(wanted, model, chunk, truth, threat, generator))
    labels, found = labels.cpu(), {}
    for name in chunks[0]:
        values = torch.cat([chunk[name] for chunk in chunks]).cpu()
        if values.is_floating_point():
            found[name] = class_means(labels, values, num_classes)
        else:
            found[name] = torch.from_numpy(metrics.confusion(labels.numpy(), values.numpy(), num_classes))
    return found


def class_means(
    labels: Int[Tensor, " count"], values: Float[Tensor, " count"], num_classes: int
) -> Float[Tensor, " class"]:
    """The mean of each class's values; nan for a class without images."""
    sums = torch.zeros(num_classes, dtype=values.dtype).index_add_(0, labels, values)
    return sums / torch.bincount(labels, minlength=num_classes)


def _measure_chunk(
    wanted: set[str],
    model: nn.Module,
    images: Images,
    labels: Tensor,
    threat: Threat,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """One value per image for each field: a predicted class, or a loss."""

    def logits_after(start: Start, num_steps: int, loss: Callable[[Tensor], Tensor]) -> Tensor:
        epsilon = images.new_full((len(images),), threat.epsilon)
        noise = initial_perturbation(start, images, epsilon, generator)
        step_size = torch.full_like(epsilon, threat.step_size)
        adversarial = pgd(
            model, images, loss=loss, epsilon=epsilon, step_size=step_size, num_steps=num_steps, start=noise
        )
        with torch.no_grad():
            return model(adversarial)

    with torch.no_grad():
        clean = model(images)
    result = {"val.clean": clean.argmax(dim=1)}
    for name, num_steps in (("val.pgd10", 10), ("val.pgd20", 20)):
        if name in wanted:
            logits = logits_after("uniform", num_steps, lambda logits: cross_entropy(logits, labels))
            result[name] = logits.argmax(dim=1)
    if wanted & _TRADES_FIELDS:
        logits = logits_after("gauss", 10, lambda logits: divergence(clean, logits))
        result["val.trades10"] = logits.argmax(dim=1)
        result["val.ce"] = cross_entropy(clean, labels).double()
        result["val.kl"] = divergence(clean, logits).double()
    return result
