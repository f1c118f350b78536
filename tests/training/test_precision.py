"""bfloat16 in the attack, and nowhere else; TF32 where it may be."""

import pytest
import torch
from fairat.settings.base import merged
from fairat.settings.recipe import Recipe
from fairat.training.precision import BFloat16Forward, attacked, multiplying
from torch import Tensor, nn

from tests.training.toys import tiny_images, tiny_network, tiny_settings, trained

IMAGES = tiny_images(40, 1).images / 255


class Spy(nn.Module):
    """Notes the type and the mode in which it multiplies, and whether for an attack: only there parameters are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(36, 3)
        self.seen: list[tuple[bool, torch.dtype]] = []

    def forward(self, images: Tensor) -> Tensor:
        logits = self.layer(images.flatten(1))
        self.seen.append((self.layer.weight.requires_grad, logits.dtype))
        return logits


@pytest.mark.parametrize("objective", ["at", "trades", "fat", "bat", "gairat"])
def test_only_passes_of_the_attack_are_in_bfloat16(objective, monkeypatch):
    network = Spy()
    monkeypatch.setattr("tests.training.toys.tiny_network", lambda: network)
    trained(tiny_settings({"objective": objective}, epochs=1, precision="bfloat16"), epochs=1)
    assert {dtype for updating, dtype in network.seen if updating} == {torch.float32}
    assert torch.bfloat16 in {dtype for updating, dtype in network.seen if not updating}
    assert network.layer.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", ["tf32", "float32"])
def test_without_bfloat16_the_attack_sees_the_network_itself(precision):
    model = tiny_network()
    assert attacked(model, precision) is model


def test_logits_are_near_those_in_float32_and_so_are_gradients_of_the_images():
    model = tiny_network().eval()
    images = IMAGES.clone().requires_grad_()
    exact, near = model(images), BFloat16Forward(model)(images)
    assert near.dtype == torch.float32
    assert not torch.equal(exact, near)
    torch.testing.assert_close(near, exact, rtol=0.05, atol=0.05)
    one, other = (torch.autograd.grad(logits.square().sum(), images)[0] for logits in (exact, near))
    assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


def test_mode_and_running_statistics_are_those_of_the_network():
    model = tiny_network().train()
    norm = model.get_submodule("1")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    seen = attacked(model, "bfloat16")
    assert seen.training
    seen(IMAGES)
    assert norm.running_mean.dtype == torch.float32
    assert not torch.equal(norm.running_mean, before)
    seen.eval()
    assert not model.training


def test_tf32_is_forbidden_only_where_float32_is_asked_for_and_comes_back():
    def allowed():
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = allowed()
    with multiplying("float32"):
        assert allowed() == (False, False)
    assert allowed() == before
    for precision in ("tf32", "bfloat16"):
        with multiplying(precision):
            assert allowed() == before
    with pytest.raises(KeyError), multiplying("float32"):
        raise KeyError
    assert allowed() == before


def test_a_training_in_bfloat16_learns_and_resumes_to_the_same_weights():
    settings = tiny_settings({"objective": "at"}, epochs=4, precision="bfloat16")
    whole = trained(settings)
    again = trained(settings, state=trained(settings, epochs=2))
    assert all(
        torch.equal(one, other) for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True)
    )
    assert whole.reports[-1]["train_loss"] < whole.reports[0]["train_loss"]
    exact = trained(tiny_settings({"objective": "at"}, epochs=4))
    assert whole.reports[-1]["train_loss"] == pytest.approx(exact.reports[-1]["train_loss"], rel=0.05)


def test_a_method_may_have_another_precision_than_its_suite_and_there_are_three():
    assert merged(Recipe(), {"precision": "bfloat16"}).precision == "bfloat16"
    with pytest.raises(ValueError, match="'float32', 'tf32' or 'bfloat16'"):
        Recipe.model_validate({"precision": "half"})
