"""How far the runs of a table are: which evidence may be shown, why the rest may not, and what making it would cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fairat import paths
from fairat.papers.needs import Need
from fairat.results.evidence import Origin, read_origin
from fairat.settings.averaging import WEIGHT_SETS
from fairat.study import Study, Training, run_key
from fairat.training.record import RECORD, RunRecord

RunKey = tuple[str, str, int]
"""Suite, method and seed."""


class Wanted(NamedTuple):
    """One file of evidence that a table needs: a run under one evaluation stage."""

    suite: str
    method: str
    seed: int
    stage: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return paths.evidence(self.suite, self.seed, self.stage, self.method)

    @property
    def run(self) -> RunKey:
        """The run it is of."""
        return self.suite, self.method, self.seed

    @property
    def key(self) -> str:
        """The name of the run in runs.yaml."""
        return run_key(*self.run)


@dataclass(frozen=True)
class Standing:
    """What there is of a table.

    Attributes:
        used: the evidence that may be shown.
        missing: the evidence that is not there.
        stale: the evidence that is there, but of other weights, code or numbers than those of now; the reason of each.
        untrained: runs that must be trained before, or whose own history is missing; those included that others start
            from.
    """

    used: tuple[Wanted, ...]
    missing: tuple[Wanted, ...]
    stale: Mapping[Wanted, str]
    untrained: tuple[RunKey, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing or stale."""
        return not (self.missing or self.stale or self.untrained)

    def reasons(self) -> dict[tuple[str, str, str], str]:
        """Why a (suite, method, weights) has no value or too few seeds, for the weight sets the papers show."""
        found: dict[tuple[str, str, str], str] = {}
        for wanted, reason in self.stale.items():
            for weights in WEIGHT_SETS:
                found[wanted.suite, wanted.method, weights] = f"left out as stale: {reason}"
        for wanted in self.used:
            for name, weights in (record.weights if (record := _record(wanted.run)) else {}).items():
                if not weights.present:
                    found[wanted.suite, wanted.method, name] = weights.reason
        return found


def wanted_by(needs: Sequence[Need]) -> list[Wanted]:
    """The evidence that some needs are computed from, each file once."""
    files = (Wanted(*run, need.stage) for need in needs for run in need.runs)
    return list(dict.fromkeys(files))


def standing(
    wanted: Sequence[Wanted], study: Study, fingerprints: Mapping[Path, str], histories: Sequence[RunKey] = ()
) -> Standing:
    """Looks at what lies in results/ and runs/; nothing is read but origins and records.

    Args:
        wanted: the evidence of a table.
        study: tells which run starts from which.
        fingerprints: of the code and numbers of now, by their path below fingerprints/; see `stages.fingerprint`.
        histories: runs whose training itself is shown.

    Raises:
        UserError: a file is there but cannot be read.
    """
    used, missing, stale = [], [], {}
    for one in wanted:
        if not one.path.exists():
            missing.append(one)
        elif reason := _staleness(one, read_origin(one.path), study, fingerprints):
            stale[one] = reason
        else:
            used.append(one)
    trained_first = dict.fromkeys((*(one.run for one in (*missing, *stale)), *histories))
    untrained = [run for run in trained_first if needs_training(run, study, fingerprints)]
    return Standing(tuple(used), tuple(missing), stale, tuple(_with_starts(untrained, study, fingerprints)))


def cost_note(found: Standing, study: Study, device: str) -> str:
    """How much is missing, and how long it would take on this device; empty where nothing is."""
    if found.complete:
        return ""
    evaluations = (*found.missing, *found.stale)
    missing = [
        *([f"{len(evaluations)} of {len(evaluations) + len(found.used)} evaluations"] if evaluations else []),
        *([_counted(len(found.untrained), "training")] if found.untrained else []),
    ]
    text = f"Not complete. Missing or stale: {', '.join(missing)}."
    # What it takes to fetch a published network was not measured, and is nothing beside the rest.
    trainings = [run for run in (study.run(*key) for key in found.untrained) if isinstance(run, Training)]
    suites = dict.fromkeys(run.suite_name for run in trainings)
    paces = {suite: _seconds_per_epoch(suite, device) for suite in suites}
    kinds = {(one.suite, one.stage) for one in evaluations}
    durations = {kind: _evaluation_seconds(*kind, device) for kind in kinds}
    seconds = [_times(run.recipe.epochs, paces[run.suite_name]) for run in trainings]
    seconds += [durations[one.suite, one.stage] for one in evaluations]
    known = [one for one in seconds if one is not None]
    if not known:
        return f"{text} What they would cost on this device ({device}) is unknown: nothing like them was done here."
    cost = f"they would take about {duration(sum(known))} on this device ({device})"
    rest = len(seconds) - len(known)
    more = f", and {rest} of them more, of a kind that was not done here yet" if rest else ""
    return f"{text} Measured by those done here, {cost}{more}."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `12 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _staleness(wanted: Wanted, origin: Origin, study: Study, fingerprints: Mapping[Path, str]) -> str:
    """Why the evidence must not be shown; empty if it may be."""
    record = _record(wanted.run)
    if (origin.suite, origin.method, origin.seed, origin.evaluation) != tuple(wanted):
        return f"the file says it is of {run_key(origin.suite, origin.method, origin.seed)} {origin.evaluation}"
    if record is not None:
        for name, sha256 in origin.weights_sha256.items():
            held = record.weights.get(name)
            if held is None or held.sha256 != sha256:
                return f"the run has other {name} weights now"
        if reason := _outdated(record, study, fingerprints):
            return reason
    current = fingerprints.get(Path(wanted.stage, wanted.suite))
    if current not in (None, origin.fingerprint):
        return "the code or numbers of the evaluation have changed since"
    return ""


def needs_training(run: RunKey, study: Study, fingerprints: Mapping[Path, str]) -> bool:
    """Whether the run was never trained, or with other code or numbers than those of now, or from other weights."""
    record = _record(run)
    return record is None or bool(_outdated(record, study, fingerprints))


def _outdated(record: RunRecord, study: Study, fingerprints: Mapping[Path, str]) -> str:
    """Why the run would be another one if it were trained now; empty if it would not."""
    current = (fingerprints.get(Path(kind, record.suite, record.method)) for kind in ("train", "adopt"))
    known = [one for one in current if one is not None]
    if known and record.fingerprint not in known:
        return "the code or numbers of the training have changed since"
    start = _start((record.suite, record.method, record.seed), study)
    begun_from = _record(start) if start else None
    if begun_from is not None and record.start_sha256 != begun_from.weights["last"].sha256:
        return f"the run it started from, {begun_from.method}, has other weights now"
    return ""


def _with_starts(runs: Sequence[RunKey], study: Study, fingerprints: Mapping[Path, str]) -> list[RunKey]:
    """The runs, and those that they start from, directly or over others, if these need training as well."""
    found, waiting = dict.fromkeys(runs), list(runs)
    while waiting:
        start = _start(waiting.pop(0), study)
        if start and start not in found and needs_training(start, study, fingerprints):
            found[start] = None
            waiting.append(start)
    return list(found)


def _start(run: RunKey, study: Study) -> RunKey | None:
    """The run whose weights this one starts from, if any."""
    found = study.run(*run)
    return found.start if isinstance(found, Training) else None


def _record(run: RunKey) -> RunRecord | None:
    directory = paths.run(*run)
    return RunRecord.load(directory) if (directory / RECORD).exists() else None


def _times(number: int, seconds: float | None) -> float | None:
    return None if seconds is None else number * seconds


def _seconds_per_epoch(suite: str, device: str) -> float | None:
    """The mean over the suite's trainings done on this device."""
    records = [RunRecord.load(path.parent) for path in Path("runs", suite).glob(f"s*/*/{RECORD}")]
    paces = [one.seconds / one.epochs for one in records if one.device == device and one.epochs]
    return sum(paces) / len(paces) if paces else None


def _evaluation_seconds(suite: str, stage: str, device: str) -> float | None:
    """The mean time of the suite's evaluations of one kind on this device."""
    files = Path("results", suite).glob(f"s*/{stage}/*.parquet")
    seconds = [origin.seconds for origin in map(read_origin, files) if origin.device == device]
    return sum(seconds) / len(seconds) if seconds else None
