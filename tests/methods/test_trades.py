"""TRADES' losses (AF-15, AF-16)."""

import pytest
import torch
from fairat.methods.history import ClassHistory
from fairat.methods.losses import cross_entropy, divergence
from fairat.methods.parts import EqualWeights, Terms
from fairat.methods.trades import Trades

CLEAN = torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64)
ATTACKED = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
LABEL = torch.tensor([0])


def test_cross_entropy_and_divergence_are_the_closed_forms() -> None:
    """AF-15."""
    assert cross_entropy(CLEAN, LABEL).item() == pytest.approx(0.1698460196, abs=1e-9)
    assert divergence(CLEAN, ATTACKED).item() == pytest.approx(0.3797382535, abs=1e-9)
    assert divergence(ATTACKED, CLEAN).item() == pytest.approx(0.4632136190, abs=1e-9)


def test_the_gradient_of_the_divergence_flows_through_both_predictions() -> None:
    """AF-15."""
    clean, attacked = CLEAN.clone().requires_grad_(), ATTACKED.clone().requires_grad_()
    by_clean, by_attacked = torch.autograd.grad(divergence(clean, attacked).sum(), (clean, attacked))
    expected = torch.tensor([[0.26361036, -0.19271462, -0.07089575]], dtype=torch.float64)
    torch.testing.assert_close(by_clean, expected, atol=1e-8, rtol=0)
    expected = torch.tensor([[-0.42147594, 0.30812360, 0.11335234]], dtype=torch.float64)
    torch.testing.assert_close(by_attacked, expected, atol=1e-8, rtol=0)
    assert torch.autograd.gradcheck(divergence, (clean, attacked))


@pytest.mark.parametrize(
    ("beta", "normalize", "loss"),
    [(2, False, 0.9293225265), (6, False, 2.4482755403), (2, True, 0.3097741755), (6, True, 0.3497536486)],
)
def test_the_loss_has_both_published_forms(beta: float, normalize: bool, loss: float) -> None:
    """AF-16."""
    objective = Trades(beta=beta, normalize=normalize)
    terms = Terms(cross_entropy(CLEAN, LABEL), divergence(CLEAN, ATTACKED), ATTACKED)
    weights = EqualWeights().coefficients(ClassHistory(3), objective)
    assert weights.combine(terms, LABEL).item() == pytest.approx(loss, abs=1e-9)


def test_trades_without_weight_on_the_divergence_is_clean_training_on_its_loss() -> None:
    """The limit beta = 0."""
    terms = Terms(cross_entropy(CLEAN, LABEL), divergence(CLEAN, ATTACKED), ATTACKED)
    weights = EqualWeights().coefficients(ClassHistory(3), Trades(beta=0))
    torch.testing.assert_close(weights.combine(terms, LABEL), cross_entropy(CLEAN, LABEL)[0])
