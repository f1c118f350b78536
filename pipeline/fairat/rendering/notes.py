"""What must stand beside the numbers: reduced attack budgets."""

from fairat.settings.evaluations import Evaluations

_ITERATIONS, _TARGET_CLASSES, _QUERIES = 100, 9, 5000
"""The published budgets."""


def budget_notes(evaluations: Evaluations) -> dict[str, str]:
    """Evaluation and a sentence, for each attack whose budget is below the published one."""
    auto, square = evaluations.autoattack, evaluations.square
    notes = {}
    if auto.iterations < _ITERATIONS or auto.target_classes < _TARGET_CLASSES or auto.queries < _QUERIES:
        notes["autoattack"] = (
            f"AutoAttack ran with a reduced budget: {auto.iterations} iterations, {auto.target_classes} target classes and "
            f"{auto.queries} Square queries instead of {_ITERATIONS}, {_TARGET_CLASSES} and {_QUERIES}; "
            "its accuracies are upper bounds."
        )
    if square.queries < _QUERIES:
        notes["square"] = (
            f"Square ran with {square.queries} queries instead of {_QUERIES}; its accuracies are upper bounds."
        )
    return notes
