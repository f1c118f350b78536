"""Which evidence a table may show: one look at what runs and evidence recorded of each other.

DVC decides what has to be run. Here only digests are compared, so that nothing is shown beside weights, images or a start that
it was not made from.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fairat import paths
from fairat.data.canonical import MANIFEST, Manifest
from fairat.fingerprint import recorded
from fairat.papers.needs import Need
from fairat.results.evidence import Origin, read_origin
from fairat.study import Study, Training, run_key, split_key
from fairat.training.record import RECORD, RunRecord

NOT_EVALUATED = "not evaluated"


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
    def key(self) -> str:
        """The name of the run in runs.yaml."""
        return run_key(self.suite, self.method, self.seed)


@dataclass(frozen=True)
class Shown:
    """What there is of a table.

    Attributes:
        used: the evidence that may be shown.
        left_out: the reason for each of the rest.
    """

    used: tuple[Wanted, ...]
    left_out: Mapping[Wanted, str]

    def reasons(self) -> dict[tuple[str, str, str], str]:
        """Why a (suite, method, weights) has no value or too few seeds."""
        found: dict[tuple[str, str, str], str] = {}
        for wanted, reason in self.left_out.items():
            if reason != NOT_EVALUATED:
                names = read_origin(wanted.path).weights_sha256
                found |= {(wanted.suite, wanted.method, name): f"left out as stale: {reason}" for name in names}
        for wanted in self.used:
            for name, weights in (record.weights if (record := record_of(wanted.key)) else {}).items():
                if not weights.present:
                    found[wanted.suite, wanted.method, name] = weights.reason
        return found

    def note(self) -> str:
        """How much is missing; empty where nothing is."""
        if not self.left_out:
            return ""
        total = len(self.used) + len(self.left_out)
        stale = sum(reason != NOT_EVALUATED for reason in self.left_out.values())
        return f"Not complete: {len(self.left_out) - stale} of {total} evaluations missing, {stale} stale."


def wanted_by(needs: Iterable[Need]) -> list[Wanted]:
    """The evidence that some needs are computed from, each file once."""
    return list(dict.fromkeys(Wanted(*run, need.stage) for need in needs for run in need.runs))


def look(wanted: Sequence[Wanted], study: Study) -> Shown:
    """Looks at what lies in results/, runs/ and data/; nothing is read but origins, records and manifests.

    Raises:
        UserError: a file is there but cannot be read.
    """
    reasons = {one: reason_against(one, study) for one in wanted}
    return Shown(
        tuple(one for one, reason in reasons.items() if not reason),
        {one: reason for one, reason in reasons.items() if reason},
    )


def reason_against(wanted: Wanted, study: Study) -> str:
    """Why the evidence must not be shown; empty if it may be."""
    if not wanted.path.exists():
        return NOT_EVALUATED
    origin = read_origin(wanted.path)
    if (origin.suite, origin.method, origin.seed, origin.evaluation) != tuple(wanted):
        return f"the file says it is of {run_key(origin.suite, origin.method, origin.seed)} {origin.evaluation}"
    checks = (_other_weights, _other_code, _other_images)
    return next(filter(None, (check(wanted, origin) for check in checks)), "") or _other_start(wanted, study)


def _other_weights(wanted: Wanted, origin: Origin) -> str:
    if (record := record_of(wanted.key)) is None:
        return ""
    for name, sha256 in origin.weights_sha256.items():
        if name not in record.weights or record.weights[name].sha256 != sha256:
            return f"the run has other {name} weights now"
    return ""


def _other_code(wanted: Wanted, origin: Origin) -> str:
    """Against the fingerprints that lie there; before `fingerprint` has run nothing can be said."""
    record = record_of(wanted.key)
    if record is not None and _changed(record.fingerprint, "train", wanted.key):
        return "the code or numbers of the training have changed since"
    if _changed(origin.fingerprint, wanted.stage, wanted.key if wanted.stage == "steps" else wanted.suite):
        return "the code or numbers of the evaluation have changed since"
    return ""


def _changed(then: str, stage: str, name: str) -> bool:
    path = paths.FINGERPRINTS / stage / name
    return path.exists() and recorded(path) != then


def _other_start(wanted: Wanted, study: Study) -> str:
    """Follows what the run was fine-tuned from, over others to the first."""
    run = study.resolved.get(wanted.key)
    while isinstance(run, Training) and run.begun_from is not None:
        record, start = record_of(run.key), record_of(run.begun_from.key)
        if record and start and record.start_sha256 != start.weights["last"].sha256:
            return f"the run that {run.method_name} started from, {run.begun_from.method_name}, has other weights now"
        run = run.begun_from
    return ""


def _other_images(wanted: Wanted, origin: Origin) -> str:
    """Of corrupted images the hash is of other files; those of the test set tell of both."""
    directory = paths.dataset(wanted.suite)
    if wanted.stage == "corruptions" or not (directory / MANIFEST).exists():
        return ""
    held = Manifest.load(directory).sha256.get("test")
    return "" if held in (None, origin.data_sha256) else "the test images are others now"


def record_of(key: str) -> RunRecord | None:
    """The record of a run; None if it was not made here yet."""
    directory = paths.run(*split_key(key))
    return RunRecord.load(directory) if (directory / RECORD).exists() else None
