"""Per-image losses that several methods share."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Logits = Float[Tensor, "batch class"]


def cross_entropy(logits: Logits, labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """CE(x, y) = -log p_y(x), one value per image."""
    return F.cross_entropy(logits, labels, reduction="none")


def divergence(logits: Logits, other: Logits) -> Float[Tensor, " batch"]:
    """KL(p || q) = sum_k p_k (log p_k - log q_k) with p of `logits` and q of `other`; gradients flow through both."""
    log_p, log_q = F.log_softmax(logits, dim=1), F.log_softmax(other, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)
