"""A killed evaluation goes on: what was done is not done again, and the rows are those of one that nothing stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fairat.evaluation import EVALUATIONS, evaluate_model
from fairat.evaluation.ledger import Ledger
from fairat.evaluation.protocol import EvaluationSet, Recall
from fairat.progress import told_to
from fairat.settings.evaluations import (
    AutoAttackEvaluation,
    CorruptionsEvaluation,
    PgdEvaluation,
    SquareEvaluation,
    StepsEvaluation,
)

from tests.evaluation.test_corruptions import write_corrupted
from tests.evaluation.toys import EPSILON, tiny_model, tiny_set
from tests.evaluation.toys import Ledger as Told
from tests.toys import Ear

PROTOCOLS: dict[str, tuple[Any, int]] = {
    "pgd": (PgdEvaluation(steps=(1, 3), step_size=0.03, restarts=2, batch_size=16), 3),
    "autoattack": (AutoAttackEvaluation(iterations=4, target_classes=2, queries=10, block_size=16), 12),
    "square": (SquareEvaluation(queries=10, block_size=16), 3),
    "corruptions": (CorruptionsEvaluation(batch_size=16), 2),
    "steps": (StepsEvaluation(num_steps=4, step_size=0.02, batch_size=16), 3),
}
"""A protocol of each evaluation, and how many units of work it makes of 40 images."""

IDENTITY = {"weights_sha256": {"last": "a"}}
CONDITIONS = {"threads": "1"}


def rows(evaluation: str, test: EvaluationSet, recall: Recall, **more: Any) -> Any:
    protocol, _ = PROTOCOLS[evaluation]
    return evaluate_model(evaluation, tiny_model(), test, protocol, epsilon=EPSILON, seed=3, recall=recall, **more)


def killed_after(units: int, ledger: Ledger) -> Recall:
    """Stops before it computes one unit more."""
    left, recall = [units], ledger.of("last")

    def counted(unit: str, images: float, compute: Callable[[], Any]) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return recall(unit, images, compute)

    return counted


@pytest.fixture
def test_set(tmp_path: Path) -> EvaluationSet:
    test = tiny_set(40)
    write_corrupted(tmp_path / "corrupted", test)
    return EvaluationSet(test.images, test.labels, test.class_names, tmp_path / "corrupted")


@pytest.mark.parametrize("evaluation", PROTOCOLS)
def test_an_evaluation_killed_after_any_unit_goes_on_to_the_same_rows(
    evaluation: str, test_set: EvaluationSet, tmp_path: Path
) -> None:
    whole = rows(evaluation, test_set, lambda unit, images, compute: compute())
    protocol, units = PROTOCOLS[evaluation]
    for done in range(units):
        directory = tmp_path / str(done)
        with pytest.raises(KeyboardInterrupt):
            rows(evaluation, test_set, killed_after(done, Ledger(directory, IDENTITY, CONDITIONS)))
        again, told = Ledger(directory, IDENTITY, CONDITIONS), Told()
        assert len(again.units) == done
        assert rows(evaluation, test_set, again.of("last"), watcher=told.watcher).equals(whole)
        assert len(again.units) == units
        workload = EVALUATIONS[evaluation].workload(test_set, protocol)
        assert again.images + sum(told.steps) == pytest.approx(workload)


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-1] + bytes([content[-1] ^ 1])])
def test_a_damaged_unit_is_said_and_computed_again(
    damage: Callable[[bytes], bytes], test_set: EvaluationSet, tmp_path: Path
) -> None:
    whole = rows("square", test_set, Ledger(tmp_path / "kept", IDENTITY, CONDITIONS).of("last"))
    file = tmp_path / "kept/last.block1.square.unit"
    file.write_bytes(damage(file.read_bytes()))
    with told_to(heard := Ear()):
        again = Ledger(tmp_path / "kept", IDENTITY, CONDITIONS)
    assert heard.said == [
        f"{file} is damaged: its content does not match its digest. It is not used; the predictions in it are lost."
    ]
    assert len(again.units) == 2
    assert rows("square", test_set, again.of("last")).equals(whole)


def test_units_of_other_weights_data_code_or_settings_are_not_taken_up(tmp_path: Path) -> None:
    Ledger(tmp_path / "kept", IDENTITY, CONDITIONS).of("last")("batch0", 16, lambda: [1])
    assert Ledger(tmp_path / "kept", IDENTITY, CONDITIONS).units["last.batch0"]["content"] == [1]
    assert not Ledger(tmp_path / "kept", {"weights_sha256": {"last": "b"}}, CONDITIONS).units
    assert not list((tmp_path / "kept").glob("*.unit"))


def test_units_of_other_conditions_are_taken_up_and_it_is_said_which(tmp_path: Path) -> None:
    Ledger(tmp_path / "kept", IDENTITY, CONDITIONS).of("last")("batch0", 16, lambda: [1])
    again = Ledger(tmp_path / "kept", IDENTITY, {"threads": "2"})
    assert len(again.units) == 1
    assert again.changed == "threads 1 (now 2)"


def test_a_finished_evaluation_leaves_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "kept", IDENTITY, CONDITIONS)
    ledger.of("last")("batch0", 16, lambda: [1])
    ledger.close()
    assert not (tmp_path / "kept").exists()
