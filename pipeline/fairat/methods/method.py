"""A method: the composition of parts that params.yaml names."""

from collections.abc import Mapping
from typing import Any

from pydantic import SerializeAsAny, field_validator, model_validator

from fairat.methods import KINDS, build_part
from fairat.methods.parts import (
    ClassWeights,
    ConstantMargin,
    Controller,
    EqualWeights,
    Margin,
    Objective,
    Targets,
    Untargeted,
)
from fairat.settings.averaging import Averaging
from fairat.settings.base import merged
from fairat.settings.presentation import Presentation
from fairat.settings.recipe import CleanPass, Recipe
from fairat.settings.threat import Threat


def _sharing(weights: ClassWeights, margin: Margin | None) -> ClassWeights:
    """The class weights with the numbers of the controller that the margin belongs to as well, if they have one in common.

    Raises:
        ValueError: the weights state another number than the margin.
    """
    for controller in (base for base in type(weights).__bases__ if issubclass(base, Controller)):
        if isinstance(margin, controller):
            for name in weights.model_fields_set & set(controller.model_fields):
                stated, there = getattr(weights, name), getattr(margin, name)
                if stated != there:
                    raise ValueError(
                        f"{name} is {stated:g} here and {there:g} in margin, but both parts carry out one policy "
                        f"({controller.__name__}); state it once, in margin"
                    )
            shared = {name: getattr(margin, name) for name in controller.model_fields}
            weights = weights.model_copy(update=shared)
    return weights


class Method(Presentation):
    """One method: an objective, a target sampler, a margin and class weights; neutral where nothing is said.

    Attributes:
        starts_from: the method, or entry of zoo, whose last weights and network the training starts from; random ones by
            default.
        recipe: the method's native training recipe: the fields that replace the suite's.
        averaging: the fields that replace the suite's averaging.
    """

    objective: SerializeAsAny[Objective]
    targets: SerializeAsAny[Targets] = Untargeted()
    margin: SerializeAsAny[Margin] = ConstantMargin()
    class_weights: SerializeAsAny[ClassWeights] = EqualWeights()
    starts_from: str | None = None
    recipe: dict[str, Any] = {}
    averaging: dict[str, Any] = {}

    @field_validator(*KINDS, mode="before")
    @classmethod
    def _part(cls, settings: Any, info: Any) -> Any:
        part, margin = build_part(info.field_name, settings), info.data.get("margin")
        return _sharing(part, margin) if info.field_name == "class_weights" else part

    @field_validator("recipe")
    @classmethod
    def _recipe_fields(cls, changes: dict[str, Any]) -> dict[str, Any]:
        merged(Recipe(), changes)
        return changes

    @field_validator("averaging")
    @classmethod
    def _averaging_fields(cls, changes: dict[str, Any]) -> dict[str, Any]:
        merged(Averaging(), changes)
        return changes

    @model_validator(mode="after")
    def _compatible(self) -> "Method":
        if self.targets.targeted and not self.objective.accepts_targets:
            raise ValueError(
                f"targets: {self.targets.kind} needs an attack to aim, but {self.objective.kind} takes no targets; "
                "use targets: untargeted"
            )
        if not self.objective.has_robust_term and not (
            isinstance(self.margin, ConstantMargin) and isinstance(self.class_weights, EqualWeights)
        ):
            raise ValueError(f"{self.objective.kind} has no attack and one term: leave out margin and class_weights")
        if self.class_weights.needs_clean_term and not self.objective.has_clean_term:
            raise ValueError(
                f"class_weights: {self.class_weights.kind} moves weight between a clean and a robust term, "
                f"but {self.objective.kind} has no clean term; use it with trades"
            )
        return self

    @property
    def parts(self) -> tuple[Objective, Targets, Margin, ClassWeights]:
        return (self.objective, self.targets, self.margin, self.class_weights)

    @property
    def needs(self) -> frozenset[str]:
        """The union of the history fields its parts read."""
        return frozenset().union(*(part.needs for part in self.parts))

    @property
    def needs_start_record(self) -> bool:
        """Whether a validation record is needed before the first epoch."""
        return any(part.needs_start_record for part in self.parts)

    def cautions(self, epochs: int) -> list[str]:
        """What its parts warn of in a training of that many epochs, see `Part.cautions`."""
        return list(dict.fromkeys(caution for part in self.parts for caution in part.cautions(epochs)))

    def scaled(self, scale: float) -> "Method":
        """The method with the epochs of all its parts multiplied."""
        return self.model_copy(update={slot: getattr(self, slot).scaled(scale) for slot in KINDS})

    @property
    def clean_pass(self) -> CleanPass:
        """Where public code has forwards on the clean batch, unless the recipe says otherwise."""
        return self.objective.targeted_clean_pass if self.targets.targeted else self.objective.clean_pass

    def threat(self, suite: Threat) -> Threat:
        """The training threat: the suite's, with the objective's own step size and number of steps if it has them."""
        own = {"step_size": self.objective.step_size, "num_steps": self.objective.num_steps}
        return suite.model_copy(update={name: value for name, value in own.items() if value is not None})


_OF_TARGETS_ONLY = {"targeted_inner", "stop_on"}
"""Fields of objectives that say what a targeted attack does; without targets nobody reads them."""


def bases(methods: Mapping[str, Method]) -> dict[str, str | None]:
    """The base of every method with targets: the first without any of the same objective, margin kind and class weights.

    None where there is no such method. Two robust-accuracy margins count as one kind, whenever they begin.
    """
    untargeted = {name: method for name, method in methods.items() if not method.targets.targeted}
    return {
        name: next((other for other, base in untargeted.items() if _composition(base) == _composition(method)), None)
        for name, method in methods.items()
        if method.targets.targeted
    }


def _composition(method: Method) -> tuple[object, ...]:
    objective = method.objective.model_dump(exclude=_OF_TARGETS_ONLY)
    return type(method.objective), objective, type(method.margin), method.class_weights, method.starts_from
