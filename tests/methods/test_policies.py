"""What holds for every target sampler, margin and class weighting of `KINDS`."""

from typing import Any

import pytest
import torch
from fairat.methods import KINDS, build_part
from fairat.methods.history import ClassHistory, EpochRecord
from fairat.methods.trades import Trades
from fairat.results import metrics
from torch import Tensor

CLASSES = 5
NEUTRAL = ("untargeted", "constant", "none")
ACTING: dict[str, dict[str, Any]] = {
    "robust_accuracy": {"begin_epoch": 1},
    "ccr": {"begin_epoch": 1},
    "distance": {"begin_epoch": 2, "lam": 0.4},
    "frl_remargin": {"tau1": 0.0},
    "frl_reweight": {"tau0": 0.0, "tau1": 0.0},
}
"""Settings under which a part acts on a history of three epochs, where its defaults would not."""
PARTS = [(slot, kind) for slot, kinds in KINDS.items() if slot != "objective" for kind in kinds if kind not in NEUTRAL]


def counts(generator: torch.Generator, right: float) -> Tensor:
    """Predictions of 60 images of every class, each right with that probability."""
    labels = torch.arange(CLASSES).repeat_interleave(60)
    guessed = torch.randint(0, CLASSES, labels.shape, generator=generator)
    predictions = torch.where(torch.rand(labels.shape, generator=generator) < right, labels, guessed)
    return torch.from_numpy(metrics.confusion(labels.numpy(), predictions.numpy(), CLASSES))


def history(epochs: int = 3, seed: int = 0) -> ClassHistory:
    """Every field of every record, the one before training included."""
    generator = torch.Generator().manual_seed(seed)
    records = []
    for epoch in range(-1, epochs):
        fields = {
            f"val.{name}": counts(generator, right) for name, right in (("clean", 0.7), ("pgd10", 0.4), ("pgd20", 0.3))
        }
        fields |= {
            f"val.{name}": torch.rand(CLASSES, generator=generator, dtype=torch.float64) for name in ("ce", "kl")
        }
        if epoch >= 0:
            fields["train.robust"] = counts(generator, 0.5)
            noise = torch.rand((CLASSES, CLASSES), generator=generator, dtype=torch.float64)
            fields["train.soft"] = (noise + torch.eye(CLASSES)).softmax(dim=1)
        records.append(EpochRecord(epoch, fields))
    return ClassHistory(CLASSES, tuple(records))


def permuted(values: Tensor, order: Tensor) -> Tensor:
    """Class `order[k]` becomes class k, on every axis."""
    return values[order][:, order] if values.ndim == 2 else values[order]


def renamed(past: ClassHistory, order: Tensor) -> ClassHistory:
    records = [
        EpochRecord(record.epoch, {name: permuted(value, order) for name, value in record.fields.items()})
        for record in past.records
    ]
    return ClassHistory(past.num_classes, tuple(records))


def decisions(slot: str, kind: str, past: ClassHistory) -> list[Tensor]:
    """Everything a part decides, by class."""
    part = build_part(slot, {"kind": kind, **ACTING.get(kind, {})})
    if slot == "targets":
        return [part.table(past)]
    if slot == "margin":
        return [part.factors(past)]
    coefficients = part.coefficients(past, Trades(beta=3, normalize=False))
    return [coefficients.clean, coefficients.robust]


@pytest.mark.parametrize(("slot", "kind"), PARTS)
def test_renaming_the_classes_renames_the_decisions(slot: str, kind: str) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    for before, after in zip(
        decisions(slot, kind, history()), decisions(slot, kind, renamed(history(), order)), strict=True
    ):
        torch.testing.assert_close(after, permuted(before, order))


@pytest.mark.parametrize(("slot", "kind"), [part for part in PARTS if part[1] != "uniform"])
def test_the_decisions_depend_on_the_history(slot: str, kind: str) -> None:
    """Without this the test above could not fail."""
    one, other = decisions(slot, kind, history(seed=0)), decisions(slot, kind, history(seed=1))
    assert not all(torch.equal(first, second) for first, second in zip(one, other, strict=True))


@pytest.mark.parametrize(("slot", "kind"), PARTS)
def test_a_part_needs_no_other_field_than_it_declares(slot: str, kind: str) -> None:
    """With only the declared fields it decides the same, bit for bit, and from stored records too."""
    part = build_part(slot, {"kind": kind, **ACTING.get(kind, {})})
    bare = ClassHistory(
        CLASSES,
        tuple(
            EpochRecord(record.epoch, {name: value for name, value in record.fields.items() if name in part.needs})
            for record in history().records
            if record.epoch >= 0 or part.needs_start_record
        ),
    )
    for past in (bare, ClassHistory.from_tensors(CLASSES, history().to_tensors())):
        for whole, again in zip(decisions(slot, kind, history()), decisions(slot, kind, past), strict=True):
            assert torch.equal(whole, again)


@pytest.mark.parametrize(("slot", "kind"), [part for part in PARTS if not part[1].startswith("frl")])
@pytest.mark.parametrize(
    "past", [ClassHistory(CLASSES), history(epochs=0)], ids=["no record", "a record before training"]
)
def test_in_the_first_epoch_all_classes_are_equal(slot: str, kind: str, past: ClassHistory) -> None:
    """AF-38: also in company of a part, FRL's, for which the starting model was measured."""
    part = build_part(slot, kind)
    if slot == "targets":
        off_diagonal = (1 - torch.eye(CLASSES, dtype=torch.float64)) / (CLASSES - 1)
        torch.testing.assert_close(part.table(past), off_diagonal)
    elif slot == "margin":
        assert torch.equal(part.factors(past), torch.ones(CLASSES, dtype=torch.float64))
    else:
        coefficients = part.coefficients(past, Trades(beta=3, normalize=False))
        # WAT's weights are all 1, so every class has its own and the average's; CCR normalizes.
        clean, robust = {"no_regret": (2.0, 6.0), "ccr": (0.25, 0.75)}.get(kind, (1.0, 3.0))
        assert coefficients.clean.tolist() == pytest.approx([clean] * CLASSES)
        assert coefficients.robust.tolist() == pytest.approx([robust] * CLASSES)


@pytest.mark.parametrize(("slot", "kind"), PARTS)
def test_all_decisions_are_finite_and_none_is_negative(slot: str, kind: str) -> None:
    for values in decisions(slot, kind, history()):
        assert values.isfinite().all()
        assert (values >= 0).all()


def test_scores_of_the_validation_set_begin_after_the_first_epoch_too() -> None:
    """AF-38: at e = 0 targets are uniform, whatever was measured before training."""
    part = build_part("targets", {"kind": "cfps", "statistics": "validation"})
    uniform = build_part("targets", "uniform")
    torch.testing.assert_close(part.table(history(epochs=0)), uniform.table(history(epochs=0)))
    assert not torch.allclose(part.table(history(epochs=1)), uniform.table(history(epochs=1)))
