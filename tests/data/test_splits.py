"""Which image goes where: a rule on file order, the same on every machine."""

from fractions import Fraction

import pytest
import torch
from fairat.data.canonical import Split
from fairat.data.digits import read_digits
from fairat.data.splits import (
    first_of_each_class,
    rank_in_class,
    require_every_class,
    share_of_classes,
    split_validation,
)
from fairat.errors import UserError
from fairat.settings.data import Data, Digits
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError


def numbered(labels: torch.Tensor, classes: int) -> Split:
    """Images of four pixels which together hold the image's number."""
    numbers = torch.arange(len(labels))
    digits = [numbers // 256**power % 256 for power in range(4)]
    images = torch.stack(digits, 1).to(torch.uint8).view(-1, 4, 1, 1)
    return Split(images, labels, tuple(f"class {number}" for number in range(classes)))


def numbers(split: Split) -> torch.Tensor:
    return (split.images.flatten(1).long() * 256 ** torch.arange(4)).sum(1)


def test_a_rank_counts_the_images_of_the_class_before() -> None:
    labels = torch.tensor([2, 0, 2, 2, 0, 1])
    assert rank_in_class(labels).tolist() == [0, 0, 1, 2, 1, 0]


@settings(deadline=None)
@given(count=st.integers(0, 10**7), thousandths=st.integers(1, 999))
def test_a_share_is_the_floor_of_the_decimal_fraction(count: int, thousandths: int) -> None:
    share = share_of_classes(torch.tensor([count]), thousandths / 1000)
    assert share.item() == count * Fraction(thousandths, 1000) // 1


@pytest.mark.parametrize(("fraction", "count"), [(0.009, 3000), (0.29, 100), (0.02, 5000), (0.047, 5000)])
def test_a_share_is_not_one_less_where_a_float_falls_short(fraction: float, count: int) -> None:
    """In single precision 0.009 of 3,000 would be 26."""
    assert share_of_classes(torch.tensor([count]), fraction).item() == round(fraction * count)


@pytest.mark.parametrize(("classes", "kept"), [(10, 4900), (100, 490)])
def test_cifar_gives_its_first_fiftieth_to_validation(classes: int, kept: int) -> None:
    """AF-31: 1,000 for validation; 49,000 for training, 383 batches of 128, the last of 104; no image in both."""
    labels = (torch.arange(50_000) % classes)[torch.randperm(50_000, generator=torch.Generator().manual_seed(0))]
    train, validation = split_validation(numbered(labels, classes), 0.02)
    assert (len(train), len(validation)) == (49_000, 1_000)
    assert set(train.counts.values()) == {kept}
    assert (-(-len(train) // 128), len(train) % 128) == (383, 104)
    assert torch.equal(torch.cat([numbers(train), numbers(validation)]).sort().values, torch.arange(50_000))


@settings(deadline=None, max_examples=30)
@given(
    labels=st.lists(st.integers(0, 3), min_size=40, max_size=120).map(lambda some: some + [0, 1, 2, 3] * 5),
    fraction=st.sampled_from([0.2, 0.25, 0.5, 0.9]),
)
def test_validation_images_stand_before_all_training_images_of_their_class(labels: list[int], fraction: float) -> None:
    everything = numbered(torch.tensor(labels), 4)
    train, validation = split_validation(everything, fraction)
    for split in (train, validation):
        assert (numbers(split).diff() > 0).all()  # file order
        assert torch.equal(split.labels, everything.labels[numbers(split)])
    for number in range(4):
        of_class = everything.labels == number
        share = int(int(of_class.sum()) * Fraction(str(fraction)))
        assert numbers(validation)[validation.labels == number].tolist() == of_class.nonzero()[:share, 0].tolist()
        assert numbers(train)[train.labels == number].tolist() == of_class.nonzero()[share:, 0].tolist()


def test_a_class_too_small_to_validate_is_named_with_a_fraction_that_would_do() -> None:
    split = numbered(torch.tensor([0] * 100 + [1] * 30), 2)
    with pytest.raises(
        UserError, match=r"Class 'class 1' has 30 training images: .* 0\.02 gives it none .* to 0\.034 or more"
    ):
        split_validation(split, 0.02)
    _, validation = split_validation(split, 0.034)
    assert validation.counts == {"class 0": 3, "class 1": 1}


@pytest.mark.parametrize(("labels", "images"), [([0, 0, 0, 0, 1], 1), ([0, 0, 0, 0], 0)])
def test_a_class_that_cannot_be_split_needs_images(labels: list[int], images: int) -> None:
    with pytest.raises(
        UserError, match=rf"'class 1' has {images} training images: .*Add images to the class: it needs at"
    ):
        split_validation(numbered(torch.tensor(labels), 2), 0.5)


@pytest.mark.parametrize(("fraction", "words"), [(0, "greater than 0"), (-0.1, "greater than 0"), (1, "less than 1")])
def test_a_fraction_outside_of_zero_and_one_is_refused(fraction: float, words: str) -> None:
    with pytest.raises(ValidationError, match=rf"validation_fraction\n.*should be {words}"):
        Data(source=Digits(), validation_fraction=fraction)


def test_digits_are_the_package_s_own_in_file_order_with_the_last_fifth_for_testing() -> None:
    from sklearn.datasets import load_digits

    values, classes = load_digits(return_X_y=True)
    train, test = read_digits(0.2)
    assert len(train) + len(test) == 1797
    for number in range(10):
        originals = torch.from_numpy(values[classes == number]).view(-1, 1, 8, 8)
        images = torch.cat([train.images[train.labels == number], test.images[test.labels == number]])
        assert torch.equal((images.double() * 16 / 255).round(), originals)
        assert test.counts[str(number)] == len(originals) // 5
    assert (train.images.min(), train.images.max()) == (0, 255)


def test_digits_without_test_images_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"test fraction of 0\.001 leaves a class of 174 digits none .*Set `test_fraction` to"
    ):
        read_digits(0.001)
    assert all(count > 0 for count in read_digits(0.01)[1].counts.values())


def test_the_first_images_of_each_class_are_taken_in_file_order() -> None:
    labels = torch.tensor([1, 0, 1, 1, 0, 2])
    split = Split(torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), labels, ("a", "b", "c"))
    part = first_of_each_class(split, 2)
    assert part.images.flatten().tolist() == [0, 1, 2, 4, 5]
    assert part.labels.tolist() == [1, 0, 1, 0, 2]
    assert first_of_each_class(split, None) is split


def test_a_fraction_just_below_one_leaves_a_class_nothing_to_train_with() -> None:
    with pytest.raises(UserError) as caught:
        split_validation(numbered(torch.tensor([0, 0, 1, 1]), 2), 1 - 1e-10)
    assert str(caught.value) == (
        "A validation fraction of 1 leaves class 'class 0' no image to train with. Set `validation_fraction` to a share such "
        "as 0.02."
    )


@pytest.mark.parametrize(
    ("labels", "classes", "text"),
    [
        ([0, 0, 2], 3, "There are no test images of 'class 1'; every class needs some to train, to validate and to test with. Add images, or leave the class out with `without_classes`."),
        ([1, 1], 3, "There are no test images of 'class 0', 'class 2'; every class needs some to train, to validate and to test with. Add images, or leave the class out with `without_classes`."),
        ([0, 0], 1, "The test images have one class only, 'class 0'; at least two are needed. Add images of other classes."),
        ([], 0, "The test images have no class; at least two are needed. Add images of other classes."),
    ],
    ids=["one class empty", "two classes empty", "one class", "nothing"],
)  # fmt: skip
def test_a_split_in_which_a_class_is_missing_is_refused(labels: list[int], classes: int, text: str) -> None:
    whole = numbered(torch.tensor([0, 1, 2]), 3)
    require_every_class({"train": whole})
    with pytest.raises(UserError) as caught:
        require_every_class({"train": whole, "test": numbered(torch.tensor(labels, dtype=torch.long), classes)})
    assert str(caught.value) == text
