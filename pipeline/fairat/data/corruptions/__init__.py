"""The corruptions of CIFAR-10-C, made from any test set where no official corrupted set exists (docs/corruptions.md)."""

from fairat.data.corruptions.constants import CORRUPTIONS, PAPER_CORRUPTIONS
from fairat.data.corruptions.making import corrupt, corrupt_test_set

__all__ = ["CORRUPTIONS", "PAPER_CORRUPTIONS", "corrupt", "corrupt_test_set"]
