"""The one PGD loop against closed forms (AF-01 to AF-08)."""

import pytest
import torch
from fairat.attacks.pgd import Start, attacking, initial_perturbation, pgd
from fairat.methods.losses import cross_entropy
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.toys import UNIT, IdentityModel, pixels


class TwoClasses(nn.Module):
    """The linear model of AF-01."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.weight = torch.tensor([[1, -1, 0.5, 0], [-1, 2, 0, 0.25]], dtype=dtype)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T


def run(
    model: nn.Module,
    images: Tensor,
    labels: list[int],
    *,
    towards: int | None = None,
    radius: float | list[float] = 8,
    start: Tensor | None = None,
    num_steps: int = 10,
) -> Tensor:
    """The perturbation after PGD with step 2/255, in units of 1/255."""
    count = len(images)
    epsilon = torch.tensor(radius if isinstance(radius, list) else [radius] * count, dtype=images.dtype) * UNIT
    classes = torch.tensor(labels)
    aim = classes if towards is None else torch.full_like(classes, towards)
    adversarial = pgd(
        model,
        images,
        loss=lambda logits: cross_entropy(logits, aim),
        epsilon=epsilon,
        step_size=torch.full_like(epsilon, 2 * UNIT),
        num_steps=num_steps,
        start=torch.zeros_like(images) if start is None else start,
        direction=1 if towards is None else -1,
    )
    return (adversarial - images).flatten(1) / UNIT


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-7)])
def test_a_linear_model_is_pushed_to_the_corner_from_any_start(dtype: torch.dtype, tolerance: float) -> None:
    """AF-01."""
    images = torch.full((5, 4, 1, 1), 0.5, dtype=dtype)
    epsilon = torch.full((5,), 8 * UNIT, dtype=dtype)
    start = initial_perturbation("uniform", images, epsilon, torch.Generator().manual_seed(0))
    delta = run(TwoClasses(dtype), images, [0] * 5, start=start) * UNIT
    corner = torch.tensor([[-8, 8, -8, 8]] * 5, dtype=dtype) * UNIT
    torch.testing.assert_close(delta, corner, atol=tolerance, rtol=0)


def test_the_loss_and_margin_at_the_corner_are_the_closed_form() -> None:
    """AF-02."""
    model, image, label = TwoClasses(), pixels(0.5, 0.5, 0.5, 0.5), torch.tensor([0])
    attacked = image + (run(model, image, [0]) * UNIT).view_as(image)
    assert cross_entropy(model(image), label).item() == pytest.approx(0.8981232641, abs=1e-9)
    assert cross_entropy(model(attacked), label).item() == pytest.approx(1.0089152113, abs=1e-9)
    logits = model(attacked)[0]
    assert (logits[0] - logits[1]).item() == pytest.approx(-0.5553921569, abs=1e-9)


def test_with_two_classes_descent_to_the_other_class_is_ascent_from_the_own() -> None:
    """AF-03."""
    image = pixels(0.5, 0.5, 0.5, 0.5)
    torch.testing.assert_close(run(TwoClasses(), image, [0], towards=1), run(TwoClasses(), image, [0]))


@pytest.mark.parametrize(
    ("towards", "corner", "loss"),
    [(None, (-8, 8, 8), 0.6639428236), (2, (-8, -8, 8), 0.4832526607), (1, (-8, 8, -8), 0.6012024696)],
)
def test_targeted_attacks_end_in_their_own_corners_and_are_weaker(
    towards: int | None, corner: tuple[int, ...], loss: float
) -> None:
    """AF-04."""
    model, image, label = IdentityModel(), pixels(0.5, 0.4, 0.3), torch.tensor([0])
    assert cross_entropy(model(image), label).item() == pytest.approx(0.4076059645, abs=1e-9)
    delta = run(model, image, [0], towards=towards)
    torch.testing.assert_close(delta, torch.tensor([corner], dtype=torch.float64), atol=1e-6, rtol=0)
    attacked = image + (delta * UNIT).view_as(image)
    assert cross_entropy(model(attacked), label).item() == pytest.approx(loss, abs=1e-9)
    if towards == 2:
        assert cross_entropy(model(attacked), torch.tensor([2])).item() == pytest.approx(1.8558016802, abs=1e-9)


@pytest.mark.parametrize(
    ("radius", "reached"),
    [(4, (-4, 4, 4)), (8, (-8, 8, 8)), (10, (-10, 10, 10)), (11.2, (-8.8, 8.8, 8.8)), (12, (-8, 8, 8))],
)
def test_ten_steps_cross_balls_up_to_radius_ten(radius: float, reached: tuple[float, ...]) -> None:
    """AF-05."""
    image = pixels(0.5, 0.4, 0.3)
    wrong_corner = pixels(radius, -radius, -radius) * UNIT
    delta = run(IdentityModel(), image, [0], radius=radius, start=wrong_corner)
    torch.testing.assert_close(delta, torch.tensor([reached], dtype=torch.float64), atol=1e-6, rtol=0)


def test_images_stay_in_the_box() -> None:
    """AF-06."""
    image = pixels(0.01, 0.99, 0.5)
    attacked = image.flatten(1) + run(IdentityModel(), image, [0]) * UNIT
    expected = torch.tensor([[0, 1, 0.5313725490]], dtype=torch.float64)
    torch.testing.assert_close(attacked, expected, atol=1e-9, rtol=0)


def test_every_image_has_its_own_radius() -> None:
    """AF-07."""
    images = pixels(0.5, 0.4, 0.3).repeat(2, 1, 1, 1)
    delta = run(IdentityModel(), images, [0, 0], radius=[4, 12])
    expected = torch.tensor([[-4, 4, 4], [-12, 12, 12]], dtype=torch.float64)
    torch.testing.assert_close(delta, expected, atol=1e-6, rtol=0)


def test_a_step_beyond_radius_and_box_is_projected_on_their_intersection() -> None:
    """AF-08: -0.05 at x = 0.02 with radius 0.03 becomes -0.02."""
    image = pixels(0.02, 0.5, 0.5)
    delta = run(IdentityModel(), image, [0], radius=0.03 / UNIT, start=pixels(-0.05, 0, 0), num_steps=1) * UNIT
    assert delta[0, 0].item() == pytest.approx(-0.02, abs=1e-12)


def test_a_step_from_outside_ends_in_the_ball_and_the_box() -> None:
    """AF-08."""
    delta = run(
        IdentityModel(), pixels(0.02, 0.5, 0.5), [0], radius=0.03 / UNIT, start=pixels(-0.05, 0.1, 0), num_steps=1
    )
    torch.testing.assert_close(delta[0, :2] * UNIT, torch.tensor([-0.02, 0.03], dtype=torch.float64))


@pytest.mark.parametrize(
    ("kind", "inside"), [("uniform", True), ("boxed_gauss", True), ("gauss", False), ("zero", True)]
)
def test_every_start_but_gauss_is_projected_on_the_box(kind: Start, inside: bool) -> None:
    images = torch.tensor([0.0, 1.0]).repeat_interleave(200).view(2, 2, 10, 10)
    start = images + initial_perturbation(kind, images, torch.full((2,), 0.1), torch.Generator().manual_seed(0))
    assert (start.min() >= 0 and start.max() <= 1) == inside
    if "gauss" in kind:
        assert (start - images).abs().max() > 1e-3, "the radius does not bound gauss noise"


def test_the_first_forward_sees_the_start_as_it_is() -> None:
    seen: list[Tensor] = []
    image = pixels(0.0, 0.5, 0.5)
    pgd(
        IdentityModel(),
        image,
        loss=lambda logits: logits[:, 0],
        epsilon=torch.full((1,), 0.1, dtype=torch.float64),
        step_size=torch.full((1,), 0.05, dtype=torch.float64),
        num_steps=1,
        start=pixels(-0.002, 0, 0),
        observer=lambda number, iterate, predictions: seen.append(iterate),
    )
    assert seen[0].flatten().tolist() == [-0.002, 0.5, 0.5]


@settings(max_examples=30, deadline=None)
@given(
    radii=st.lists(st.floats(0, 0.5), min_size=4, max_size=4),
    kind=st.sampled_from(["uniform", "gauss", "boxed_gauss", "zero"]),
    seed=st.integers(0, 2**31),
)
def test_the_result_lies_in_the_ball_and_the_box(radii: list[float], kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(4, 3, 2, 2, generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    epsilon = torch.tensor(radii)
    adversarial = pgd(
        model,
        images,
        loss=lambda logits: logits[:, 0],
        epsilon=epsilon,
        step_size=epsilon / 2,
        num_steps=3,
        start=initial_perturbation(kind, images, epsilon, generator),  # pyright: ignore[reportArgumentType]
    )
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    assert ((adversarial - images).abs().amax(dim=(1, 2, 3)) <= epsilon + 1e-6).all()


def test_the_observer_sees_every_iterate_before_its_step() -> None:
    seen: list[tuple[int, bool]] = []
    image = pixels(0.5, 0.46, 0.3)
    pgd(
        IdentityModel(),
        image,
        loss=lambda logits: cross_entropy(logits, torch.tensor([0])),
        epsilon=torch.full((1,), 8 * UNIT, dtype=torch.float64),
        step_size=torch.full((1,), 2 * UNIT, dtype=torch.float64),
        num_steps=6,
        start=torch.zeros_like(image),
        observer=lambda number, _, predictions: seen.append((number, int(predictions[0]) == 0)),
    )
    # The gap of 0.04 = 10.2/255 closes by 4/255 a step: correct at 0, 4 and 8, wrong from 12/255 on.
    assert seen == [(0, True), (1, True), (2, True), (3, False), (4, False), (5, False)]


def test_images_that_stop_keep_their_place() -> None:
    images = pixels(0.5, 0.4, 0.3).repeat(2, 1, 1, 1)
    epsilon = torch.full((2,), 8 * UNIT, dtype=torch.float64)
    adversarial = pgd(
        IdentityModel(),
        images,
        loss=lambda logits: cross_entropy(logits, torch.tensor([0, 0])),
        epsilon=epsilon,
        step_size=epsilon / 4,
        num_steps=10,
        start=torch.zeros_like(images),
        stopping=lambda predictions: torch.tensor([True, False]),
    )
    torch.testing.assert_close(adversarial[1], images[1])
    assert not torch.equal(adversarial[0], images[0])


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_batch_norm_statistics_move_only_in_train_mode_and_everything_comes_back(mode: str) -> None:
    norm = nn.BatchNorm2d(3)
    model = nn.Sequential(norm, nn.Flatten(), nn.Linear(12, 2))
    before = norm.state_dict()["running_mean"].clone()
    with attacking(model, mode):  # pyright: ignore[reportArgumentType]
        assert model.training == (mode == "train")
        assert not any(parameter.requires_grad for parameter in model.parameters())
        model(torch.rand(4, 3, 2, 2))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(before, norm.state_dict()["running_mean"]) == (mode == "eval")


def test_an_attack_leaves_no_weight_gradient() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    image = torch.rand(2, 3, 1, 1)
    with attacking(model, "eval"):
        run(model, image, [0, 1])
    assert all(parameter.grad is None for parameter in model.parameters())
