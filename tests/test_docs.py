"""The documents: they say what the code does, and their examples run."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fairat.methods
import pytest
from fairat.dependencies import classes
from fairat.docs import METHODS, methods_document, page_of, pages_of
from fairat.fingerprint import fingerprint
from fairat.methods import KINDS, part_class
from fairat.settings.averaging import Averaging
from fairat.settings.data import Data
from fairat.settings.recipe import Recipe
from fairat.settings.suite import Suite
from fairat.study import Study, load_study
from matplotlib.mathtext import MathTextParser
from pydantic import BaseModel
from ruamel.yaml import YAML

from tests.training.toys import tiny_settings, trained

DOCS = Path("docs")
DEVIATIONS = (DOCS / "deviations.md").read_text()


def parts() -> Iterator[tuple[str, type[Any]]]:
    for slot, kinds in KINDS.items():
        for kind in kinds:
            yield slot, part_class(slot, kind)


def test_the_page_of_methods_is_what_the_docstrings_say() -> None:
    assert METHODS.read_text() == methods_document(load_study().methods), (
        "docs/methods.md is not what the docstrings and params.yaml say; run `python -m fairat.docs`"
    )


def test_every_method_has_a_paragraph_equations_its_parts_and_a_citation() -> None:
    sections = re.split(r"^### ", METHODS.read_text().split("## Weight sets")[0], flags=re.MULTILINE)[1:]
    assert len(sections) == len(load_study().methods)
    for (name, method), section in zip(load_study().methods.items(), sections, strict=True):
        assert section.startswith(f"{method.label} (`{name}`)\n\n")
        assert len(section.split("\n\n")[1]) > 80
        assert section.count("```math") == 1
        assert "L = " in section
        assert f"| objective | `{method.objective.kind}` |" in section
        assert name == "clean" or "\n- " in section


def test_a_page_shows_the_loss_that_its_method_has() -> None:
    document = METHODS.read_text()
    section = {name: document.split(f"(`{name}`)\n")[1].split("\n### ")[0] for name in load_study().methods}
    assert r"\frac{1}{(1 + \beta) B}" in section["trades"]
    assert r"\frac{1}{(1 + \beta) B}" not in section["wat"]
    assert r"\arg\min" in section["fair_tat"]
    assert r"\arg\max" not in section["fair_tat"]
    assert r"\mu^0 \leftarrow" in section["frl"]
    assert all(text.count("L = ") == 1 for text in section.values())


def test_every_equation_is_right_latex() -> None:
    """By matplotlib's parser of a subset that GitHub's knows too."""
    parser = MathTextParser("path")
    pages = {page_of(Averaging)}
    for slot, part in parts():
        if (slot, part.__name__) not in {
            ("targets", "Untargeted"),
            ("margin", "ConstantMargin"),
            ("class_weights", "EqualWeights"),
        }:
            found = set(pages_of(part()))
            assert any(page.equations for page in found), part
            pages |= found
    inline = re.findall(r"(?<!\$)\$([^$\n]+)\$", METHODS.read_text())
    for latex in [*inline, *(latex for page in pages for _, latex in page.equations)]:
        parser.parse(f"${latex}$".replace(r"\bar{s}", "s").replace(r"\bar{b}", "b"))


def test_inline_formulas_hold_nothing_that_markdown_would_change() -> None:
    prose = re.sub(r"```math.*?```", "", METHODS.read_text(), flags=re.DOTALL)
    formulas = re.findall(r"\$[^$\n]+\$", prose)
    assert len(formulas) > 20
    assert not [formula for formula in formulas if re.search(r"\\[^a-zA-Z]|\*|<", formula)]


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document}: {target}"


def candidates(section: str) -> list[type[BaseModel]]:
    """The classes that a section of params.yaml may be."""
    shared = {"averaging": Averaging, "recipe": Recipe, "data": Data, "suite": Suite}
    return [shared[section]] if section in shared else [part for slot, part in parts() if slot == section]


FIELDS = re.findall(
    r"`(objective|targets|margin|class_weights|averaging|recipe|data|suite)\.(\w+): ([^`]+)`(?: \((\w+)\))?", DEVIATIONS
)


@pytest.mark.parametrize(("section", "field", "value", "kind"), FIELDS, ids=lambda value: str(value))
def test_a_default_in_the_list_of_deviations_is_the_schema_s(section: str, field: str, value: str, kind: str) -> None:
    having = [part for part in candidates(section) if field in part.model_fields]
    if kind:
        having = [part_class(section, kind)]
    assert having, f"{section}.{field} is not a setting"
    if (section, field, value) == ("averaging", "threshold", "0.0"):  # CIFAR-100's, not the schema's
        assert load_study().suites["cifar100"].averaging.threshold == 0.0
        return
    for part in having:
        default = part.model_fields[field].get_default()
        assert (list(default) if isinstance(default, tuple) else default) == YAML(typ="safe").load(value)


def test_the_list_of_deviations_has_every_decision_and_every_field_that_decides() -> None:
    assert set(re.findall(r"^\| (A\d+) \|", DEVIATIONS, re.MULTILINE)) == {f"A{number}" for number in range(1, 23)}
    named = {f"{section}.{field}" for section, field, _, _ in FIELDS}
    assert named >= {
        "targets.from_scores", "targets.scale", "targets.statistics",
        "objective.attack_bn", "objective.beta", "objective.normalise", "objective.targeted_inner", "objective.stop_on",
        "objective.variant", "objective.tau", "objective.step_size", "objective.overshoot", "objective.uniform_kl",
        "objective.uniform_weight", "objective.trajectories", "objective.forwards",
        "margin.begin_epoch", "margin.cap", "margin.offset", "margin.tau1", "class_weights.tau0",
        "averaging.decay", "averaging.probe", "averaging.start_epoch", "averaging.threshold",
        "recipe.clean_pass", "recipe.epochs", "data.validation_fraction", "suite.normalise",
    }  # fmt: skip


def test_the_methods_have_the_values_that_the_list_of_deviations_gives_them() -> None:
    methods: dict[str, Any] = {name: method.model_dump() for name, method in load_study().methods.items()}
    for name in ("at", "trades", "fat", "trades_cfa"):
        assert methods[name]["margin"]["begin_epoch"] == 10
    for name in ("fair_tat", "fair_tat_uniform", "fair_tat_trades", "fair_tat_fat"):
        assert methods[name]["margin"]["begin_epoch"] == 1
        assert methods[name]["class_weights"] == {"kind": "none"}
    assert [methods[name]["objective"]["normalise"] for name in ("trades", "frl", "wat", "dafa")] == [
        True,
        False,
        False,
        False,
    ]
    assert [methods[name]["recipe"]["epochs"] for name in ("frl", "frl_reweight", "gairat")] == [40, 40, 100]
    assert [methods["frl_reweight"]["class_weights"][name] for name in ("tau0", "tau1")] == [0.1, 0.1]
    assert methods["gairat"]["objective"]["start_epoch"] == 29
    assert methods["frl"]["averaging"] == {"start_epoch": 0}
    assert methods["frl"]["starts_from"] == "at_constant"
    assert {methods[name]["starts_from"] for name in ("frl_005", "frl_007")} == {"pgd_at"}
    recipes = [
        methods[name]["recipe"] for name in ("bat", "pgd_at", "trades_original_1", "trades_original_6", "fat_bat")
    ]
    assert all(recipe == recipes[0] for recipe in recipes)
    assert recipes[0]["clean_pass"] == "none"
    for name in ("fair_tat_one_pass", "fair_tat_constant_one_pass"):
        assert methods[name].pop("recipe") == {"clean_pass": "after_step"}
        twin = methods[name.removesuffix("_one_pass")]
        same = ("objective", "targets", "margin", "class_weights", "averaging", "starts_from")
        assert [methods[name][slot] for slot in same] == [twin[slot] for slot in same]
    assert methods["wat"]["objective"]["forwards"] == methods["dafa"]["objective"]["forwards"] == ("attacked", "clean")


GUIDE = (DOCS / "add_a_method.md").read_text()
CLASS, TEST = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
METHOD, RUNS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """The study after someone did what the guide says."""
    monkeypatch.setattr(fairat.methods, "__path__", [*fairat.methods.__path__, str(tmp_path)])
    (tmp_path / "pairwise.py").write_text(CLASS)
    params = Path("params.yaml").read_text().replace("\nmethods:\n", f"\nmethods:\n{METHOD}\n", 1)
    (tmp_path / "params.yaml").write_text(params)
    (tmp_path / "own.yaml").write_text(RUNS)
    yield load_study(tmp_path / "params.yaml", [Path("runs.yaml"), tmp_path / "own.yaml"])
    sys.modules.pop("fairat.methods.pairwise", None)


def test_the_method_of_the_guide_trains(added: Study) -> None:
    run = added.training("demo", "fair_tat_pairwise", 0)
    assert run.settings["method"]["targets"] == {"kind": "pairwise.PairwiseTargets", "smoothing": 2.0}
    chosen = {slot: getattr(run.method, slot) for slot in KINDS}
    state = trained(tiny_settings(chosen, epochs=6))
    losses = [report["train_loss"] for report in state.reports]
    assert losses[-1] < 0.9 * losses[0]
    table = run.method.targets.table(state.history)
    assert table.diagonal().tolist() == [0.0] * 3
    assert table.sum(dim=1).tolist() == pytest.approx([1.0] * 3)


def test_the_tests_of_the_guide_pass(added: Study) -> None:
    names: dict[str, Any] = {}
    exec(compile(TEST, "docs/add_a_method.md", "exec"), names)
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_editing_the_class_of_the_guide_makes_its_run_stale_and_no_other(added: Study, tmp_path: Path) -> None:
    run = added.training("demo", "fair_tat_pairwise", 0)
    own, others = list(classes(run.method)), list(classes(added.methods["fair_tat"]))
    prints = []
    for name, text in (("before", CLASS), ("after", CLASS.replace("fill_diagonal_(0)", "fill_diagonal_(0.0)"))):
        root = tmp_path / name
        shutil.copytree("pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "pipeline/fairat/methods/pairwise.py").write_text(text)
        prints.append((fingerprint(own, {}, root), fingerprint(others, {}, root)))
    (before, others_before), (after, others_after) = prints
    assert "fairat.methods.pairwise" in before["code"]
    assert before != after
    assert others_before == others_after


def test_the_method_of_the_guide_gets_its_page(added: Study) -> None:
    document = methods_document({"fair_tat_pairwise": added.methods["fair_tat_pairwise"]})
    assert "Pairwise targets aim at a wrong class as often as" in document
    assert r"\frac{C_{y_i c} + a}" in document
    assert (
        "| targets | `pairwise.PairwiseTargets` | smoothing $a$: 2 | [pairwise.py](../pipeline/fairat/methods/pairwise.py) |"
        in document
    )


def test_a_part_without_a_docstring_is_no_obstacle_to_the_page() -> None:
    class Bare:
        pass

    assert page_of(Bare).prose == ""
    assert page_of(Bare).equations == ()
