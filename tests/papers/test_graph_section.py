"""dvc.yaml has a stage per table and figure, and each pulls in the trainings it needs and no other."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from fairat import paths
from fairat.papers.figure_rows import FIGURES
from fairat.papers.graph import GRAPH, inputs, outputs, section, with_section
from fairat.papers.needs import PAPER_TARGETS, needs
from ruamel.yaml import YAML

STARTS = {"frl": "at_constant", "frl_005": "pgd_at", "frl_007": "pgd_at"}
ABLATIONS = {"table5": "fair_tat_one_pass", "table6": "fair_tat_constant_one_pass"}
"""Spec 3.8: FRL starts from AT with a constant margin, of the same suite and seed."""


@cache
def stages() -> dict[str, dict]:
    """Every stage of dvc.yaml by its name, foreach resolved: a resolver of our own, so that DVC is not asked about itself."""
    yaml = YAML(typ="safe")
    graph = yaml.load(GRAPH.read_text())
    values: dict[str, dict] = {}
    for file in graph["vars"]:
        for name, entries in yaml.load(Path(file).read_text()).items():
            values.setdefault(name, {}).update(entries or {})
    found = {}
    for name, stage in graph["stages"].items():
        if "foreach" not in stage:
            found[name] = stage
            continue
        for key, item in values[stage["foreach"].removeprefix("${").removesuffix("}")].items():
            words = {"key": key, **{f"item.{field}": value for field, value in (item or {}).items()}}
            found[f"{name}@{key}"] = {
                field: [filled(entry, words) for entry in stage["do"].get(field, [])] for field in ("deps", "outs")
            }
    return found


def filled(entry, words):
    text = next(iter(entry)) if isinstance(entry, dict) else entry
    return re.sub(r"\$\{([\w.]+)\}", lambda found: str(words[found[1]]), text)


@cache
def makers() -> dict[str, str]:
    return {out: name for name, stage in stages().items() for out in stage.get("outs", [])}


def pulled(name: str, seen: set[str] | None = None) -> set[str]:
    """Every stage that `dvc repro name` may run."""
    seen = set() if seen is None else seen
    if name not in seen:
        seen.add(name)
        for dependency in stages()[name].get("deps", []):
            for out, maker in makers().items():
                if out == dependency or out.startswith(f"{dependency}/") or dependency.startswith(f"{out}/"):
                    pulled(maker, seen)
    return seen


def trainings(names: set[str]) -> set[str]:
    return {name.split("@")[1] for name in names if name.startswith(("train@", "finetune@", "adopt@"))}


def expected_runs(target) -> set[tuple[str, str, int]]:
    if target.kind == "figure":
        content = FIGURES[target.name]
        runs = {(content.suite, row.method, 0) for row in content.rows}
    else:
        runs = {run for one in needs(target.cells) for run in one.runs}
        if target.name in ABLATIONS:
            runs |= {("cifar10", ABLATIONS[target.name], seed) for seed in range(5)}
    return runs | {(suite, STARTS[method], seed) for suite, method, seed in runs if method in STARTS}


def test_the_section_is_up_to_date():
    text = GRAPH.read_text()
    assert section() in text, "type `python -m fairat.papers.graph`"
    assert with_section(text) == text


def test_the_section_is_put_behind_the_stages_where_there_is_none():
    text = "stages:\n  demo:\n    cmd: true\n"
    once = with_section(text)
    assert once.startswith(text)
    assert with_section(once) == once
    assert with_section(once.replace("table7", "tableX") + "  other:\n    cmd: true\n").endswith("    cmd: true\n")


@pytest.mark.parametrize("target", PAPER_TARGETS.values(), ids=PAPER_TARGETS)
def test_a_target_pulls_in_exactly_the_trainings_that_it_needs(target):
    expected = {f"{suite}-{method}-s{seed}" for suite, method, seed in expected_runs(target)}
    assert trainings(pulled(target.name)) == expected


@pytest.mark.parametrize("target", PAPER_TARGETS.values(), ids=PAPER_TARGETS)
def test_a_target_depends_on_exactly_its_evidence_and_writes_its_files(target):
    stage = stages()[target.name]
    fixed = {str(paths.FINGERPRINTS / "paper" / target.name), str(paths.PUBLISHED)}
    assert [dependency for dependency in stage["deps"] if dependency not in fixed] == list(map(str, inputs(target)))
    assert all(str(path) in makers() for path in inputs(target))
    assert stage["outs"] == list(map(str, outputs(target)))
    kind = "tables" if target.kind == "table" else "figures"
    suffixes = (".md", ".tex") if target.kind == "table" else (".pdf", ".png")
    assert [Path(out) for out in stage["outs"]] == [Path("reports", kind, f"{target.name}{end}") for end in suffixes]


def test_a_target_evaluates_nothing_that_it_does_not_show():
    evaluated = {name.split("@")[0] for name in pulled("table1")}
    assert not evaluated & {"autoattack", "square", "corruptions", "steps", "corrupt", "aggregate", "tables"}
    assert {name.split("@")[0] for name in pulled("table2")} & {"pgd", "corruptions"} == set()
    assert {name for name in pulled("figure4") if "@" in name} == {
        "train@cifar10-at-s0",
        "train@cifar10-fair_tat-s0",
        "prepare@cifar10",
    }


@pytest.mark.parametrize("target", ["table1", "bat_table4", "figure4", "report"])
def test_the_plan_that_dvc_prints_on_a_fresh_clone_is_the_graph_read_here(target, tmp_path):
    for name in (GRAPH, *map(Path, YAML(typ="safe").load(GRAPH.read_text())["vars"])):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(name, tmp_path / name)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--quiet", "--no-scm"], ["repro", target, "--dry", "--force"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert set(re.findall(r"^Running stage '(.+)':$", done.stdout, flags=re.MULTILINE)) == pulled(target)


def test_the_report_of_the_demo_trains_the_demo_only():
    assert {run.split("-")[0] for run in trainings(pulled("demo_report"))} == {"demo"}
