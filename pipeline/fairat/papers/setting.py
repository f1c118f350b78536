"""The experiment behind a table or figure: what its caption says of it, and in what it is not the papers' own."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from fairat import paths
from fairat.rendering.table import evaluation_heading
from fairat.settings.suite import Suite
from fairat.study import Run, Study, Training, load_study

MAIN_SUITE = "cifar10"
"""The papers' experiment that a suite of another name is compared with."""

NOT_THE_PAPERS = "Not the papers' settings."
"""The first words of a caption."""

_NOTHING = ("title", "threads", "weights", "batch_size", "block_size", "archive", "path", "url", "md5", "checkpoint")
"""Settings that make no other experiment, wherever they stand: names, memory, where a file lies."""

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
    parts = [" and ".join(dict.fromkeys(run.architecture.title for run in runs))]
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
    for name in methods:
        if name in study.methods and name in papers.methods:
            mine, printed = (one.methods[name].model_dump(mode="json") for one in (study, papers))
            found += [f"{study.methods[name].label}: {line}" for line in _compared(mine, printed)]
    return list(dict.fromkeys(found))


UNTRAINED = "trained from random weights, not from the checkpoint that the paper starts from"


@cache
def papers_study() -> Study:
    """The suites and methods with the papers' settings."""
    return load_study([paths.PUBLISHED_PARAMS])


def _facts(suite: Suite, evaluations: Sequence[str]) -> dict[str, Any]:
    facts = suite.model_dump(mode="json")
    facts["evaluation"] = {stage: facts["evaluation"][stage] for stage in evaluations}
    if "corruptions" not in evaluations:
        del facts["data"]["corruptions"]
    return facts


def _compared(ours: Mapping[str, Any], theirs: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """A line for each setting that differs; of another kind of thing the kind alone."""
    for name in dict.fromkeys((*ours, *theirs)):
        mine, printed, path = ours.get(name), theirs.get(name), f"{above}{name}"
        if mine == printed or name in (*_NOTHING, "label", "short", "group", "ours"):
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
