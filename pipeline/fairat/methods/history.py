"""The class history: what the class-wise policies may remember, one record per epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

FIELDS = (
    "train.robust", "train.clean", "train.soft",
    "val.clean", "val.pgd10", "val.pgd20", "val.trades10", "val.ce", "val.kl",
)  # fmt: skip
"""Every field a part may declare. Confusion counts are int64 `true predicted`; soft, ce and kl are float64 class means."""


@dataclass(frozen=True)
class EpochRecord:
    """What was measured during one epoch; `epoch` is -1 for the record taken before training. Tensors are on the CPU."""

    epoch: int
    fields: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = set(self.fields) - set(FIELDS)
        assert not unknown, f"not a field of the class history: {sorted(unknown)}"

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]


@dataclass(frozen=True)
class ClassHistory:
    """The records of all finished epochs, oldest first. Every policy is a pure function of it, so resuming is exact."""

    num_classes: int
    records: tuple[EpochRecord, ...] = ()

    @property
    def epoch(self) -> int:
        """The epoch that begins next, counted from 0."""
        return max(self.records[-1].epoch + 1, 0) if self.records else 0

    def extended(self, record: EpochRecord) -> "ClassHistory":
        return ClassHistory(self.num_classes, (*self.records, record))

    def all(self, name: str) -> list[Tensor]:
        """The field in the record of every finished epoch, oldest first.

        The record taken before training is left out: with e = 0 every policy but FRL's is neutral.

        Raises:
            LookupError: an epoch has no such field, because no part declares it.
        """
        finished = [record for record in self.records if record.epoch >= 0]
        if not all(name in record.fields for record in finished):
            raise LookupError(
                f"the class history has no {name}: a part that reads it must name it in `needs`; "
                f"the fields there can be are {', '.join(FIELDS)}"
            )
        return [record[name] for record in finished]

    def at(self, epoch: int) -> EpochRecord | None:
        """The record of one epoch, if it is there."""
        return next((record for record in self.records if record.epoch == epoch), None)

    def class_accuracy(self, name: str) -> Float[Tensor, " class"]:
        """Recall of each class in the latest record; a class without images keeps its last defined value, else nan."""
        accuracy = torch.full((self.num_classes,), torch.nan, dtype=torch.float64)
        for confusion in self.all(name):
            count = confusion.sum(dim=1)
            accuracy = torch.where(count > 0, confusion.diagonal() / count.to(torch.float64), accuracy)
        return accuracy

    def false_positive_scores(self, name: str) -> Float[Tensor, " class"] | None:
        """CFPS (FAIR-TAT eq. 8) of the latest record that has an error; None before any error."""
        for confusion in reversed(self.all(name)):
            wrong = confusion.sum(dim=0) - confusion.diagonal()
            if wrong.sum() > 0:
                return wrong.to(torch.float64) / wrong.sum()
        return None

    def to_tensors(self) -> dict[str, Tensor]:
        """Every field as one tensor, `<epoch>/<field>`: the form in which a checkpoint stores the history."""
        return {f"{record.epoch}/{name}": value for record in self.records for name, value in record.fields.items()}

    @classmethod
    def from_tensors(cls, num_classes: int, tensors: Mapping[str, Tensor]) -> "ClassHistory":
        """The inverse of `to_tensors`."""
        by_epoch: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            epoch, name = key.split("/", 1)
            by_epoch.setdefault(int(epoch), {})[name] = value
        return cls(num_classes, tuple(EpochRecord(epoch, by_epoch[epoch]) for epoch in sorted(by_epoch)))
