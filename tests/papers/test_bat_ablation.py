"""BAT Tables 2 and 4: which points carry which term, and data without some of their classes."""

import pytest
import torch
from fairat.data.canonical import Split
from fairat.data.splits import without
from fairat.errors import UserError
from fairat.methods.bat import BalanceAdversarialTraining
from fairat.methods.losses import cross_entropy, divergence
from fairat.methods.parts import Batch, Trace
from fairat.methods.trades import divergence_ascent
from torch import nn

POINTS = {
    name: torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate("xcaf")
}
"""The image x, its last clean point c, its first wrong one a, and the end f of the full attack."""
TRACE = Trace(POINTS["a"], last_clean=POINTS["c"], attacked=POINTS["f"])


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()


def batch() -> Batch:
    radii = torch.full((5,), 0.2)
    generator = torch.Generator().manual_seed(7)
    return Batch(POINTS["x"], torch.tensor([0, 1, 2, 0, 1]), None, radii, radii / 4, 6, generator, 0)


@pytest.mark.parametrize(
    ("settings", "uniform"),
    [
        ({"uniform_on": []}, ""),  # No. 1
        ({"uniform_on": ["last_clean"]}, "c"),  # No. 2
        ({"uniform_on": ["first_wrong"]}, "a"),  # No. 3
        ({"uniform_on": ["attacked"]}, "f"),  # No. 4
        ({}, "ca"),  # No. 5: BAT
        ({"fits": "trades"}, "ca"),  # No. 6
    ],
)
def test_each_row_of_the_ablation_has_its_terms(settings, uniform):
    objective = BalanceAdversarialTraining.model_validate(settings)
    terms, logits = objective.terms(model(), batch(), TRACE), {name: model()(point) for name, point in POINTS.items()}
    clean, robust = ("x", "f") if "fits" in settings else ("c", "a")
    torch.testing.assert_close(terms.clean, cross_entropy(logits[clean], batch().labels))
    torch.testing.assert_close(terms.robust, divergence(logits["x"], logits[robust]))
    torch.testing.assert_close(terms.logits, logits[robust])
    if not uniform:
        assert terms.auxiliary is None
    else:
        expected = sum(objective.to_uniform(logits[name]) for name in uniform)
        torch.testing.assert_close(terms.auxiliary, expected)


def test_the_full_attack_is_that_of_trades_and_runs_only_where_it_is_needed():
    plain = BalanceAdversarialTraining().attack(model(), batch())
    assert plain.attacked is None
    full = BalanceAdversarialTraining(uniform_on=("attacked",)).attack(model(), batch())
    torch.testing.assert_close(full.adversarial, plain.adversarial)
    torch.testing.assert_close(full.last_clean, plain.last_clean)
    assert full.attacked is not None
    alone = batch()
    BalanceAdversarialTraining().attack(model(), alone)
    torch.testing.assert_close(full.attacked, divergence_ascent(model(), alone, "eval"))


def split() -> Split:
    labels = torch.tensor([0, 1, 2, 3, 3, 1])
    return Split(labels.to(torch.uint8).view(-1, 1, 1, 1), labels, ("cat", "dog", "eel", "fox"))


def test_left_out_classes_are_gone_and_the_others_are_numbered_in_their_order():
    left = without(split(), [0, 2])
    assert left.class_names == ("dog", "fox")
    assert left.labels.tolist() == [0, 1, 1, 0]
    assert left.images.flatten().tolist() == [1, 3, 3, 1]
    assert without(split(), []) is not None
    assert without(split(), []).class_names == split().class_names


@pytest.mark.parametrize("classes", [[4], [0, 1, 2]])
def test_classes_that_are_not_there_or_too_many_are_refused(classes):
    with pytest.raises(
        UserError, match=r"the 4 classes are numbered 0 to 3, and two of them must be left\. Correct it"
    ):
        without(split(), classes)
