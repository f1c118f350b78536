"""scikit-learn's digits: real images that ship with a package."""

import numpy as np
import torch

from fairat.data.canonical import Split
from fairat.data.splits import rank_in_class, share_of_classes
from fairat.errors import UserError


def read_digits(test_fraction: float) -> tuple[Split, Split]:
    """Training and test images, `1 8 8`; the last floor(test_fraction * n) of each class in file order are for testing.

    The package's values 0..16 become 0..255.

    Raises:
        UserError: the fraction leaves a class without test images.
    """
    from sklearn.datasets import load_digits

    values, classes = load_digits(return_X_y=True)
    images = torch.from_numpy(np.rint(values.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8))
    digits = Split(images, torch.from_numpy(classes.astype(np.int64)), tuple("0123456789"))
    counts = torch.bincount(digits.labels)
    shares = share_of_classes(counts, test_fraction)
    if (shares == 0).any():
        raise UserError(
            f"A test fraction of {test_fraction:g} leaves a class of {counts.min()} digits none to test with. Set "
            "`test_fraction` to 0.01 or more, such as 0.2."
        )
    is_test = rank_in_class(digits.labels) >= (counts - shares)[digits.labels]
    return digits[~is_test], digits[is_test]
