"""Drawing wrong classes for targeted attacks."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def conditional_on_wrong(probabilities: Float[Tensor, " class"]) -> Float[Tensor, "class class"]:
    """Row y: the distribution given that y is not drawn; uniform over the others where y has all the mass."""
    number = len(probabilities)
    assert number > 1, "with one class there is no wrong one to aim at; data preparation refuses such data"
    off_diagonal = 1 - torch.eye(number, dtype=probabilities.dtype)
    rows = probabilities.expand(number, number) * off_diagonal
    rows = torch.where(rows.sum(dim=1, keepdim=True) > 0, rows, off_diagonal)
    return rows / rows.sum(dim=1, keepdim=True)


def draw(
    table: Float[Tensor, "class class"], labels: Int[Tensor, " batch"], generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """Draws one class per image from the rows of `table` by inverting the cumulative distribution; no host sync."""
    cumulative = table.cumsum(dim=1)
    # Divided by its own last entry, so that the last class of positive mass ends at exactly 1 and nothing lies beyond it.
    cumulative = (cumulative / cumulative[:, -1:])[labels]
    uniform = torch.rand((len(labels), 1), generator=generator, device=table.device, dtype=table.dtype)
    return torch.searchsorted(cumulative, uniform, right=True).squeeze(1)
