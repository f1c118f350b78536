"""What every stage depends on besides its files: the code it uses and its resolved numbers."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fairat import paths
from fairat.fingerprint import fingerprint
from fairat.methods.catalogue import CATALOGUE, module_of
from fairat.papers.figure_rows import SHOWN_SUITES
from fairat.settings.architectures import Architecture
from fairat.settings.suite import Suite
from fairat.study import Adoption, Study, Training, load_study


def contents() -> Iterator[tuple[Path, str]]:
    """Path below fingerprints/ and text of every fingerprint."""
    for name, modules, settings in _stages():
        yield name, json.dumps(fingerprint(modules, settings), indent=1, sort_keys=True) + "\n"


def _stages() -> Iterator[tuple[Path, list[str], dict[str, Any]]]:
    """The name of each fingerprint, the modules it starts from, and the numbers it holds."""
    study = load_study()
    for name, suite in study.suites.items():
        data = suite.data.model_dump(mode="json")
        architecture = network_modules(suite.architecture)
        yield Path("prepare", name), ["stages.prepare"], data
        yield Path("corrupt", name), ["stages.corrupt"], data
        for evaluation in paths.EVALUATIONS:
            modules = ["stages.evaluate", f"fairat.evaluation.{evaluation}", *architecture]
            stepped = [key for key in study.stepped if study.resolved[key].suite_name == name]
            for place in stepped if evaluation == "steps" else [name]:
                yield Path(evaluation, place), modules, _protocol(suite, evaluation)
        yield Path("aggregate", name), ["stages.aggregate"], {}
        yield Path("tables", name), ["stages.tables"], _presentation(study, name)
        yield Path("significance", name), ["stages.significance"], _presentation(study, name)
    yield Path("demo", "demo"), ["stages.demo"], {}
    yield Path("report", "report"), ["stages.report"], {}
    for name, shown in SHOWN_SUITES.items():
        yield Path("paper", name), ["stages.paper"], _presentation_of_paper(study, shown)
    for run in study.resolved.values():
        if isinstance(run, Adoption):
            settings = run.architecture.model_dump(mode="json", exclude={"path"})
            yield (
                Path("train", run.key),
                ["stages.train", "fairat.training.adoption", run.architecture.module],
                settings,
            )
        if not isinstance(run, Training):
            continue
        modules = ["stages.train", *network_modules(run.architecture)]
        modules += [module_of(slot, getattr(run.method, slot).kind) for slot in CATALOGUE]
        # The images reach DVC as data/<suite>: where they came from decides nothing.
        settings = {key: value for key, value in run.settings.items() if key not in ("seed", "data")}
        yield Path("train", run.key), modules, settings


def network_modules(architecture: Architecture) -> list[str]:
    """The modules that build a network, and load it where it is published; all are imported by name."""
    return ["fairat.models.normalization", architecture.module]


def _protocol(suite: Suite, evaluation: str) -> dict[str, Any]:
    settings = getattr(suite.evaluation, evaluation).model_dump(mode="json")
    return {"epsilon": suite.threat.epsilon, "weights": suite.weights, **settings}


def _presentation(study: Study, suite: str) -> dict[str, Any]:
    methods = {run.method_name: run.presentation for run in study.runs_of(suite)}
    words = {"label", "short", "group", "ours"}
    return {
        "title": study.suites[suite].title,
        "evaluation": study.suites[suite].evaluation.model_dump(mode="json"),
        "methods": [(name, method.model_dump(include=words)) for name, method in methods.items()],
    }


def _presentation_of_paper(study: Study, suites: Iterable[str]) -> dict[str, Any]:
    """Headings and budgets; the rows are the papers' own."""
    return {
        name: {
            "title": study.suites[name].title,
            "evaluation": study.suites[name].evaluation.model_dump(mode="json"),
        }
        for name in suites
        if name in study.suites
    }
