"""Which run, weights and evaluation every printed cell needs, and the name of each table and figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from fairat import paths
from fairat.papers.published import PrintedCell, Source, printed_cells

FIVE_SEEDS = (0, 1, 2, 3, 4)
"""The papers do not say which; 0 to 4."""


DEMO_REPORT, DEMO_SUITE = "demo_report", "demo"
"""The target that makes all of it on the demo's digits, and the suite it shows."""


@dataclass(frozen=True)
class Need:
    """What one printed cell is computed from, in the words of the tidy table (`fairat.results.aggregation.COLUMNS`).

    Attributes:
        seeds: FAIR-TAT Tables 5 to 8 print deviations over seeds; elsewhere one run.
        evaluation: clean, pgd10, pgd20, autoattack, square or corruption. BAT's errors are all of pgd20, whose evidence
            holds the clean predictions too.
        metric: an accuracy, or one of BAT's errors such as `average_boundary_error`.
        corruption: empty except for corruptions.
    """

    suite: str
    method: str
    weights: str
    seeds: tuple[int, ...]
    evaluation: str
    metric: str
    corruption: str = ""

    @property
    def stage(self) -> str:
        """The evaluation stage whose evidence holds the number."""
        return stage_of(self.evaluation)

    @property
    def evidence(self) -> list[Path]:
        """The files of evidence, one per seed."""
        return [paths.evidence(self.suite, seed, self.stage, self.method) for seed in self.seeds]

    @property
    def runs(self) -> list[tuple[str, str, int]]:
        """Suite, method and seed of every run."""
        return [(self.suite, self.method, seed) for seed in self.seeds]


@dataclass(frozen=True)
class PaperTarget:
    """A table or figure of a paper, which is one target of the graph.

    Attributes:
        name: of the target, and of the file below reports/.
        number: of the table or figure in the paper.
        caption: what is printed.
    """

    name: str
    kind: Literal["table", "figure"]
    source: Source
    number: int
    caption: str

    @property
    def decimals(self) -> int:
        """FAIR-TAT prints one, BAT two."""
        return {"fairtat": 1, "bat": 2}[self.source]

    @property
    def cells(self) -> list[PrintedCell]:
        """Its printed cells in the order of the paper; none of a figure."""
        if self.kind == "figure":
            return []
        return [cell for cell in _cells() if (cell.source, cell.table) == (self.source, self.number)]


def _targets() -> dict[str, PaperTarget]:
    captions: dict[tuple[Literal["table", "figure"], Source], dict[int, str]] = {
        ("table", "fairtat"): {
            1: "Accuracy without attack and under PGD, overall and of the worst class.",
            2: "Accuracy under AutoAttack and under Square, overall and of the worst class.",
            3: "Worst-class accuracy of the FAIR-TAT models under common corruptions, over all severities.",
            4: "Worst-class accuracy of the baselines under common corruptions, over all severities.",
            5: "Uniform (UTS) against class-wise (CTS) sampling of target classes.",
            6: "The same with a constant perturbation margin.",
            7: "Table 1 on CIFAR-10 over five seeds.",
            8: "Table 2 on CIFAR-10 over five seeds.",
            9: "Overall accuracy of the FAIR-TAT models under common corruptions, over all severities.",
            10: "Overall accuracy of the baselines under common corruptions, over all severities.",
            11: "A vision transformer, XCiT-S12, without attack and under PGD.",
        },
        ("table", "bat"): {
            1: "Standard, boundary and robust errors, average and of the worst class.",
            2: "Ablation of the terms of BAT.",
            3: "Methods that reweight or stop early.",
            4: "PGD-AT on CIFAR-10 without four of its classes.",
        },
        ("figure", "fairtat"): {
            1: "Class false positive scores.",
            3: "Class-wise accuracy without attack.",
            4: "Class-wise perturbation margins over the epochs.",
        },
        ("figure", "bat"): {
            2: "Accuracy, attack steps by source class, and wrong predictions by target class.",
            4: "Errors of each class.",
        },
    }
    targets = [
        PaperTarget(f"{'bat_' if source == 'bat' else ''}{kind}{number}", kind, source, number, caption)
        for (kind, source), numbered in captions.items()
        for number, caption in numbered.items()
    ]
    return {target.name: target for target in targets}


PAPER_TARGETS: Mapping[str, PaperTarget] = _targets()
"""The tables and figures, in the order of the papers."""

_CIFAR10_ONLY, _BAT_CIFAR10 = ("cifar10",), ("cifar10_resnet18",)
TABLE_SUITES: Mapping[str, tuple[str, ...]] = {
    "table1": ("cifar10", "cifar100"),
    "table2": ("cifar10", "cifar100"),
    **{f"table{number}": _CIFAR10_ONLY for number in range(3, 11)},
    "table11": ("cifar10_xcit",),
    "bat_table1": ("cifar10_resnet18", "cifar100_resnet18", "imagenette_resnet18"),
    "bat_table2": _BAT_CIFAR10,
    "bat_table3": _BAT_CIFAR10,
    "bat_table4": ("cifar10_resnet18_wo2345", "cifar10_resnet18_wo1689"),
}
"""The suites of each table, for those who must not read the printed cells; a test compares them."""

# (data set, network) of a printed cell -> suite.
_SUITES = {
    ("cifar10", "preactresnet18"): "cifar10",
    ("cifar10-c", "preactresnet18"): "cifar10",
    ("cifar100", "preactresnet18"): "cifar100",
    ("cifar10", "xcit_s12"): "cifar10_xcit",
    ("cifar10", "resnet18"): "cifar10_resnet18",
    ("cifar100", "resnet18"): "cifar100_resnet18",
    ("imagenette", "resnet18"): "imagenette_resnet18",
}
# BAT Table 4 trains on CIFAR-10 without four classes.
_SUITES_OF_SUBSETS = {"Wo2,3,4,5": "cifar10_resnet18_wo2345", "Wo1,6,8,9": "cifar10_resnet18_wo1689"}
# (objective, scheme, targeting) -> method of FAIR-TAT's tables. The plain rows have the robust-accuracy margin (A9), so
# "+ CFA" is the FAWA set of the same run, but for TRADES, where CFA has weights of its own (A19).
_FAIRTAT = {
    ("at", "plain", "untargeted"): "at",
    ("at", "cfa", "untargeted"): "at",
    ("at", "fairtat", "uniform"): "fair_tat_uniform",
    ("at", "fairtat", "cfps"): "fair_tat",
    ("trades", "plain", "untargeted"): "trades",
    ("trades", "cfa", "untargeted"): "trades_cfa",
    ("trades", "fairtat", "cfps"): "fair_tat_trades",
    ("fat", "plain", "untargeted"): "fat",
    ("fat", "cfa", "untargeted"): "fat",
    ("fat", "fairtat", "cfps"): "fair_tat_fat",
    ("frl", "plain", "untargeted"): "frl",
    ("bat", "plain", "untargeted"): "bat",
    ("wat", "plain", "untargeted"): "wat",
    ("clean", "plain", ""): "clean",
}
_CONSTANT_MARGIN_TABLE = 6
ABLATIONS = ("table5", "table6")
"""FAIR-TAT's tables that take it apart. They have one more row than printed for each of `ONE_PASS`."""
ONE_PASS = {"fair_tat": "fair_tat_one_pass", "fair_tat_constant": "fair_tat_constant_one_pass"}
"""The same without the driver's clean pass before the step, which by itself trades robust for clean accuracy."""
_XCIT = {"at": "xcit_at", "fair_tat": "xcit_fair_tat"}
# The first words of a printed label -> method of BAT's tables.
_BAT = {
    "PGD-AT": "pgd_at",
    "TRADES (1/lambda = 1)": "trades_original_1",
    "TRADES (1/lambda = 6)": "trades_original_6",
    "FRL (Reweight+Remargin, 0.05)": "frl_005",
    "FRL (Reweight+Remargin, 0.07)": "frl_007",
    "Ours (BAT)": "bat",
    "No. 1:": "bat_no1",
    "No. 2:": "bat_no2",
    "No. 3:": "bat_no3",
    "No. 4:": "bat_no4",
    "No. 5:": "bat",
    "No. 6:": "bat_no6",
    "FAT": "fat_bat",
    "GAIRAT": "gairat",
    "Wo": "pgd_at",
}
_BAT_METRICS = {
    "avg_std_error": "average_standard_error",
    "avg_bndy_error": "average_boundary_error",
    "avg_rob_error": "average_robust_error",
    "worst_std_error": "worst_standard_error",
    "worst_bndy_error": "worst_boundary_error",
    "worst_rob_error": "worst_robust_error",
}
_PGD = {"fairtat": "pgd10", "bat": "pgd20"}


def need(cell: PrintedCell) -> Need:
    """What a printed cell is computed from."""
    evaluation, metric = cell.evaluation, cell.metric
    if cell.source == "bat":
        evaluation, metric = _PGD["bat"], _BAT_METRICS[metric]
    elif evaluation == "pgd":
        evaluation = _PGD["fairtat"]
    return Need(
        suite=_SUITES_OF_SUBSETS.get(cell.label) or _SUITES[cell.dataset, cell.architecture],
        method=_bat_method(cell) if cell.source == "bat" else _fairtat_method(cell),
        weights=cell.weights,
        # Tables 5 and 6 print deviations without the number of seeds; the whole table is over seeds.
        seeds=FIVE_SEEDS if cell.source == "fairtat" and cell.table in (5, 6, 7, 8) else FIVE_SEEDS[:1],
        evaluation=evaluation,
        metric=metric,
        corruption=cell.meant_corruption,
    )


def needs(cells: Sequence[PrintedCell]) -> list[Need]:
    """The different needs of some cells, in their order."""
    return list(dict.fromkeys(map(need, cells)))


def stage_of(evaluation: str) -> str:
    """The evaluation stage that a name of the tidy table belongs to; clean predictions are in PGD's evidence."""
    if evaluation == "clean" or evaluation.startswith("pgd"):
        return "pgd"
    return {"corruption": "corruptions"}.get(evaluation, evaluation)


def _fairtat_method(cell: PrintedCell) -> str:
    method = _FAIRTAT[cell.objective, cell.scheme, cell.targeting]
    if cell.table == _CONSTANT_MARGIN_TABLE:
        return f"{method}_constant"
    return _XCIT[method] if cell.architecture == "xcit_s12" else method


def _bat_method(cell: PrintedCell) -> str:
    return next(method for start, method in _BAT.items() if cell.label.startswith(start))


@cache
def _cells() -> tuple[PrintedCell, ...]:
    return tuple(printed_cells())
