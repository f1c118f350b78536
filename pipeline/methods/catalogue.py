"""Which `kind` in params.yaml is which class. Modules are imported when a kind is used, so a stage loads only its parts."""

from importlib import import_module
from typing import Any

from pydantic import BaseModel

CATALOGUE: dict[str, dict[str, str]] = {
    "objective": {
        "clean": "pipeline.methods.madry:CleanObjective",
        "at": "pipeline.methods.madry:AdversarialTraining",
        "trades": "pipeline.methods.trades:Trades",
        "fat": "pipeline.methods.fat:FriendlyAdversarialTraining",
        "bat": "pipeline.methods.bat:BalanceAdversarialTraining",
        "gairat": "pipeline.methods.gairat:Gairat",
    },
    "targets": {
        "untargeted": "pipeline.methods.parts:Untargeted",
        "uniform": "pipeline.methods.fair_tat:UniformTargets",
        "cfps": "pipeline.methods.fair_tat:CfpsTargets",
    },
    "margin": {
        "constant": "pipeline.methods.parts:ConstantMargin",
        "robust_accuracy": "pipeline.methods.cfa:RobustAccuracyMargin",
        "frl_remargin": "pipeline.methods.frl:FrlRemargin",
        "distance": "pipeline.methods.dafa:DistanceMargin",
    },
    "class_weights": {
        "none": "pipeline.methods.parts:EqualWeights",
        "ccr": "pipeline.methods.cfa:CalibratedWeights",
        "frl_reweight": "pipeline.methods.frl:FrlReweight",
        "no_regret": "pipeline.methods.wat:NoRegretWeights",
        "distance": "pipeline.methods.dafa:DistanceWeights",
    },
}
"""Slot -> kind -> `module:Class`. A new part is one file and one line here."""


def module_of(slot: str, kind: str) -> str:
    """The module that implements a part: what a training depends on besides the shared code."""
    return CATALOGUE[slot][kind].split(":")[0]


def build_part(slot: str, settings: Any) -> Any:
    """The part that `settings` describe: a `kind` and the part's own fields, or the kind alone.

    Raises:
        ValueError: no such kind in this slot; the text lists those there are. Pydantic errors of the part pass through.
    """
    if isinstance(settings, BaseModel):
        return settings
    if isinstance(settings, str):
        settings = {"kind": settings}
    kinds = CATALOGUE[slot]
    if not isinstance(settings, dict) or settings.get("kind") not in kinds:
        given = settings.get("kind") if isinstance(settings, dict) else settings
        raise ValueError(f"{given!r} is not a kind of {slot}; there are: {', '.join(kinds)}")
    module, name = kinds[settings["kind"]].split(":")
    return getattr(import_module(module), name).model_validate(settings)
