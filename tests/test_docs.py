"""The documents: they say what the code does, and their examples run."""

import csv
import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fairat.methods
import pytest
import typer
from fairat.dependencies import classes
from fairat.fingerprint import fingerprint
from fairat.methods import KINDS, part_class
from fairat.methods.method import Method
from fairat.settings.averaging import WEIGHT_SETS, Averaging
from fairat.settings.base import merged
from fairat.settings.data import Data
from fairat.settings.recipe import Recipe, Sgd, Steps
from fairat.settings.suite import Suite
from fairat.study import Study, Training, load_study
from fairat.tools.command import app
from matplotlib.mathtext import MathTextParser
from pydantic import BaseModel, TypeAdapter
from ruamel.yaml import YAML

from tests.training.toys import tiny_settings, trained

DOCS = Path("docs")
DEVIATIONS = (DOCS / "deviations.md").read_text()


def parts() -> Iterator[tuple[str, type[Any]]]:
    for slot, kinds in KINDS.items():
        for kind in kinds:
            yield slot, part_class(slot, kind)


def rows(text: str, *head: str) -> list[list[str]]:
    """The cells of every table in a Markdown text whose header begins with these words."""
    blocks = re.findall(r"^\| " + re.escape(" | ".join(head)) + r".*\n\| ---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for block in blocks for line in block.splitlines()]


def quoted(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


METHODS = load_study().methods
PAGE = (DOCS / "methods.md").read_text()
SECTIONS = {
    tuple(quoted(names.split("· [")[0])): names + text
    for names, text in re.findall(
        r"^### [^\n]+\n\n(`[^\n]+)(.*?)(?=^##)", PAGE.split("## One by one")[1], re.MULTILINE | re.DOTALL
    )
}
SLOTS = ("objective", "targets", "margin", "class_weights")
NEUTRAL = {"untargeted", "constant", "none"}


def test_every_method_has_one_section_with_words_equations_a_file_and_a_source() -> None:
    assert sorted(name for names in SECTIONS for name in names) == sorted(METHODS), "docs/methods.md lacks a method"
    for names, section in SECTIONS.items():
        assert len(section.split("\n\n")[1]) > 80, names
        assert "L = " in section, names
        assert all(word in section for word in ("**Attack**", "**Recipe**", "**Paper and code**")), names
        assert names == ("clean",) or re.search(r"\*\*Source\*\*: .*arXiv \d{4}\.\d{5}", section, re.DOTALL), names
    for method in METHODS.values():
        for part in method.parts:
            assert part.kind in NEUTRAL or f"{type(part).__module__.split('.')[-1]}.py](" in PAGE, part


def test_the_overview_has_the_parts_of_every_method() -> None:
    seen = []
    for labels, names, *parts in rows(PAGE, "methods", "in params.yaml"):
        for name, label in zip(quoted(names), labels.lstrip("[").split("]")[0].split(" · "), strict=True):
            method = METHODS[name]
            kinds = [getattr(method, slot).kind for slot in SLOTS]
            assert method.label == label
            assert [*quoted(" ".join(parts))] == [
                *(kind for kind in kinds if kind not in NEUTRAL),
                *([method.starts_from] if method.starts_from else []),
            ]
            seen.append(name)
    assert sorted(seen) == sorted(METHODS)
    for kinds in KINDS.values():
        assert all(f"`{kind}`" in PAGE for kind in kinds)


def stated(cell: str, default: str) -> dict[str, Any]:
    """The values of a cell such as "`a`, `b`: `1.0`; `c`: `2.0`", by method; every other method has the default."""
    values: dict[str, Any] = defaultdict(lambda: YAML(typ="safe").load(default))
    for names, value in re.findall(r"((?:`\w+`(?:, )?)+): `([^`]+)`", cell):
        values.update(dict.fromkeys(quoted(names), YAML(typ="safe").load(value)))
    return values


def settings_of(slot: str, name: str) -> BaseModel:
    """A part of a method, or its averaging."""
    return merged(Averaging(), METHODS[name].averaging) if slot == "averaging" else getattr(METHODS[name], slot)


def plain(value: Any) -> Any:
    """A setting as YAML has it."""
    return json.loads(TypeAdapter(Any).dump_json(value))


def setting_rows(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Slot, field, default and differing values of every setting in the tables of a text."""
    for names, _, default, differing, _ in rows(text, "setting", "symbol"):
        for place in quoted(names):
            slot, field = place.split(".")
            yield slot, field, quoted(default)[0], differing


def test_every_setting_on_the_page_has_the_default_and_the_values_it_states() -> None:
    shared = PAGE.split("## One by one")[0]
    for names, section in [*SECTIONS.items(), (tuple(METHODS), shared), ((), PAGE.split("## Weight sets")[1])]:
        for slot, field, default, differing in setting_rows(section):
            values, having = stated(differing, default), 0
            for name in names:
                part = settings_of(slot, name)
                if field in type(part).model_fields:
                    assert plain(type(part).model_fields[field].get_default()) == YAML(typ="safe").load(default)
                    assert plain(getattr(part, field)) == values[name], f"{name}: {slot}.{field}"
                    having += 1
            assert set(values) <= set(names), f"{slot}.{field} is stated for a method of another section"
            if not names:
                assert plain(Averaging.model_fields[field].get_default()) == YAML(typ="safe").load(default)
            assert having or not names, f"{slot}.{field} is not a setting"


def test_every_setting_stands_on_the_page_and_every_value_that_is_not_the_default() -> None:
    everywhere = {f"{slot}.{field}" for slot, field, _, _ in setting_rows(PAGE)}
    shared = {f"{slot}.{field}" for slot, field, _, _ in setting_rows(PAGE.split("## One by one")[0])}
    for slot, part in parts():
        missing = {f"{slot}.{field}" for field in part.model_fields if field != "kind"} - everywhere
        assert not missing, f"docs/methods.md says nothing of {sorted(missing)}"
    assert {f"averaging.{field}" for field in Averaging.model_fields} <= everywhere
    for names, section in SECTIONS.items():
        here = shared | {f"{slot}.{field}" for slot, field, _, _ in setting_rows(section)}
        for name in names:
            for slot in (*SLOTS, "averaging"):
                part = settings_of(slot, name)
                for field, info in type(part).model_fields.items():
                    differs = getattr(part, field) != info.get_default()
                    assert not differs or f"{slot}.{field}" in here, f"{name}: {slot}.{field} is not the default"


def test_every_method_has_the_recipe_of_its_row() -> None:
    table = rows(PAGE, "recipe", "epochs")
    own = {name for row in table for name in quoted(row[-1])}
    for _, epochs, rate, factors, decay, nesterov, padding, names in table:
        for name in quoted(names) or set(METHODS) - own:
            recipe = merged(Recipe(), METHODS[name].recipe)
            assert isinstance(recipe.schedule, Steps)
            assert isinstance(recipe.optimizer, Sgd)
            drops = ", ".join(f"{drop.at:g}: {drop.factor:g}" for drop in recipe.schedule.drops)
            found = (str(recipe.epochs), f"{recipe.learning_rate:g}", drops, f"{recipe.weight_decay:g}")
            assert found == (epochs, rate, factors, decay), name
            assert recipe.optimizer.nesterov == (nesterov == "yes"), name
            assert (recipe.augmentation.padding, recipe.augmentation.crop_padding) == (padding, 4), name
            assert (recipe.batch_size, recipe.optimizer.momentum) == (128, 0.9), name


def forwards_of(method: Method) -> list[str]:
    """The forwards in train mode of one update of a method, as the page writes them."""
    objective, kind = method.objective.model_dump(), method.objective.kind
    in_train_mode = kind == "at" or (kind == "fat" and objective["variant"] == "cfa")
    terms = ["x"] if kind == "clean" else ["x'"]
    if kind == "trades":
        terms = [{"clean": "x", "attacked": "x'"}[name] for name in objective["forwards"]]
    elif kind == "fat" and in_train_mode:
        terms = ["x'", "x'"]
    elif kind == "bat":
        attacked = objective["fits"] == "trades" or "attacked" in objective["uniform_on"]
        terms = ["xc", "xa", *(["xT"] if attacked else []), "x"]
    clean_pass = method.recipe.get("clean_pass") or method.clean_pass
    return [
        *(["10 a"] if in_train_mode and objective["attack_bn"] != "eval" else []),
        *terms,
        *(["x"] if clean_pass == "before_and_after" else []),
        "step",
        *(["x"] if clean_pass != "none" else []),
    ]


def test_the_forwards_are_those_of_each_method_and_give_the_shares_of_the_running_statistics() -> None:
    table = rows(PAGE, "forwards of one update")
    assert sorted(name for row in table for name in quoted(row[-1])) == sorted(METHODS)
    for forwards, clean, attack, names in table:
        order = quoted(forwards)[0].split(", ")
        assert [forwards_of(METHODS[name]) for name in quoted(names)] == [order] * len(quoted(names))
        inputs = [name for entry in order if entry != "step" for name in (["a"] * 10 if entry == "10 a" else [entry])]
        shares = dict.fromkeys(["x", "a", *inputs], 0.0)
        for later, name in enumerate(reversed(inputs)):
            shares[name] += 0.1 * 0.9**later / (1 - 0.9 ** len(inputs))
        assert (clean, attack) == (f"{100 * shares['x']:.1f}", f"{100 * shares['a']:.1f}"), forwards


with Path("reports/published/paper_results.csv").open(encoding="utf-8") as lines:
    PRINTED = [cell for cell in csv.DictReader(lines) if cell["dataset"] == "cifar10"]
COLUMNS = {
    "clean": ("clean", "overall_accuracy", "worst_class_accuracy"),
    "PGD": ("pgd", "overall_accuracy", "worst_class_accuracy"),
    "AutoAttack": ("autoattack", "overall_accuracy", "worst_class_accuracy"),
    "standard error": ("clean", "avg_std_error", "worst_std_error"),
    "boundary error": ("pgd", "avg_bndy_error", "worst_bndy_error"),
    "robust error": ("pgd", "avg_rob_error", "worst_rob_error"),
}


def printed(source: str, tables: str, label: str, evaluation: str, metric: str) -> str:
    """A printed number as the page writes it, or a dash if these tables have none."""
    cells = [
        " ± ".join(filter(None, (cell["value"], cell["std"])))
        for cell in PRINTED
        if (cell["source"], cell["evaluation"], cell["metric"]) == (source, evaluation, metric)
        and cell["table"] in tables.split(", ")
        and f"{cell['label']}: ".startswith(f"{label}: ")
    ]
    assert len(cells) <= 1
    return cells[0] if cells else "—"


@pytest.mark.parametrize("names", SECTIONS, ids=lambda names: names[0])
def test_every_printed_number_is_the_one_in_its_table(names: tuple[str, ...]) -> None:
    for columns in (("clean", "PGD", "AutoAttack"), ("standard error", "boundary error", "robust error")):
        for label, place, ours, *cells in rows(SECTIONS[names], "printed row", "table", "ours", *columns):
            paper, tables = place.split(" ", 1)
            assert quoted(ours)[0] in names
            assert ours.split()[1] in WEIGHT_SETS
            for column, cell in zip(columns, cells, strict=True):
                evaluation, *metrics = COLUMNS[column]
                source = {"FAIR-TAT": "fairtat", "BAT": "bat"}[paper]
                found = [printed(source, tables, label, evaluation, metric) for metric in metrics]
                assert cell == ("—" if found == ["—", "—"] else " / ".join(found)), f"{label}, {place}, {column}"
    assert "| printed row |" in SECTIONS[names] or names == ("dafa",)


def test_every_equation_is_right_latex() -> None:
    """By matplotlib's parser of a subset that GitHub's knows too."""
    parser = MathTextParser("path")
    blocks = re.findall(r"```math\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == PAGE.count("```") / 2
    for block in blocks:
        assert block.count("\\begin{aligned}") == block.count("\\end{aligned}")
        assert block.count("{") == block.count("}")
    lines = [line.removeprefix("& ").removesuffix(r" \\") for block in blocks for line in block.strip().splitlines()]
    equations = [line for line in lines if not re.fullmatch(r"\\(begin|end)\{aligned\}", line)]
    assert len(equations) > 40
    for latex in [*equations, *re.findall(r"(?<!\$)\$([^$\n]+)\$", PAGE)]:
        parser.parse(f"${latex}$".replace(r"\bar{s}", "s").replace(r"\bar{b}", "b"))


def test_inline_formulas_hold_nothing_that_markdown_would_change() -> None:
    prose = re.sub(r"```math.*?```", "", PAGE, flags=re.DOTALL)
    formulas = re.findall(r"\$[^$\n]+\$", prose)
    assert len(formulas) > 20
    assert not [formula for formula in formulas if re.search(r"\\[^a-zA-Z]|\*|<", formula)]


def anchors(document: Path) -> set[str]:
    """The anchors of a Markdown document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCS.glob("*.md"):
        for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", document.read_text()):
            file = document.parent / target if target else document
            assert target.startswith("http") or file.exists(), f"{document}: {target}"
            assert not anchor or target.startswith("http") or anchor in anchors(file), f"{document}: {target}#{anchor}"


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
        "objective.attack_bn", "objective.beta", "objective.normalize", "objective.targeted_inner", "objective.stop_on",
        "objective.variant", "objective.tau", "objective.step_size", "objective.overshoot", "objective.uniform_kl",
        "objective.uniform_weight", "objective.trajectories", "objective.forwards",
        "margin.begin_epoch", "margin.cap", "margin.offset", "margin.tau1", "class_weights.tau0",
        "averaging.decay", "averaging.probe", "averaging.start_epoch", "averaging.threshold",
        "recipe.clean_pass", "recipe.epochs", "data.validation_fraction", "suite.normalize",
    }  # fmt: skip


def test_the_methods_have_the_values_that_the_list_of_deviations_gives_them() -> None:
    methods: dict[str, Any] = {name: method.model_dump() for name, method in load_study().methods.items()}
    for name in ("at", "trades", "fat", "trades_cfa"):
        assert methods[name]["margin"]["begin_epoch"] == 10
    for name in ("fair_tat", "fair_tat_uniform", "fair_tat_trades", "fair_tat_fat"):
        assert methods[name]["margin"]["begin_epoch"] == 1
        assert methods[name]["class_weights"] == {"kind": "none"}
    assert [methods[name]["objective"]["normalize"] for name in ("trades", "frl", "wat", "dafa")] == [
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
(OWN,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """The study after someone did what the guide says."""
    monkeypatch.setattr(fairat.methods, "__path__", [*fairat.methods.__path__, str(tmp_path)])
    (tmp_path / "pairwise.py").write_text(CLASS)
    (tmp_path / "own.yaml").write_text(OWN)
    yield load_study([Path("params.yaml"), Path("runs.yaml"), tmp_path / "own.yaml"])
    sys.modules.pop("fairat.methods.pairwise", None)


def test_the_method_of_the_guide_trains(added: Study) -> None:
    run = added.run("demo", "fair_tat_pairwise", 0)
    assert isinstance(run, Training)
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
    own, others = (list(classes(added.methods[name])) for name in ("fair_tat_pairwise", "fair_tat"))
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


TEXTS = [Path("README.md"), *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("path", [*TEXTS, Path("dvc.yaml")], ids=str)
def test_a_command_that_a_text_names_exists_with_its_options(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    stages = {stage.stem for stage in Path("stages").glob("[!_]*.py")}
    assert set(re.findall(r"python -m stages[ .](\w+)", text)) <= stages
    assert "-m stages." not in text
    subcommands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, rest in re.findall(r"(?:`|^ {4,})fairat ([a-z]+)\b([^`\n]*)", text, re.MULTILINE):
        assert set(re.findall(r"--[a-z-]+", rest)) <= {option for p in subcommands[name].params for option in p.opts}
    targets = re.findall(r"^([a-z-]+):", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= set(targets)
