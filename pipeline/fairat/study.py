"""The schema of params.yaml, runs.yaml and own.yaml; nothing else reads these files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, StrictInt, ValidationError, model_validator

from fairat import paths
from fairat.errors import UserError
from fairat.methods import KINDS, part_class
from fairat.methods.method import Method
from fairat.settings.architectures import Architecture, PublishedNetwork
from fairat.settings.averaging import Averaging
from fairat.settings.base import Settings, merged
from fairat.settings.presentation import Presentation, Published
from fairat.settings.recipe import Recipe
from fairat.settings.suite import Suite
from fairat.settings.threat import Threat

RUN_SECTIONS = ("active", "trainings", "finetunes", "adoptions", "runs", "stepped")
"""The sections of runs.yaml and own.yaml."""


def run_key(suite: str, method: str, seed: int) -> str:
    """The name of a run in runs.yaml, and behind the @ of its stages."""
    return f"{suite}-{method}-s{seed}"


class RunLine(Settings):
    """One line of runs.yaml.

    Attributes:
        suite: an entry of suites.
        method: an entry of methods, or under `adoptions:` one of zoo.
        seed: of the run.
        start: the method, or entry of zoo, whose last weights, same suite and seed, a fine-tuning starts from.
    """

    suite: str
    method: str
    seed: StrictInt
    start: str | None = None

    @property
    def key(self) -> str:
        """The name a run has in runs.yaml."""
        return run_key(self.suite, self.method, self.seed)

    @property
    def text(self) -> str:
        """As in runs.yaml."""
        fields = self.model_dump(exclude_none=True)
        return f"{self.key}: {{{', '.join(f'{name}: {value}' for name, value in fields.items())}}}"


def _same_run(line: RunLine, other: RunLine | None) -> bool:
    return other is not None and line.key == other.key


class Run(ABC):
    """What a line asks for, resolved: weights in a directory of their own, and the suite under which they are evaluated."""

    def __init__(self, line: RunLine, suite: Suite, presentation: Presentation) -> None:
        self.suite_name, self.method_name, self.seed = line.suite, line.method, line.seed
        self.key, self.suite, self.presentation = line.key, suite, presentation

    @property
    @abstractmethod
    def architecture(self) -> Architecture:
        """The network."""

    @property
    @abstractmethod
    def target(self) -> str:
        """What `dvc repro` calls the stage that makes its weights."""

    @property
    def directory(self) -> Path:
        """Where its weights and history are."""
        return paths.run(self.suite_name, self.method_name, self.seed)


class Adoption(Run):
    """A published network under a suite's evaluations."""

    def __init__(self, line: RunLine, suite: Suite, published: Published) -> None:
        super().__init__(line, suite, published)
        self.published = published

    @property
    def architecture(self) -> PublishedNetwork:
        """The published one, with the place of its weights if params.yaml names one."""
        return self.published.architecture

    @property
    def target(self) -> str:
        """Its stage, for `dvc repro`."""
        return f"adopt@{self.key}"


class Training(Run):
    """One training: the settings of its suite and method, merged where the method has its own.

    Attributes:
        begun_from: the run whose last weights, and so whose network, it starts from; None for random ones.
        start: suite, method and seed of that run.
    """

    def __init__(self, line: RunLine, suite: Suite, method: Method, begun_from: Run | None = None) -> None:
        super().__init__(line, suite, method)
        self.method = method.scaled(suite.epoch_scale)
        self.begun_from = begun_from
        self.start = None if line.start is None else (line.suite, line.start, line.seed)
        self.recipe = merged(suite.recipe, method.recipe).scaled(suite.epoch_scale)
        self.averaging = merged(suite.averaging, method.averaging)

    @property
    def architecture(self) -> Architecture:
        """The suite's network, or that of the run it starts from."""
        return self.suite.architecture if self.begun_from is None else self.begun_from.architecture.unplaced()

    @property
    def target(self) -> str:
        """Its stage, for `dvc repro`."""
        return f"{'train' if self.start is None else 'finetune'}@{self.key}"

    @property
    def threat(self) -> Threat:
        """The suite's threat; the method may replace its step for training."""
        return self.suite.threat

    @property
    def settings(self) -> dict[str, Any]:
        """Every number that decides this training: what a run remembers about itself, and what makes it stale."""
        # A network that brings its own constants never sees the suite's.
        decisive = {"data"} if self.architecture.normalises_itself else {"data", "normalise", "statistics"}
        return {
            **self.suite.model_dump(mode="json", include=decisive),
            "architecture": self.architecture.model_dump(mode="json"),
            **({"start": self.start[1]} if self.start else {}),
            "seed": self.seed,
            "method": self.method.model_dump(mode="json", include={"objective", "targets", "margin", "class_weights"}),
            "threat": self.threat.model_dump(),
            "recipe": self.recipe.model_dump(mode="json"),
            "averaging": self.averaging.model_dump(mode="json"),
        }


class Study(Settings):
    """Everything: the suites and methods of params.yaml, the runs of runs.yaml and own.yaml.

    Attributes:
        active: the suites that have runs.
        trainings: runs that start from random weights.
        finetunes: runs that start from the weights of another one, of any of the three kinds.
        adoptions: published networks, to evaluate and to start from.
        runs: all three together.
        stepped: those of the runs whose attacks are also followed step by step; costly, and shown in one figure only.
    """

    suites: dict[str, Suite]
    methods: dict[str, Method]
    zoo: dict[str, Published] = {}
    active: dict[str, None] = {}
    trainings: dict[str, RunLine] = {}
    finetunes: dict[str, RunLine] = {}
    adoptions: dict[str, RunLine] = {}
    runs: dict[str, RunLine] = {}
    stepped: dict[str, RunLine] = {}

    @model_validator(mode="after")
    def _runs_refer_to_what_there_is(self) -> "Study":
        if both := sorted(set(self.methods) & set(self.zoo)):
            raise ValueError(f"zoo.{both[0]}: there is a method of this name; rename one of them")
        for name in self.methods:
            self._check_start(name)
        for section in ("trainings", "finetunes", "adoptions"):
            for key, line in getattr(self, section).items():
                self._check_line(section, key, line)
        if set(self.runs) != {*self.trainings, *self.finetunes, *self.adoptions}:
            raise ValueError("runs: must hold `<<: [*trainings, *finetunes, *adoptions]` and nothing else")
        if strange := [key for key, line in self.stepped.items() if not _same_run(line, self.runs.get(key))]:
            raise ValueError(f"stepped.{strange[0]}: there is no such line under runs:; it must be the same there")
        if unknown := sorted(set(self.active) - set(self.suites)):
            raise ValueError(f"active.{unknown[0]}: there is no such suite; there are: {', '.join(self.suites)}")
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
                f"{place}: there is no method or published network {start!r}; there are the methods "
                f"{', '.join(self.methods)}, and in zoo: {', '.join(self.zoo) or 'nothing'}. "
                f"Define it in {paths.PARAMS} or correct the name"
            )

    def _check_line(self, section: str, key: str, line: RunLine) -> None:
        place = f"{section}.{key}"
        methods = self.zoo if section == "adoptions" else self.methods
        for slot, name, known in (("suite", line.suite, self.suites), ("method", line.method, methods)):
            if name not in known:
                raise ValueError(
                    f"{place}.{slot}: there is no {slot} {name!r}; there are: {', '.join(known)}. "
                    f"Define it in {paths.PARAMS} or correct the line"
                )
        if line.suite not in self.active:
            raise ValueError(
                f"{place}.suite: {line.suite!r} is not active; "
                f"add the line `{line.suite}:` under `active:` in the same file"
            )
        if key != line.key:
            raise ValueError(f"{place}: a run is named <suite>-<method>-s<seed>; rename it to {line.key}")
        needed, belongs = self._line_of(line.suite, line.method, line.seed), self._section_of(line.method)
        if line.start != needed.start:
            wanted = f"`start: {needed.start}`" if needed.start else "no start"
            raise ValueError(f"{place}.start: is {line.start}, but {line.method} needs {wanted}, under {belongs}:")
        if section != belongs:
            begins = f"starts from {needed.start}" if needed.start else "starts from no other run"
            raise ValueError(f"{place}: {line.method} {begins}; move the line to {belongs}:")
        if needed.start:
            self._check_start_of_line(place, self._line_of(line.suite, needed.start, line.seed))

    def _check_start_of_line(self, place: str, start: RunLine) -> None:
        section = self._section_of(start.method)
        if start.key not in getattr(self, section):
            raise ValueError(
                f"{place}.start: needs the run {start.key}, which is missing; "
                f"add the line `{start.text}` under {section}: in {paths.RUN_LISTS[1]}"
            )

    def _section_of(self, method: str) -> str:
        """Where the runs of a method, or of an entry of zoo, are listed."""
        if method in self.zoo:
            return "adoptions"
        return "trainings" if self.methods[method].starts_from is None else "finetunes"

    def _line_of(self, suite: str, method: str, seed: int) -> RunLine:
        """The line that asks for a run of a method, or of an entry of zoo."""
        start = self.methods[method].starts_from if method in self.methods else None
        return RunLine(suite=suite, method=method, seed=seed, start=start)

    @cached_property
    def resolved(self) -> dict[str, Run]:
        """Every run, by its key."""
        return {key: self._resolve(line) for key, line in self.runs.items()}

    def _resolve(self, line: RunLine) -> Run:
        suite = self.suites[line.suite]
        if line.method in self.zoo:
            return Adoption(line, suite, self.zoo[line.method])
        # Validation saw to it that starts are there, and end.
        start = None if line.start is None else self._resolve(self.runs[run_key(line.suite, line.start, line.seed)])
        return Training(line, suite, self.methods[line.method], start)

    def run(self, suite: str, method: str, seed: int) -> Run:
        """One run; UserError if no line of runs.yaml or own.yaml asks for it."""
        key = run_key(suite, method, seed)
        if key not in self.resolved:
            raise UserError(
                f"There is no run {key}. Add the line `{self._line_of(suite, method, seed).text}` to "
                f"{paths.RUN_LISTS[1]}, or choose one of: {', '.join(self.runs)}."
            )
        return self.resolved[key]

    def training(self, suite: str, method: str, seed: int) -> Training:
        """One run that is trained; UserError if there is none."""
        run = self.run(suite, method, seed)
        if not isinstance(run, Training):
            raise UserError(f"{run.key} is a published network: adopt it with `dvc repro {run.target}`.")
        return run

    def adoption(self, suite: str, name: str, seed: int) -> Adoption:
        """One published network; UserError if there is none."""
        run = self.run(suite, name, seed)
        if not isinstance(run, Adoption):
            raise UserError(f"{run.key} is trained here: `dvc repro {run.target}`.")
        return run

    def suite(self, name: str) -> Suite:
        """One suite; UserError if there is none of that name."""
        if name not in self.suites:
            raise UserError(f"There is no suite {name!r} in {paths.PARAMS}; there are: {', '.join(self.suites)}.")
        return self.suites[name]

    def runs_of(self, suite: str) -> list[Run]:
        """The runs of a suite, in the order of params.yaml's methods, then of seeds."""
        order = [*self.methods, *self.zoo]
        runs = [run for run in self.resolved.values() if run.suite_name == suite]
        return sorted(runs, key=lambda run: (order.index(run.method_name), run.seed))


def load_study(params: Path = paths.PARAMS, run_lists: Sequence[Path] = paths.RUN_LISTS) -> Study:
    """Reads and checks the whole study.

    Raises:
        UserError: a file is missing or no YAML, or a key or value is wrong; every wrong key is named by its full path.
    """
    content = _read(params)
    for path in run_lists:
        for section, lines in _read(path).items():
            if section not in RUN_SECTIONS:
                raise UserError(f"{path}: {section}: unknown section; there are: {', '.join(RUN_SECTIONS)}.")
            content[section] = {**content.get(section, {}), **(lines or {})}
    try:
        study = Study.model_validate(content)
        study.resolved  # noqa: B018  # merges every method's recipe, so that a wrong key in one is found here
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in _described(error, content))
        raise UserError(
            f"{params} (with {', '.join(map(str, run_lists))}) is not right:\n{lines}\n"
            "Correct it and run the command again; nothing was changed."
        ) from None
    return study


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML, YAMLError

    try:
        content = YAML(typ="safe").load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"There is no {path} here ({Path.cwd()}); run the command in the repository's root.") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
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
