"""Each acceptance fact is a test that carries its number in its name or docstring."""

import ast
import re
from pathlib import Path

import pytest

FACTS = {
    1: "a linear model is pushed to the corner from any start",
    2: "its cross-entropy and margin there",
    3: "with two classes, descent to the target is ascent from the truth",
    4: "untargeted and targeted corners of the identity model",
    5: "how far ten steps reach",
    6: "images stay in the box",
    7: "every image has its own radius",
    8: "projection on the ball and the box",
    9: "class false positive scores count columns",
    10: "recall, and the next radii",
    11: "equation 7 and its worst class",
    12: "target probabilities, given the true class",
    13: "how flat the softmax of the scores is",
    14: "no errors, two classes, and never the true class",
    15: "cross-entropy, divergence, and its two gradients",
    16: "both forms of the TRADES loss",
    17: "calibrated weights",
    18: "the range of calibrated radii",
    19: "the memory of an average",
    20: "FAWA's gate",
    21: "batch-norm statistics in averages",
    22: "what BAT and GAIRAT read from a trace",
    23: "where both variants of FAT stop",
    24: "GAIRAT's weights",
    25: "the BAT loss",
    26: "FRL's controller",
    27: "WAT's opponent",
    28: "DAFA's weights",
    29: "parameters, layers and tokens of the networks",
    30: "the learning rate of R200",
    31: "the CIFAR split",
    32: "steps to break an image",
    33: "the worst of a hundred classes",
    34: "recall on unbalanced classes",
    35: "sample standard deviation",
    36: "corruption names and files",
    37: "learning rate and attack step of the XCiT recipe",
    38: "history only: resuming is exact, the first epoch neutral",
    39: "averages do not touch the live weights",
    60: "running statistics of public code",
}
"""The facts by number. AF-40, whole trainings on a GPU, is not a test but a run: see the study's tables."""


def numbered_tests() -> dict[int, list[str]]:
    """The tests that name each fact."""
    found: dict[int, list[str]] = {}
    for path in sorted(Path("tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                words = f"{node.name.upper().replace('AF_', 'AF-')} {ast.get_docstring(node) or ''}"
                for number in map(int, re.findall(r"AF-(\d+)", words)):
                    found.setdefault(number, []).append(f"{path}::{node.name}")
    return found


NUMBERED = numbered_tests()


@pytest.mark.parametrize("number", FACTS, ids=lambda number: f"AF-{number:02d}")
def test_every_acceptance_fact_has_a_test(number: int) -> None:
    assert NUMBERED.get(number), f"no test carries AF-{number:02d}: {FACTS[number]}"


def test_all_facts_but_the_whole_trainings_are_listed() -> None:
    assert set(FACTS) == {*range(1, 40), 60}


def test_no_test_carries_the_number_of_a_fact_that_there_is_not() -> None:
    assert set(NUMBERED) <= set(FACTS)
