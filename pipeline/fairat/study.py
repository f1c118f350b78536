"""The schema of params.yaml, runs.yaml and own.yaml; nothing else reads these files."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError, model_validator

from fairat import paths
from fairat.errors import UserError, on_one_line
from fairat.methods import KINDS, part_class
from fairat.methods.method import Method
from fairat.settings.architectures import Architecture, PublishedNetwork
from fairat.settings.averaging import Averaging
from fairat.settings.base import Settings, merged
from fairat.settings.data import ImageFolder
from fairat.settings.presentation import Presentation, Published
from fairat.settings.recipe import Recipe
from fairat.settings.suite import Suite

KEY = re.compile(r"[^/]+/[^/]+/s(0|[1-9]\d*)")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_-])?")
"""What DVC, shells, file systems and MLflow all take for a name."""

SECTIONS = {
    paths.PARAMS: ("methods", "zoo", "suites"),
    paths.RUNS: ("runs", "stepped"),
    paths.OWN: ("methods", "zoo", "suites", "runs", "stepped"),
}
"""What each file may hold."""


def run_key(suite: str, method: str, seed: int) -> str:
    """The name of a run in runs.yaml, below runs/, and behind the @ of its stages."""
    return f"{suite}/{method}/s{seed}"


class RunLine(Settings):
    """What runs.yaml says of a run, behind its name `<suite>/<method>/s<seed>`.

    Attributes:
        suite: as in the name; DVC cannot take names apart.
        start: what the training starts from: the data of the suite (random weights), or the directory of another run.
    """

    suite: str
    start: str


class Run:
    """What a line asks for, resolved: weights in a directory of their own, and the suite under which they are evaluated."""

    def __init__(self, key: str, suite: Suite, presentation: Presentation, architecture: Architecture) -> None:
        self.key, self.suite, self.presentation, self.architecture = key, suite, presentation, architecture
        self.suite_name, self.method_name, self.seed = split_key(key)

    @property
    def directory(self) -> Path:
        """Where its weights and history are."""
        return paths.run(self.suite_name, self.method_name, self.seed)


class Adoption(Run):
    """A published network under a suite's evaluations; its architecture may name the place of its weights."""

    architecture: PublishedNetwork


class Training(Run):
    """One training: the settings of its suite and method, merged where the method has its own.

    Attributes:
        architecture: the suite's network, or that of the run it starts from.
        threat: the suite's; the method may replace its step for training.
        begun_from: the run whose last weights, and so whose network, it starts from; None for random ones.
    """

    def __init__(self, key: str, suite: Suite, method: Method, begun_from: Run | None = None) -> None:
        super().__init__(
            key, suite, method, suite.architecture if begun_from is None else begun_from.architecture.unplaced()
        )
        self.method, self.threat, self.begun_from = method.scaled(suite.epoch_scale), suite.threat, begun_from
        self.recipe = merged(suite.recipe, method.recipe).scaled(suite.epoch_scale)
        self.averaging = merged(suite.averaging, method.averaging)

    @property
    def cautions(self) -> list[str]:
        """What the training would do that its user hardly wants, a sentence each."""
        own = [self.architecture.caution] if self.architecture.caution and self.begun_from is None else []
        return [*own, *self.method.cautions(self.recipe.epochs)]

    @property
    def settings(self) -> dict[str, Any]:
        """Every number that decides this training: what a run remembers about itself, and what makes it stale."""
        # A network that brings its own constants never sees the suite's.
        decisive = {"data"} if self.architecture.normalizes_itself else {"data", "normalize", "statistics"}
        return {
            **self.suite.model_dump(mode="json", include=decisive),
            "architecture": self.architecture.decisive(),
            **({"start": self.begun_from.method_name} if self.begun_from else {}),
            "seed": self.seed,
            "method": self.method.model_dump(mode="json", include={"objective", "targets", "margin", "class_weights"}),
            "threat": self.threat.model_dump(),
            "recipe": self.recipe.model_dump(mode="json"),
            "averaging": self.averaging.model_dump(mode="json"),
        }


class Study(Settings):
    """Everything: the suites and methods of params.yaml, the runs of runs.yaml, and what own.yaml adds to both.

    Attributes:
        zoo: published networks, to evaluate and to start from.
        runs: every run, by its name.
        stepped: those of the runs whose attacks are also followed step by step; costly, and shown in one figure only.
    """

    suites: dict[str, Suite]
    methods: dict[str, Method]
    zoo: dict[str, Published] = {}
    runs: dict[str, RunLine] = {}
    stepped: dict[str, None] = {}

    @model_validator(mode="after")
    def _runs_refer_to_what_there_is(self) -> "Study":
        for section in ("suites", "methods", "zoo"):
            _check_names(section, getattr(self, section))
        for name, suite in self.suites.items():
            _check_reads(name, suite)
        if both := sorted(set(self.methods) & set(self.zoo)):
            raise ValueError(f"zoo.{both[0]}: there is a method of this name; rename one of them")
        for name in self.methods:
            self._check_start(name)
        for key, line in self.runs.items():
            self._check_line(key, line)
        if strange := [key for key in self.stepped if key not in self.runs]:
            raise ValueError(f"stepped.{strange[0]}: there is no such run under runs:")
        return self

    def _check_start(self, method: str) -> None:
        """Follows `starts_from` to a method that starts from random weights, or to a published network."""
        followed, place = [method], f"methods.{method}.starts_from"
        while followed[-1] in self.methods and (start := self.methods[followed[-1]].starts_from) is not None:
            if start in followed:
                circle = " -> ".join((*followed, start))
                raise ValueError(f"{place}: goes in a circle, {circle}; let one of them start from random weights")
            followed.append(start)
        start = self.methods[method].starts_from
        if start is not None and start not in {*self.methods, *self.zoo}:
            raise ValueError(
                f"{place}: there is no method or published network {start!r}"
                f"{nearest(start, [*self.methods, *self.zoo])}; there are the methods {', '.join(self.methods)}, "
                f"and in zoo: {', '.join(self.zoo) or 'nothing'}. Define it in {paths.OWN} or correct the name"
            )

    def _check_line(self, key: str, line: RunLine) -> None:
        place = f"runs.{key}"
        if not KEY.fullmatch(key):
            raise ValueError(f"{place}: a run is named <suite>/<method>/s<seed>, such as demo/at/s0")
        if unknown := self._unknown(key):
            raise ValueError(f"{place}: {unknown}")
        if line != (right := self._line(key)):
            raise ValueError(f"{place}: is {written(line)}, but must be {written(right)}")
        if line.start.startswith("runs/") and (start := line.start.removeprefix("runs/")) not in self.runs:
            raise ValueError(
                f"{place}.start: needs the run {start}, which is missing; add the line "
                f"`{start}: {written(self._line(start))}` under runs: in {paths.OWN}"
            )

    def _unknown(self, key: str) -> str:
        """What is wrong with the suite or method that a run is named after; empty if both are there."""
        suite, method, _ = split_key(key)
        for what, name, known in (("suite", suite, self.suites), ("method", method, {**self.methods, **self.zoo})):
            if name not in known:
                return (
                    f"there is no {what} {name!r}{nearest(name, known)}; there are: {', '.join(known)}. "
                    f"Define it in {paths.OWN} or correct the name"
                )
        return ""

    def _line(self, key: str) -> RunLine:
        """What runs.yaml must say of a run."""
        suite, method, seed = split_key(key)
        start = self.methods[method].starts_from if method in self.methods else None
        begins = paths.dataset(suite) if start is None else paths.run(suite, start, seed)
        return RunLine(suite=suite, start=str(begins))

    @cached_property
    def resolved(self) -> dict[str, Run]:
        """Every run, by its name."""
        return {key: self._resolve(key) for key in self.runs}

    def _resolve(self, key: str) -> Run:
        suite, method, _ = split_key(key)
        if method in self.zoo:
            return Adoption(key, self.suites[suite], self.zoo[method], self.zoo[method].architecture)
        start = self.runs[key].start
        # Validation saw to it that starts are there, and end.
        begun_from = self._resolve(start.removeprefix("runs/")) if start.startswith("runs/") else None
        return Training(key, self.suites[suite], self.methods[method], begun_from)

    def run(self, suite: str, method: str, seed: int) -> Run:
        """One run; UserError if no line of runs.yaml or own.yaml asks for it."""
        return self.named(run_key(suite, method, seed))

    def named(self, key: str) -> Run:
        """The run of a name; UserError if no line of runs.yaml or own.yaml asks for it."""
        if key in self.resolved:
            return self.resolved[key]
        if not KEY.fullmatch(key):
            raise UserError(f"{key!r} names no run; a run is named <suite>/<method>/s<seed>, such as demo/at/s0.")
        if unknown := self._unknown(key):
            raise UserError(f"There is no run {key}: {unknown}.")
        raise UserError(
            f"There is no run {key}{nearest(key, self.runs)}. "
            f"Add the line `{key}: {written(self._line(key))}` under runs: in {paths.OWN}."
        )

    def suite(self, name: str) -> Suite:
        """One suite; UserError if there is none of that name."""
        if name not in self.suites:
            near = nearest(name, self.suites)
            raise UserError(f"There is no suite {name!r}{near}; there are: {', '.join(self.suites)}.")
        return self.suites[name]

    def runs_of(self, suite: str) -> list[Run]:
        """The runs of a suite, in the order of params.yaml's methods, then of seeds."""
        order = [*self.methods, *self.zoo]
        runs = [run for run in self.resolved.values() if run.suite_name == suite]
        return sorted(runs, key=lambda run: (order.index(run.method_name), run.seed))

    def evidence_of(self, suite: str) -> list[Path]:
        """The evidence of the suite's tables that there is: of every run and every evaluation but `steps`."""
        evaluations = [name for name in paths.EVALUATIONS if name != "steps"]
        return [
            path
            for run in self.runs_of(suite)
            for evaluation in evaluations
            if (path := paths.evidence(suite, run.seed, evaluation, run.method_name)).exists()
        ]


def _check_names(section: str, names: Iterable[str]) -> None:
    """Names become parts of files, of DVC's stages and of commands."""
    seen: dict[str, str] = {}
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"{section}.{name}: {name!r} cannot be a name: DVC, shells and file systems must take it. Use up to 64 letters "
                "and digits of ASCII, with _, - or . between them"
            )
        if section == "suites" and name.endswith("-corrupted"):
            raise ValueError(f"suites.{name}: data/{name} would hold the corrupted images of another suite; rename it")
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"{section}.{name}: some file systems do not tell it from {section}.{other}; rename one of them"
            )


def _check_reads(name: str, suite: Suite) -> None:
    """DVC cannot look into a source, so a suite says twice where images of one's own are."""
    source = suite.data.source
    if isinstance(source, ImageFolder) and suite.reads != str(source.path):
        raise ValueError(
            f"suites.{name}.reads: is {suite.reads or 'missing'}, but must be the path of the images, {source.path}: there "
            "DVC sees that images were changed, added or removed"
        )


def split_key(key: str) -> tuple[str, str, int]:
    """Suite, method and seed that the name of a run stands for."""
    suite, method, seed = key.split("/")
    return suite, method, int(seed.removeprefix("s"))


def written(line: RunLine) -> str:
    """As in runs.yaml."""
    return f"{{suite: {line.suite}, start: {line.start}}}"


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'fair_tat'?)` where something is alike, else nothing."""
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def load_study(files: Sequence[Path] = tuple(SECTIONS)) -> Study:
    """Reads and checks the whole study.

    Args:
        files: params.yaml, runs.yaml and own.yaml, or others of these names.

    Raises:
        UserError: a file is missing or no YAML, or a key or value is wrong; every wrong key is named by its full path.
    """
    content: dict[str, dict[str, Any]] = {}
    for path in files:
        for section, entries in _read(path).items():
            _add(content, path, str(section), entries or {})
    try:
        study = Study.model_validate(content)
        study.resolved  # noqa: B018  # merges every method's recipe, so that a wrong key in one is found here
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in _described(error, content))
        raise UserError(
            f"{files[0]} (with {', '.join(map(str, files[1:]))}) is not right:\n{lines}\n"
            "Correct it and run the command again; nothing was changed."
        ) from None
    return study


def _add(content: dict[str, dict[str, Any]], path: Path, section: str, entries: Any) -> None:
    """Adds one section of a file to what the files before it hold."""
    allowed = SECTIONS[Path(path.name)]
    if section not in allowed:
        near = nearest(section, allowed)
        raise UserError(f"{path}: {section}: unknown section{near}; there are: {', '.join(allowed)}.")
    if not isinstance(entries, dict):
        raise UserError(f"{path}: {section}: must hold names with settings, but holds {type(entries).__name__}.")
    if twice := sorted(map(str, content.get(section, {}).keys() & entries.keys())):
        raise UserError(f"{path}: {section}.{twice[0]}: there is one of this name already; choose another name.")
    content[section] = {**content.get(section, {}), **entries}


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML, YAMLError

    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no {path} here ({Path.cwd()}); run the command in the repository's root.") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {on_one_line(error)}") from None
    if content is None:  # own.yaml ships as comments only
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold sections such as `runs:`, but holds {type(content).__name__}.")
    return content


def _described(error: ValidationError, content: dict[str, Any]) -> Iterator[str]:
    """One line per wrong value: its full path, what is wrong, what was given; of an unknown key, those that there are."""
    for item in error.errors(include_url=False):
        location = [part for part in item["loc"] if not str(part).endswith("]")]
        message, given = item["msg"].removeprefix("Value error, "), f" (given: {item['input']!r})"
        if item["type"] == "extra_forbidden":
            given = _near(str(location[-1]), _keys(Study, location[:-1], content) if error.title == "Study" else [])
        elif item["type"] == "missing" or "error" in item.get("ctx", {}):
            given = ""
        path = ".".join(map(str, location))
        yield f"{path + ': ' if path else ''}{message}{given}"


def _near(key: str, keys: Sequence[str]) -> str:
    similar = "".join(f"; did you mean {near}?" for near in get_close_matches(key, keys, n=1))
    return f"; there are: {', '.join(keys)}{similar}" if keys else ""


def _keys(schema: Any, location: Sequence[Any], content: Any) -> list[str]:
    """The keys of what lies at a location below a schema; of alternatives, those of the one that the content chose."""
    if get_origin(schema) in (Union, UnionType):
        return next((keys for member in get_args(schema) if (keys := _keys(member, location, content))), [])
    if get_origin(schema) in (dict, tuple):
        return _keys(get_args(schema)[get_origin(schema) is dict], location[1:], content[location[0]])
    if not (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return []
    if not location:
        return list(schema.model_fields)
    here, *rest = location
    if here not in schema.model_fields:  # a kind: pydantic adds it to the location
        kind = schema.model_fields.get("kind")
        return _keys(schema, rest, content) if kind and kind.default == here else []
    held = schema.model_fields[here].annotation
    if schema is Method:
        held = (
            part_class(here, content[here]["kind"])
            if here in KINDS
            else {"recipe": Recipe, "averaging": Averaging}[here]
        )
    return _keys(held, rest, content[here])
