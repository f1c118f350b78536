"""Methods: one file per paper with what that paper adds, and the table of the parts that a method is composed of."""

from difflib import get_close_matches
from importlib import import_module
from inspect import isabstract
from typing import Any

from fairat.methods import bat, cfa, dafa, fair_tat, fat, frl, gairat, madry, parts, trades, wat

KINDS: dict[str, dict[str, type[parts.Part]]] = {
    "objective": {
        "clean": madry.CleanObjective,
        "at": madry.AdversarialTraining,
        "trades": trades.Trades,
        "fat": fat.FriendlyAdversarialTraining,
        "bat": bat.BalanceAdversarialTraining,
        "gairat": gairat.Gairat,
    },
    "targets": {
        "untargeted": parts.Untargeted,
        "uniform": fair_tat.UniformTargets,
        "cfps": fair_tat.CfpsTargets,
    },
    "margin": {
        "constant": parts.ConstantMargin,
        "robust_accuracy": cfa.RobustAccuracyMargin,
        "frl_remargin": frl.FrlRemargin,
        "distance": dafa.DistanceMargin,
    },
    "class_weights": {
        "none": parts.EqualWeights,
        "ccr": cfa.CalibratedWeights,
        "frl_reweight": frl.FrlReweight,
        "no_regret": wat.NoRegretWeights,
        "distance": dafa.DistanceWeights,
    },
}
"""Slot -> kind in params.yaml -> class.

A part without a line here is named by its place, `kind: my_module.MyPart`: a new part is one file (docs/add_a_method.md).
"""

CONTRACTS: dict[str, type[parts.Part]] = {
    "objective": parts.Objective,
    "targets": parts.Targets,
    "margin": parts.Margin,
    "class_weights": parts.ClassWeights,
}
"""Slot -> the class that its parts derive from."""


def part_class(slot: str, kind: Any) -> type[parts.Part]:
    """The class that a kind names.

    Raises:
        ValueError: no such kind in this slot (the text lists those there are), or no such part at the place it names.
    """
    known, name = KINDS[slot], kind if isinstance(kind, str) else ""
    if name in known:
        return known[name]
    module, _, own = name.rpartition(".")
    if not (module and own):
        near = "".join(f"did you mean {similar}? " for similar in get_close_matches(name, known, n=1))
        raise ValueError(
            f"{kind!r} is not a kind of {slot}; there are: {', '.join(known)}; {near}"
            "a part of your own is named by its module and class in pipeline/fairat/methods/, as in my_module.MyPart"
        )
    return _own_part(CONTRACTS[slot], module, own)


def _own_part(contract: type[parts.Part], module: str, name: str) -> type[parts.Part]:
    """The class at a place that params.yaml names."""
    file, kind = f"pipeline/fairat/methods/{module.replace('.', '/')}.py", f"`kind: {module}.{name}`"
    try:
        found = getattr(import_module(f"{__name__}.{module}"), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(f"{__name__}."):
            raise  # the module is there, and itself imports one that is not
        raise ValueError(f"there is no {file}; write the class {name} there, or correct {kind}") from None
    if not (isinstance(found, type) and issubclass(found, contract)):
        raise ValueError(f"{file} has no class {name} derived from {contract.__name__}; correct it, or {kind}")
    if isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"{name} in {file} does not define {missing}, which {contract.__name__} in parts.py asks for")
    return found


def build_part(slot: str, settings: Any) -> Any:
    """The part that `settings` describe: a `kind` and the part's own fields, or the kind alone.

    Raises:
        ValueError: the kind names no part, see `part_class`. Pydantic errors of the part pass through.
    """
    if isinstance(settings, parts.Part):
        return settings
    if not isinstance(settings, dict):
        settings = {"kind": settings}
    fields = {key: value for key, value in settings.items() if key != "kind"}
    return part_class(slot, settings.get("kind")).model_validate(fields)
