"""What is measured on the validation images: exactly what is asked for, in eval mode, and class by class."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from fairat.methods.history import FIELDS
from fairat.settings.threat import Threat
from fairat.training.probes import class_means, measure
from torch import Tensor, nn

from tests.training.toys import CLASSES, tiny_images, tiny_settings, trained

SPLIT = tiny_images(30, 2)
IMAGES = SPLIT.images / 255
THREAT = Threat(epsilon=0.1, step_size=0.03, num_steps=3)


@cache
def network() -> nn.Module:
    """One that predicts every class, mostly the right one."""
    return trained(tiny_settings({"objective": "at"}, epochs=8)).model


def measured(*needs: str, model: nn.Module | None = None, threat: Threat = THREAT, **sizes: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = model or network()
    arguments = {"num_classes": CLASSES, "threat": threat, "generator": generator, **sizes}
    return measure(needs, model, IMAGES, SPLIT.labels, **arguments)


def confusion(logits: Tensor) -> Tensor:
    counts = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for label, predicted in zip(SPLIT.labels, logits.argmax(dim=1), strict=True):
        counts[label, predicted] += 1
    return counts


@pytest.mark.parametrize(
    ("needs", "fields"),
    [
        ((), {"val.clean"}),
        (("train.robust", "val.pgd20"), {"val.clean", "val.pgd20"}),
        (("val.pgd10",), {"val.clean", "val.pgd10"}),
        (("val.kl",), {"val.clean", "val.trades10", "val.ce", "val.kl"}),
        (FIELDS, {name for name in FIELDS if name.startswith("val.")}),
    ],
)
def test_only_what_is_asked_for_is_measured_and_clean_counts_always(needs: tuple[str, ...], fields: set[str]) -> None:
    assert set(measured(*needs)) == fields


def test_the_network_is_measured_in_eval_mode_and_comes_back_as_it_was() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    counts = measured("val.pgd10", model=model)["val.clean"]
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(counts, confusion(model.eval()(IMAGES)))


def test_without_a_radius_every_attack_finds_the_clean_predictions_and_no_divergence() -> None:
    fields = measured(*FIELDS, threat=Threat(epsilon=0.0, step_size=0.03, num_steps=3))
    for name in ("val.pgd10", "val.pgd20", "val.trades10"):
        assert torch.equal(fields[name], fields["val.clean"])
    assert fields["val.kl"].abs().max() < 1e-9


def test_losses_are_class_means_of_the_clean_images() -> None:
    expected = F.cross_entropy(network().eval()(IMAGES), SPLIT.labels, reduction="none").double()
    by_class = [expected[label == SPLIT.labels].mean() for label in range(CLASSES)]
    torch.testing.assert_close(measured("val.ce")["val.ce"], torch.stack(by_class))


def test_the_attacks_do_harm_and_twenty_steps_no_less_than_ten() -> None:
    clean, ten, twenty = (int(measured(*FIELDS)[f"val.{name}"].trace()) for name in ("clean", "pgd10", "pgd20"))
    assert clean > ten >= twenty


def test_images_in_several_chunks_are_each_counted_once() -> None:
    whole, chunked = measured("val.pgd10"), measured("val.pgd10", batch_size=7)
    assert all(whole["val.clean"].sum(dim=0) > 0)
    assert torch.equal(chunked["val.clean"], whole["val.clean"])
    assert torch.equal(chunked["val.pgd10"].sum(dim=1), torch.tensor([10, 10, 10]))


def test_a_class_without_images_has_no_mean() -> None:
    means = class_means(torch.tensor([0, 0, 2]), torch.tensor([1.0, 2.0, 5.0]), 3)
    torch.testing.assert_close(means, torch.tensor([1.5, torch.nan, 5.0]), equal_nan=True)
