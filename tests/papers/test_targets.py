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
from fairat.papers.needs import PAPER_TARGETS, needs
from fairat.papers.tables import entries
from ruamel.yaml import YAML

GRAPH = Path("dvc.yaml")
STARTS = {"frl": "at_constant", "frl_005": "pgd_at", "frl_007": "pgd_at"}
"""FRL starts from AT with a constant margin, of the same suite and seed; in BAT's tables from their PGD-AT."""
ABLATIONS = {"table5": "fair_tat_one_pass", "table6": "fair_tat_constant_one_pass"}


@cache
def stages() -> dict[str, dict]:
    """Every stage of dvc.yaml by its name, foreach resolved: a resolver of our own, so that DVC is not asked about itself."""
    yaml = YAML(typ="safe")
    graph = yaml.load(GRAPH.read_text(encoding="utf-8"))
    values: dict[str, dict] = {}
    for file in ("params.yaml", *graph["vars"]):
        for name, items in (yaml.load(Path(file).read_text(encoding="utf-8")) or {}).items():
            values.setdefault(name, {}).update(items or {})
    found = {}
    for name, stage in graph["stages"].items():
        if "foreach" not in stage:
            found[name] = stage
            continue
        for key, item in values[stage["foreach"].removeprefix("${").removesuffix("}")].items():
            words = {
                "key": key,
                **{f"item.{field}": value for field, value in (item or {}).items() if isinstance(value, str)},
            }
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
    return {name.split("@")[1] for name in names if name.startswith("train@")}


def expected_runs(target) -> set[tuple[str, str, int]]:
    if target.kind == "figure":
        content = FIGURES[target.name]
        runs = {(content.suite, row.method, 0) for row in content.rows}
    else:
        runs = {run for one in needs(target.cells) for run in one.runs}
        if target.name in ABLATIONS:
            runs |= {("cifar10", ABLATIONS[target.name], seed) for seed in range(5)}
    return runs | {(suite, STARTS[method], seed) for suite, method, seed in runs if method in STARTS}


@pytest.mark.parametrize("target", PAPER_TARGETS.values(), ids=PAPER_TARGETS)
def test_a_target_pulls_in_exactly_the_trainings_that_it_needs(target):
    expected = {f"{suite}/{method}/s{seed}" for suite, method, seed in expected_runs(target)}
    assert trainings(pulled(target.name)) == expected


def evidence_of(target) -> set[str]:
    """The files of evidence that a target shows."""
    shown = FIGURES[target.name].needs if target.kind == "figure" else [entry.need for entry in entries(target)]
    return {str(path) for need in shown for path in need.evidence}


@pytest.mark.parametrize("target", PAPER_TARGETS.values(), ids=PAPER_TARGETS)
def test_a_target_depends_on_exactly_its_evidence_and_writes_its_files(target):
    stage = stages()[target.name]
    own = [name for name in stage["deps"] if name.startswith("results/")]
    below = {out for out in makers() for name in own if out == name or out.startswith(f"{name}/")}
    assert below == evidence_of(target)
    assert len(own) == len(set(own))
    fixed = {str(paths.FINGERPRINTS / "paper" / target.name), str(paths.PUBLISHED.parent)}
    histories = {str(paths.run(*run)) for run in FIGURES[target.name].histories} if target.name in FIGURES else set()
    assert {*stage["deps"]} - fixed - {*own} == histories
    if target.kind == "figure":
        written = [paths.paper_figure(target.name, suffix) for suffix in (".pdf", ".png")]
    else:
        written = [
            place(target.name, suffix)
            for place in (paths.paper_table, paths.versus_table)
            for suffix in (".md", ".tex")
        ]
    assert stage["outs"] == list(map(str, written))


COUNTS = {
    "table1": (24, 22), "table2": (22, 30), "table3": (3, 3), "table4": (4, 4), "table5": (15, 15), "table6": (20, 20),
    "table7": (60, 55), "table8": (55, 100), "table9": (3, 3), "table10": (4, 4), "table11": (2, 2),
    "bat_table1": (18, 18), "bat_table2": (6, 6), "bat_table3": (2, 2), "bat_table4": (2, 2),
    "figure1": (5, 5), "figure3": (5, 5), "figure4": (2, 0), "bat_figure2": (1, 2), "bat_figure4": (3, 3),
}  # fmt: skip
"""Trainings (published networks included) and evaluations of each target, counted from the papers' cells by hand."""


@pytest.mark.parametrize("name", COUNTS)
def test_no_target_asks_for_more_than_its_cells_need(name):
    names = pulled(name)
    evaluations = [one for one in names if one.split("@")[0] in paths.EVALUATIONS]
    assert (len(trainings(names)), len(evaluations)) == COUNTS[name]


def test_a_target_evaluates_nothing_that_it_does_not_show():
    evaluated = {name.split("@")[0] for name in pulled("table1")}
    assert not evaluated & {"autoattack", "square", "corruptions", "steps", "corrupt", "aggregate", "tables"}
    assert {name.split("@")[0] for name in pulled("table2")} & {"pgd", "corruptions"} == set()
    assert {name for name in pulled("figure4") if "@" in name} == {
        "train@cifar10/at/s0",
        "train@cifar10/fair_tat/s0",
        "prepare@cifar10",
    }


def test_the_plan_that_dvc_prints_on_a_fresh_clone_is_the_graph_read_here(tmp_path):
    for name in ("params.yaml", "dvc.yaml", "runs.yaml", "own.yaml"):
        shutil.copyfile(name, tmp_path / name)
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for command in (["init", "--quiet", "--no-scm"], ["repro", "report", "--dry", "--force"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert set(re.findall(r"^Running stage '(.+)':$", done.stdout, flags=re.MULTILINE)) == pulled("report")


def test_the_report_of_the_demo_trains_the_demo_only():
    assert {run.split("/")[0] for run in trainings(pulled("demo_report"))} == {"demo"}
