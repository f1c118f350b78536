"""Parts by name: those of the table KINDS, and those of one's own."""

from collections.abc import Callable
from pathlib import Path

import fairat.methods
import pytest
from fairat.methods import KINDS, build_part
from fairat.methods.method import Method
from fairat.study import load_study

from tests.toys import history_of

OWN = '''
import torch

from fairat.methods.parts import Margin


class Halved(Margin):
    """Half the radius."""

    share: float = 0.5

    def factors(self, history):
        return torch.full((history.num_classes,), self.share, dtype=torch.float64)


class Unfinished(Margin):
    """Says nothing about radii."""


class Stranger:
    """No part at all."""
'''


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a module as if it stood in pipeline/fairat/methods/."""
    monkeypatch.setattr(fairat.methods, "__path__", [*fairat.methods.__path__, str(tmp_path)])

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)

    return write


@pytest.mark.parametrize(("slot", "kind"), [(slot, kind) for slot, kinds in KINDS.items() for kind in kinds])
def test_a_part_knows_its_name_and_is_found_again_by_it(slot: str, kind: str) -> None:
    part = build_part(slot, kind)
    assert type(part) is KINDS[slot][kind]
    assert part.kind == part.model_dump()["kind"] == kind
    assert build_part(slot, part.model_dump()) == part


def test_a_part_without_an_entry_is_named_by_its_file_and_class(own_module: Callable[[str, str], None]) -> None:
    own_module("own_margin_a", OWN)
    method = Method.model_validate(
        {"label": "own", "objective": "at", "margin": {"kind": "own_margin_a.Halved", "share": 0.25}}
    )
    assert method.margin.factors(history_of(((1, 0), (0, 1)))).tolist() == [0.25, 0.25]
    assert method.model_dump()["margin"] == {"kind": "own_margin_a.Halved", "share": 0.25}


def test_a_part_derived_from_one_with_a_name_has_a_name_of_its_own(own_module: Callable[[str, str], None]) -> None:
    own_module(
        "own_margin_d",
        "from fairat.methods.cfa import RobustAccuracyMargin\n\n\nclass Mine(RobustAccuracyMargin): ...\n",
    )
    margin = build_part("margin", {"kind": "own_margin_d.Mine", "offset": 1})
    assert margin.model_dump() == {"kind": "own_margin_d.Mine", "offset": 1.0, "begin_epoch": 1, "cap": None}
    assert build_part("margin", {"kind": "cfa.RobustAccuracyMargin"}).kind == "robust_accuracy"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("own_margin_b.Halfed", r"pipeline/fairat/methods/own_margin_b\.py has no class Halfed derived from Margin; correct it, or `kind: own_margin_b\.Halfed`"),
        ("own_margin_b.Stranger", r"has no class Stranger derived from Margin"),
        ("trades.Trades", r"pipeline/fairat/methods/trades\.py has no class Trades derived from Margin"),
        ("own_margin_b.Unfinished", r"Unfinished in pipeline/fairat/methods/own_margin_b\.py does not define factors, which Margin in parts\.py asks for"),
        ("nowhere.Halved", r"there is no pipeline/fairat/methods/nowhere\.py; write the class Halved there, or correct `kind: nowhere\.Halved`"),
        ("own_margin_b", r"'own_margin_b' is not a kind of margin; there are: constant, .* as in my_module.MyPart"),
        ("own_margin_b.", r"is not a kind of margin"),
        ("robust_acuracy", r"'robust_acuracy' is not a kind of margin; there are: constant, .*; did you mean robust_accuracy\? a part"),
        (None, r"None is not a kind of margin"),
        (["cfps"], r"\['cfps'\] is not a kind of margin"),
    ],
)  # fmt: skip
def test_a_name_without_a_part_says_what_is_missing(
    own_module: Callable[[str, str], None], kind: object, message: str
) -> None:
    own_module("own_margin_b", OWN)
    with pytest.raises(ValueError, match=message):
        build_part("margin", {"kind": kind})


def test_an_import_that_fails_inside_one_s_own_module_is_not_hidden(own_module: Callable[[str, str], None]) -> None:
    own_module("own_margin_c", "import a_package_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        build_part("margin", "own_margin_c.Halved")


def test_every_method_of_params_yaml_is_written_as_it_was_read() -> None:
    for method in load_study().methods.values():
        assert Method.model_validate(method.model_dump()) == method


@pytest.mark.parametrize(
    ("slot", "settings", "message"),
    [
        ("objective", {"kind": "trades", "beta": -1}, "beta"),
        ("objective", {"kind": "at", "num_steps": 0}, "num_steps"),
        ("objective", {"kind": "at", "step_size": 2}, r"2 is not in \[0, 1\]"),
        ("objective", {"kind": "bat", "uniform_weight": -1}, "uniform_weight"),
        ("margin", {"kind": "robust_accuracy", "offset": -0.1}, "offset"),
        ("margin", {"kind": "distance", "begin_epoch": 0}, "begin_epoch"),
        ("class_weights", {"kind": "no_regret", "eta": -1}, "eta"),
        ("class_weights", {"kind": "ccr", "offzet": 1}, r"offzet\n.*Extra inputs"),
    ],
)
def test_settings_without_meaning_are_refused(slot: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_part(slot, settings)
