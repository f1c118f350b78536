import pytest
from fairat.rendering.notes import budget_notes
from fairat.settings.evaluations import AutoAttackEvaluation, Evaluations, PgdEvaluation, SquareEvaluation


def evaluations(**changes):
    return Evaluations(pgd=PgdEvaluation(step_size=2 / 255), **changes)


def test_the_published_budgets_need_no_note():
    assert budget_notes(evaluations()) == {}


@pytest.mark.parametrize(
    "less", [{"iterations": 99}, {"target_classes": 8}, {"queries": 4999}, {"iterations": 200, "queries": 10}]
)
def test_a_reduced_autoattack_is_noted(less):
    (note,) = budget_notes(evaluations(autoattack=AutoAttackEvaluation(**less))).values()
    assert note.startswith("AutoAttack ran with a reduced budget: ")
    assert "instead of 100, 9 and 5000; its accuracies are upper bounds." in note
    assert all(str(value) in note for value in less.values())


def test_a_reduced_square_is_noted():
    assert budget_notes(evaluations(square=SquareEvaluation(queries=100))) == {
        "square": "Square ran with 100 queries instead of 5000; its accuracies are upper bounds."
    }
