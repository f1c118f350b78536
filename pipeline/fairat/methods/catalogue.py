"""Which `kind` in params.yaml is which class. Modules are imported when a kind is used, so a stage loads only its parts."""

from importlib import import_module
from inspect import isabstract
from typing import Any

from pydantic import BaseModel

PACKAGE = "fairat.methods"

CATALOGUE: dict[str, dict[str, str]] = {
    "objective": {
        "clean": "madry.CleanObjective",
        "at": "madry.AdversarialTraining",
        "trades": "trades.Trades",
        "fat": "fat.FriendlyAdversarialTraining",
        "bat": "bat.BalanceAdversarialTraining",
        "gairat": "gairat.Gairat",
    },
    "targets": {
        "untargeted": "parts.Untargeted",
        "uniform": "fair_tat.UniformTargets",
        "cfps": "fair_tat.CfpsTargets",
    },
    "margin": {
        "constant": "parts.ConstantMargin",
        "robust_accuracy": "cfa.RobustAccuracyMargin",
        "frl_remargin": "frl.FrlRemargin",
        "distance": "dafa.DistanceMargin",
    },
    "class_weights": {
        "none": "parts.EqualWeights",
        "ccr": "cfa.CalibratedWeights",
        "frl_reweight": "frl.FrlReweight",
        "no_regret": "wat.NoRegretWeights",
        "distance": "dafa.DistanceWeights",
    },
}
"""Slot -> kind -> `module.Class` in pipeline/fairat/methods/.

A kind is a short name for its place. A part without one is named by the place itself, `kind: my_module.MyPart`: a new part is
one file, and no line here (docs/add_a_method.md).
"""


def kind_of(part: type) -> str:
    """What params.yaml calls a class: its name in the catalogue, or else its place."""
    place = f"{part.__module__.removeprefix(f'{PACKAGE}.')}.{part.__name__}"
    return next((kind for kinds in CATALOGUE.values() for kind, other in kinds.items() if other == place), place)


def module_of(slot: str, kind: str) -> str:
    """The module that implements a part: what a training depends on besides the shared code."""
    return f"{PACKAGE}.{CATALOGUE[slot].get(kind, kind).rpartition('.')[0]}"


def part_class(slot: str, kind: Any) -> type[BaseModel]:
    """The class that a kind names.

    Raises:
        ValueError: no such kind in this slot (the text lists those there are), or no such part at the place it names.
    """
    place = CATALOGUE[slot].get(kind, kind) if isinstance(kind, str) else ""
    module, _, name = place.rpartition(".")
    if not (module and name):
        raise ValueError(
            f"{kind!r} is not a kind of {slot}; there are: {', '.join(CATALOGUE[slot])}; "
            "a part of your own is named by its module and class in pipeline/fairat/methods/, as in my_module.MyPart"
        )
    file = f"pipeline/fairat/methods/{module.replace('.', '/')}.py"
    try:
        found = getattr(import_module(f"{PACKAGE}.{module}"), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(f"{PACKAGE}."):
            raise  # the module is there, and itself imports one that is not
        raise ValueError(f"there is no {file}; write the class {name} there, or correct `kind: {place}`") from None
    # The contract of a slot bears the slot's name: class_weights, ClassWeights.
    contract = getattr(import_module(f"{PACKAGE}.parts"), slot.title().replace("_", ""))
    if not (isinstance(found, type) and issubclass(found, contract)):
        raise ValueError(f"{file} has no class {name} derived from {contract.__name__}; correct it, or `kind: {place}`")
    if isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"{name} in {file} does not define {missing}, which {contract.__name__} in parts.py asks for")
    return found


def build_part(slot: str, settings: Any) -> Any:
    """The part that `settings` describe: a `kind` and the part's own fields, or the kind alone.

    Raises:
        ValueError: the kind names no part, see `part_class`. Pydantic errors of the part pass through.
    """
    if isinstance(settings, BaseModel):
        return settings
    if not isinstance(settings, dict):
        settings = {"kind": settings}
    fields = {key: value for key, value in settings.items() if key != "kind"}
    return part_class(slot, settings.get("kind")).model_validate(fields)
