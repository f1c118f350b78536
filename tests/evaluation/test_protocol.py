import pytest
import torch
from fairat import paths
from fairat.errors import UserError
from fairat.evaluation import EVALUATIONS, evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.settings.evaluations import (
    AutoAttackEvaluation,
    CorruptionsEvaluation,
    PgdEvaluation,
    SquareEvaluation,
    StepsEvaluation,
)
from torch import Tensor, nn

from tests.evaluation.toys import EPSILON, tiny_model, tiny_set

PGD = PgdEvaluation(steps=(1,), step_size=0.02)


def set_of(labels: list[int], classes: int) -> EvaluationSet:
    """Images whose first pixel is their place in the set."""
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return EvaluationSet(images, torch.tensor(labels), tuple(map(str, range(classes))))


@pytest.mark.parametrize(
    ("labels", "count", "expected"),
    [
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], 6, [0, 1, 3, 4, 6, 7]),
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], 4, [0, 1, 3, 6]),
        ([2, 1, 0, 0, 1, 2], 3, [0, 1, 2]),
        ([0, 0, 0, 0, 0, 2], 4, [0, 1, 2, 5]),
        ([0, 1, 1], 9, [0, 1, 2]),
        ([1, 1, 0], None, [0, 1, 2]),
    ],
)
def test_a_part_takes_the_first_images_of_every_class(
    labels: list[int], count: int | None, expected: list[int]
) -> None:
    """Test sets that are sorted by class (every ImageFolder) would otherwise be attacked on one class only."""
    test = set_of(labels, 3)
    part, index = test.part(count)
    assert index.tolist() == expected
    assert part.images[:, 0, 0, 0].tolist() == expected
    assert part.labels.tolist() == [labels[place] for place in expected]
    assert part.class_names == test.class_names


def test_every_evaluation_has_a_module() -> None:
    protocols = {
        "pgd": PGD,
        "autoattack": AutoAttackEvaluation(images=12),
        "square": SquareEvaluation(),
        "steps": StepsEvaluation(),
    }
    workloads = {name: EVALUATIONS[name].workload(tiny_set(30), settings) for name, settings in protocols.items()}
    assert workloads == {"pgd": 30, "autoattack": 12, "square": 30, "steps": 30}
    assert set(paths.EVALUATIONS) == set(EVALUATIONS) == {*protocols, "corruptions"}


def test_images_of_another_shape_are_refused() -> None:
    test = set_of([0, 1, 2, 3, 4], 5)
    with pytest.raises(UserError) as caught:
        evaluate_model("pgd", tiny_model(), test, PGD, epsilon=EPSILON)
    text = str(caught.value)
    assert text.startswith("The model cannot classify images of 1 x 2 x 2 pixels (channel x height x width): ")
    assert text.endswith("Evaluate it on images like those it was trained with.")


def test_another_number_of_classes_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        evaluate_model("pgd", tiny_model(classes=3), tiny_set(20), PGD, epsilon=EPSILON)
    assert str(caught.value) == (
        "The model gives an output of shape (20, 3) for 20 images, but the data has 5 classes, so it should be (20, 5). "
        "Evaluate it on the data it was trained for."
    )


def test_logits_that_are_not_finite_are_refused() -> None:
    class Diverged(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits = torch.zeros(len(images), 5)
            logits[:3, 1] = torch.nan
            return logits

    with pytest.raises(UserError) as caught:
        evaluate_model("square", Diverged(), tiny_set(100), SquareEvaluation(), epsilon=EPSILON)
    assert str(caught.value) == (
        "The model's logits are not finite for 3 of the first 64 test images: its weights are damaged, or its training "
        "diverged. Train it again with a lower learning rate."
    )


@pytest.mark.parametrize("allowed", [0, 1])
def test_too_little_memory_is_answered_with_the_setting_that_helps(allowed: int) -> None:
    class Large(nn.Module):
        calls = 0

        def forward(self, images: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > allowed:
                raise torch.OutOfMemoryError
            return torch.zeros(len(images), 5)

    with pytest.raises(UserError) as caught:
        evaluate_model("pgd", Large(), tiny_set(), PGD, epsilon=EPSILON)
    assert str(caught.value) == (
        "The device's memory does not hold 512 images at once. Lower evaluation.pgd.batch_size of the suite."
    )


def test_without_a_corrupted_test_set_the_error_says_how_to_make_one() -> None:
    with pytest.raises(UserError) as caught:
        evaluate_model("corruptions", tiny_model(), tiny_set(), CorruptionsEvaluation(), epsilon=EPSILON)
    assert str(caught.value) == (
        "No corrupted test set was given. Give the directory of one, or make it from the test images with "
        "the stage `corrupt`."
    )
