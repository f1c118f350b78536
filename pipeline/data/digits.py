"""scikit-learn's digits: real images that ship with a package."""

import numpy as np
import torch

from pipeline.data.canonical import Split
from pipeline.data.splits import rank_in_class, share_of_classes


def read_digits(test_fraction: float) -> tuple[Split, Split]:
    """Training and test images, `1 8 8`; the last floor(test_fraction * n) of each class in file order are for testing.

    The package's values 0..16 become 0..255.
    """
    from sklearn.datasets import load_digits

    digits, classes = load_digits(return_X_y=True)
    pixels = np.rint(digits.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(classes.astype(np.int64))
    class_names = tuple("0123456789")
    training = torch.bincount(labels) - share_of_classes(labels, test_fraction)
    test = rank_in_class(labels) >= training[labels]
    return Split(images[~test], labels[~test], class_names), Split(images[test], labels[test], class_names)
