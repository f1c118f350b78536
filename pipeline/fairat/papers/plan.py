"""What is left to run for a table, a figure, a suite or all of them, stage by stage."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from fairat import paths
from fairat.errors import UserError
from fairat.papers.demo_report import demo_methods, demo_tables
from fairat.papers.figure_rows import DEMO_FIGURES, FIGURES, FigureContent
from fairat.papers.needs import DEMO_REPORT, PAPER_TARGETS, Need
from fairat.papers.standing import Standing, Wanted, standing, wanted_by
from fairat.papers.tables import entries
from fairat.study import Run, Study, Training, run_key

REPORT = "report"
"""The target that needs everything the papers print."""

_MAKERS = ("train", "adopt", "finetune")
"""The stages that make weights; all others evaluate them."""


class Stage(NamedTuple):
    """One stage of DVC that makes or evaluates a run.

    Attributes:
        kind: `train`, `finetune`, `adopt`, or an evaluation.
        run: what it works on.
    """

    kind: str
    run: Run

    @property
    def name(self) -> str:
        """What DVC calls it."""
        return f"{self.kind}@{self.run.key}"

    @property
    def wave(self) -> int:
        """Stages of one wave do not need each other, but may need those of waves before."""
        if self.kind not in _MAKERS:
            return sys.maxsize
        number, run = 0, self.run
        while isinstance(run, Training) and run.begun_from is not None:
            number, run = number + 1, run.begun_from
        return number

    @property
    def needed_run(self) -> str:
        """The run whose weights it starts from; empty where there is none."""
        if self.kind == "finetune":
            assert isinstance(self.run, Training)
            return run_key(*self.run.start) if self.run.start else ""
        return "" if self.kind in _MAKERS else self.run.key


def standing_of(target: str, study: Study, fingerprints: Mapping[Path, str]) -> Standing:
    """How far a target is.

    Args:
        target: a table or figure, `demo_report`, `report`, or the name of a suite, which means its tables.
        study: its runs.
        fingerprints: see `standing`.

    Raises:
        UserError: there is no such target.
    """
    if target in PAPER_TARGETS:
        contents = [FIGURES[target]] if target in FIGURES else []
        needs = [entry.need for entry in entries(PAPER_TARGETS[target])]
        return _standing(wanted_by(needs), contents, study, fingerprints)
    if target == DEMO_REPORT:
        needs = [entry.need for cells in demo_tables(demo_methods(study)).values() for entry in cells]
        return _standing(wanted_by(needs), list(DEMO_FIGURES.values()), study, fingerprints)
    if target == REPORT:
        needs = [entry.need for each in PAPER_TARGETS.values() for entry in entries(each)]
        return _standing(wanted_by(needs), list(FIGURES.values()), study, fingerprints)
    if target in study.active:
        return _standing(list(evaluations_of(target, study)), [], study, fingerprints)
    raise UserError(
        f"There is no {target!r}; there are: {', '.join((*PAPER_TARGETS, DEMO_REPORT, REPORT))}, and the suites "
        f"{', '.join(study.active)}."
    )


def dvc_target(target: str) -> str:
    """What `dvc repro` calls it."""
    return target if target in (*PAPER_TARGETS, DEMO_REPORT, REPORT) else f"tables@{target}"


def evaluations_of(suite: str, study: Study) -> Iterator[Wanted]:
    """All evidence of a suite."""
    for run in study.runs_of(suite):
        for evaluation in paths.EVALUATIONS:
            if evaluation != "steps" or run.key in study.stepped:
                yield Wanted(run.suite_name, run.method_name, run.seed, evaluation)


def stages_left(found: Standing, study: Study) -> list[Stage]:
    """The trainings and evaluations that are left to do, each after those it needs."""
    trainings = [_training_stage(study.run(*run)) for run in found.untrained]
    evaluations = [Stage(one.stage, study.run(*one.run)) for one in (*found.missing, *found.stale)]
    return sorted(trainings, key=lambda stage: stage.wave) + evaluations


def _standing(
    wanted: Sequence[Wanted], contents: Sequence[FigureContent], study: Study, fingerprints: Mapping[Path, str]
) -> Standing:
    """Of evidence and of what figures show."""
    needs: list[Need] = [need for content in contents for need in content.needs]
    histories = [run for content in contents for run in content.histories]
    everything = dict.fromkeys((*wanted, *wanted_by(needs)))
    return standing(list(everything), study, fingerprints, histories)


def _training_stage(run: Run) -> Stage:
    if isinstance(run, Training):
        return Stage("train" if run.start is None else "finetune", run)
    return Stage("adopt", run)
