"""What must stand beside the numbers: reduced attack budgets."""

from fairat.settings.evaluations import AutoAttackEvaluation, Evaluations

ITERATIONS, TARGET_CLASSES, QUERIES = 100, 9, 5000
"""The published budgets."""


def reduced(auto: AutoAttackEvaluation) -> bool:
    """Whether AutoAttack has less than the published budget."""
    return auto.iterations < ITERATIONS or auto.target_classes < TARGET_CLASSES or auto.queries < QUERIES


def budget_notes(evaluations: Evaluations) -> dict[str, str]:
    """Evaluation and a sentence, for each attack whose budget is below the published one."""
    auto, square = evaluations.autoattack, evaluations.square
    notes = {}
    if reduced(auto):
        notes["autoattack"] = (
            f"AutoAttack ran with a reduced budget: {auto.iterations} iterations, {auto.target_classes} target classes and "
            f"{auto.queries} Square queries instead of {ITERATIONS}, {TARGET_CLASSES} and {QUERIES}; "
            "its accuracies are upper bounds."
        )
    if square.queries < QUERIES:
        notes["square"] = (
            f"Square ran with {square.queries} queries instead of {QUERIES}; its accuracies are upper bounds."
        )
    return notes
