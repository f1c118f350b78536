"""What must stand beside the numbers: reduced attack budgets, and why a weight set is not there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.training.artifacts import RunRecord

if TYPE_CHECKING:
    from pipeline.config import Evaluations, Run


def budget_notes(evaluations: "Evaluations") -> list[str]:
    """One sentence for each attack whose budget is below the published one (spec 7)."""
    auto, square = evaluations.autoattack, evaluations.square
    notes = []
    if (auto.iterations, auto.queries) < (100, 5000) or auto.target_classes < 9:
        notes.append(
            f"AutoAttack ran with a reduced budget: {auto.iterations} iterations, {auto.target_classes} target classes and "
            f"{auto.queries} Square queries instead of 100, 9 and 5000; its accuracies are upper bounds."
        )
    if square.queries < 5000:
        notes.append(f"Square ran with {square.queries} queries instead of 5000; its accuracies are upper bounds.")
    return notes


def absences(runs: Sequence["Run"]) -> dict[tuple[str, str, str], str]:
    """Why a (suite, method, weights) has no value, or fewer than it has seeds."""
    return {
        (run.suite_name, run.method_name, name): weights.reason
        for run in runs
        for name, weights in RunRecord.load(run.directory).weights.items()
        if not weights.present
    }
