"""Random streams: one generator per purpose and epoch, so that changing one part does not reshuffle the others."""

import hashlib

import torch


def stream(seed: int, purpose: str, epoch: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on nothing but its arguments: a resumed run needs no stored random state."""
    generator = torch.Generator(device=device)
    generator.manual_seed(derived(seed, purpose, epoch))
    return generator


def derived(seed: int, purpose: str, epoch: int = 0) -> int:
    """A 63-bit seed from a run's seed, a purpose and an epoch."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
