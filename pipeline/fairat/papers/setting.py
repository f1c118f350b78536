"""The experiment behind a table or figure: what its caption says of it, and in what it is not the papers' own."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from fairat import paths
from fairat.papers.needs import stage_of
from fairat.rendering.filling import NOT_THE_PAPERS
from fairat.rendering.notes import budget_notes
from fairat.rendering.table import Address, Row, evaluation_heading
from fairat.results.significance import compare
from fairat.settings.suite import Suite
from fairat.study import Run, Study, Training, load_study
from fairat.training.record import RunRecord

UNTRAINED = "trained from random weights, not from the checkpoint that the paper starts from"

MAIN_SUITE = "cifar10"
"""The papers' experiment that a suite of another name is compared with."""

_NOTHING = (
    "title",
    "reads",
    "label",
    "short",
    "group",
    "ours",
    "threads",
    "weights",
    "archive",
    "path",
    "url",
    "md5",
    "checkpoint",
)
"""Settings that make no other experiment, wherever they stand: names, threads, which weights are shown, where a file lies."""

_WORDS = {
    "architecture": "network",
    "architecture.width": "network width",
    "threat.epsilon": "radius",
    "threat.step_size": "step size of training attacks",
    "threat.num_steps": "steps of training attacks",
    "epoch_scale": "share of the epochs",
    "data.source": "images",
    "data.corruptions": "corrupted images",
    "data.images_per_class.train": "training images of a class",
    "data.images_per_class.test": "test images of a class",
    "evaluation.pgd.step_size": "step size of PGD",
    "evaluation.pgd.restarts": "restarts of PGD",
    "evaluation.autoattack.iterations": "iterations of AutoAttack",
    "evaluation.autoattack.target_classes": "target classes of AutoAttack",
    "evaluation.autoattack.queries": "Square queries of AutoAttack",
    "evaluation.autoattack.images": "test images of AutoAttack",
    "evaluation.square.queries": "queries of Square",
    "evaluation.square.images": "test images of Square",
}


def sentence(runs: Sequence[Run], evaluations: Sequence[str]) -> str:
    """Network and width, radius, attacks and epochs of some runs, suite by suite where these differ.

    Args:
        runs: those that a table or figure shows; at least one.
        evaluations: names of the tidy table that it shows, such as pgd10.
    """
    suites = {run.suite_name: run.suite for run in runs}
    said = {name: _of_suite([run for run in runs if run.suite_name == name], evaluations) for name in suites}
    if len(set(said.values())) == 1:
        return f"{next(iter(said.values()))}."
    return " ".join(f"{suites[name].title}: {text}." for name, text in said.items())


def _of_suite(runs: Sequence[Run], evaluations: Sequence[str]) -> str:
    suite, trainings = runs[0].suite, [run for run in runs if isinstance(run, Training)]
    networks = dict.fromkeys(run.architecture.title for run in trainings) or {"networks as published": None}
    parts = [" and ".join(networks)]
    parts.append(f"ε = {_in_255ths(suite.threat.epsilon)}")
    if epochs := sorted({run.recipe.epochs for run in trainings}):
        span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
        attack = f"{suite.threat.num_steps} steps of {_in_255ths(suite.threat.step_size)}"
        parts.append(f"trained for {span} epoch{'s' if epochs[-1] > 1 else ''} with attacks of {attack}")
    if pgd := [evaluation_heading(name) for name in evaluations if name.startswith("pgd")]:
        parts.append(f"{' and '.join(pgd)} with steps of {_in_255ths(suite.evaluation.pgd.step_size)}")
    return ", ".join(parts)


def differences(
    study: Study, suite: str, methods: Sequence[str], evaluations: Sequence[str], stands_for: str = ""
) -> list[str]:
    """In what an experiment is not the papers' own, a line each; none where it is.

    Args:
        study: with the settings that are used.
        suite: of the experiment.
        methods: whose numbers are shown. One that no paper has is compared by its suite alone.
        evaluations: stages (`fairat.paths.EVALUATIONS`) whose numbers are shown; the protocol of others does not matter.
        stands_for: the suite of the papers that it is compared with; the one of the same name, or `MAIN_SUITE`.
    """
    papers, settings = papers_study(), study.suite(suite)
    theirs = papers.suites.get(stands_for or suite, papers.suites[MAIN_SUITE])
    found = list(_compared(_facts(settings, evaluations), _facts(theirs, evaluations)))
    if settings.architecture.caution:
        found.append(UNTRAINED)
    for name in dict.fromkeys(methods):
        if name in study.methods and name in papers.methods:
            mine, printed = (one.methods[name].model_dump(mode="json") for one in (study, papers))
            found += [f"{study.methods[name].label}: {line}" for line in _compared(mine, printed)]
    return list(dict.fromkeys(found))


@cache
def papers_study() -> Study:
    """The suites and methods with the papers' settings."""
    return load_study([paths.PUBLISHED_PARAMS])


def _facts(suite: Suite, evaluations: Sequence[str]) -> dict[str, Any]:
    facts = suite.model_dump(mode="json")
    memory = ("batch_size", "block_size")
    facts["evaluation"] = {
        stage: {name: value for name, value in facts["evaluation"][stage].items() if name not in memory}
        for stage in evaluations
    }
    if "corruptions" not in evaluations:
        del facts["data"]["corruptions"]
    return facts


def _compared(ours: Mapping[str, Any], theirs: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """A line for each setting that differs; of another kind of thing the kind alone."""
    for name in dict.fromkeys((*ours, *theirs)):
        mine, printed, path = ours.get(name), theirs.get(name), f"{above}{name}"
        if mine == printed or name in _NOTHING:
            continue
        if name == "statistics" and mine is None:  # those of the training images, whatever they are
            continue
        if isinstance(mine, dict) and isinstance(printed, dict) and mine.get("kind") == printed.get("kind"):
            yield from _compared(mine, printed, f"{path}.")
        else:
            words = _WORDS.get(path, path.replace(".", " ").replace("_", " "))
            yield f"{words} {_said(mine, name)} instead of {_said(printed, name)}"


def _said(value: Any, name: str) -> str:
    if isinstance(value, dict):
        return str(value.get("kind") or ", ".join(f"{key} {_said(one, key)}" for key, one in value.items()) or "none")
    if isinstance(value, list | tuple):
        return ", ".join(_said(one, name) for one in value) or "none"
    if value is None:
        return "all" if name in ("images", "train", "test") else "none"
    if name in ("epsilon", "step_size"):
        return _in_255ths(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_255ths(value: float) -> str:
    return f"{255 * value:.6g}/255"


def about(study: Study, runs: Sequence[Run], stands_for: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What tables and figures of some runs say of the experiment: fields of `fairat.rendering.filling.Content`.

    Args:
        study: with the settings that are used.
        runs: those that are shown, whether they are done or not.
        stands_for: the suite of the papers that a suite is compared with, if it is not the one of its name.
    """
    methods: dict[str, list[str]] = {}
    for run in runs:
        methods.setdefault(run.suite_name, []).append(run.method_name)

    def said(evaluations: Sequence[str]) -> list[str]:
        stages = list(dict.fromkeys(map(stage_of, evaluations)))
        found = {
            suite: differences(study, suite, names, stages, (stands_for or {}).get(suite, ""))
            for suite, names in methods.items()
        }
        if len(found) == 1:
            return next(iter(found.values()))
        return [f"{study.suites[suite].title}: {line}" for suite, lines in found.items() for line in lines]

    return {
        "setting": lambda evaluations: sentence(runs, evaluations) if runs else "",
        "differences": said,
        "notes": {
            (suite, evaluation): note
            for suite in methods
            for evaluation, note in budget_notes(study.suites[suite].evaluation).items()
        },
    }


def caption(study: Study, runs: Sequence[Run], table: pd.DataFrame, evaluations: Sequence[str]) -> str:
    """What stands below a figure of some runs: of which experiment it is, on how many images and from how many seeds."""
    said = about(study, runs)
    parts = [NOT_THE_PAPERS] if said["differences"](evaluations) else []
    parts.append(said["setting"](evaluations))
    shown = table.loc[table["corruption"] == ""] if len(table) else table
    if len(shown):
        seeds = shown["seed"].nunique()
        parts.append(f"{shown['images'].max():,} test images, {seeds} seed{'s' * (seeds != 1)}.")
    return " ".join(parts)


def significant(rows: Mapping[str, Sequence[Row]], files: Sequence[Path]) -> frozenset[Address]:
    """The numbers of rows that differ from their base's by more than chance explains; see `fairat.results.significance`.

    Args:
        rows: of each suite; those without a base are passed over.
        files: the evidence; that of corruptions is not read.
    """
    found = set()
    for suite, of_suite in rows.items():
        pairs: dict[tuple[str, str], set[str]] = {}
        for row in of_suite:
            if row.base:
                pairs.setdefault((row.method, row.base), set()).add(row.weights)
        for (method, base), weights in pairs.items():
            used = [path for path in files if path.parent.parent.name == suite and path.parts[-4] != "corruptions"]
            for one in compare(suite, {method: base}, used):
                if one.difference.significant and one.block.weights in weights:
                    found.add(Address(suite, method, one.block.weights, one.block.evaluation, one.metric))
    return frozenset(found)


_WHY_EQUAL = {
    "ema": "averaging began with the last epoch",
    "fawa": "FAWA's gate was open in the last epoch only, or in every epoch",
    "best": "the last epoch was the best one",
}


def equal_weights(records: Iterable[RunRecord]) -> dict[tuple[str, str, str], str]:
    """The (suite, method, weights) that are another set of the same run, in every seed; and what a table says instead."""
    equal: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        first: dict[str, str] = {}
        for name, weights in record.weights.items():
            if weights.present:
                twin = first.setdefault(weights.sha256, name)
                equal.setdefault((record.suite, record.method, name), []).append(twin if twin != name else "")
    return {
        key: f"{_WHY_EQUAL.get(key[2], 'equal by construction')}: these are the {twins[0]} weights"
        for key, twins in equal.items()
        if twins[0] and len(set(twins)) == 1
    }


def without(table: pd.DataFrame, rows: Collection[tuple[str, str, str]]) -> pd.DataFrame:
    """The tidy table without some (suite, method, weights)."""
    return table.loc[~table.set_index(["suite", "method", "weights"]).index.isin(list(rows))]
