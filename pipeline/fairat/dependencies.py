"""What every stage depends on besides its files: the code it uses and its resolved numbers."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fairat.evaluation import EVALUATIONS
from fairat.fingerprint import fingerprint
from fairat.models import NETWORKS
from fairat.papers.figure_rows import SHOWN_SUITES
from fairat.settings.architectures import Architecture
from fairat.settings.suite import Suite
from fairat.study import Adoption, Study, Training, load_study


def contents(root: Path = Path()) -> Iterator[tuple[Path, str]]:
    """Path below fingerprints/ and text of every fingerprint, for the code below `root`."""
    for name, starts, settings in _stages():
        yield name, json.dumps(fingerprint(starts, settings, root), indent=1, sort_keys=True) + "\n"


def _stages() -> Iterator[tuple[Path, list[str], dict[str, Any]]]:
    """The name of each fingerprint, where it starts, and the numbers it holds."""
    study = load_study()
    for name, suite in study.suites.items():
        data = suite.data.model_dump(mode="json")
        yield Path("prepare", name), ["stages.prepare", *classes(suite.data)], data
        yield Path("corrupt", name), ["stages.corrupt", *classes(suite.data)], data
        for evaluation, module in EVALUATIONS.items():
            starts = ["stages.evaluate", module.__name__, *network(suite.architecture)]
            stepped = [key for key in study.stepped if study.resolved[key].suite_name == name]
            for place in stepped if evaluation == "steps" else [name]:
                yield Path(evaluation, place), starts, _protocol(suite, evaluation)
        yield Path("aggregate", name), ["stages.aggregate"], {}
        yield Path("tables", name), ["stages.tables"], _presentation(study, name)
        yield Path("significance", name), ["stages.significance"], _presentation(study, name)
    yield Path("demo", "demo"), ["stages.demo"], {}
    yield Path("report", "report"), ["stages.report", "fairat.papers"], {}
    for name, shown in SHOWN_SUITES.items():
        yield Path("paper", name), ["stages.paper", "fairat.papers"], _presentation_of_paper(study, shown)
    for run in study.resolved.values():
        starts = ["stages.train", *network(run.architecture)]
        if isinstance(run, Adoption):
            yield Path("train", run.key), starts, run.architecture.decisive()
        elif isinstance(run, Training):
            chosen = [run.method, run.recipe, run.averaging]
            # The images reach DVC as data/<suite>: where they came from decides nothing.
            settings = {key: value for key, value in run.settings.items() if key not in ("seed", "data")}
            yield Path("train", run.key), [*starts, *(name for value in chosen for name in classes(value))], settings


def classes(value: Any) -> Iterator[str]:
    """The classes of settings, and of all that they hold."""
    if isinstance(value, BaseModel):
        yield _place(type(value))
    held = vars(value).values() if isinstance(value, BaseModel) else value if isinstance(value, tuple) else ()
    for item in held:
        yield from classes(item)


def network(architecture: Architecture) -> Iterator[str]:
    """The settings of a network, and the functions that build and load it."""
    used = (type(architecture), *NETWORKS[type(architecture)])
    return (_place(thing) for thing in used if thing is not None)


def _place(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__name__}"


def _protocol(suite: Suite, evaluation: str) -> dict[str, Any]:
    settings = getattr(suite.evaluation, evaluation).model_dump(mode="json")
    return {"epsilon": suite.threat.epsilon, "weights": suite.weights, **settings}


def _presentation(study: Study, suite: str) -> dict[str, Any]:
    """Heading, budgets and rows."""
    methods = {run.method_name: run.presentation for run in study.runs_of(suite)}
    words = {"label", "short", "group", "ours"}
    rows = [(name, method.model_dump(include=words)) for name, method in methods.items()]
    return {**study.suites[suite].model_dump(mode="json", include={"title", "evaluation"}), "methods": rows}


def _presentation_of_paper(study: Study, suites: Iterable[str]) -> dict[str, Any]:
    """Headings and budgets; the rows are the papers' own."""
    words = {"title", "evaluation"}
    return {name: study.suites[name].model_dump(mode="json", include=words) for name in suites if name in study.suites}
