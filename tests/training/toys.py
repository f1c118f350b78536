"""A training small enough for a test: blurred squares of three classes, a network of two convolutions."""

from typing import Any

import torch
from fairat.methods.method import Method
from fairat.settings.averaging import Averaging
from fairat.settings.recipe import Augmentation, Recipe, Steps
from fairat.settings.threat import Threat
from fairat.training.loop import LabeledImages, TrainingSettings, TrainingState, train
from torch import nn

CLASSES = 3


def tiny_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, CLASSES),
    )


def tiny_images(count: int, seed: int) -> LabeledImages:
    """A class brightens its own row of a 6x6 image, over noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 120, (count, 1, 6, 6), generator=generator)
    images[torch.arange(count), 0, 2 * labels] += 60
    return LabeledImages(images.to(torch.uint8), labels)


def tiny_settings(parts: dict[str, Any], *, epochs: int = 3, seed: int = 0, **recipe: Any) -> TrainingSettings:
    return TrainingSettings(
        method=Method.model_validate({"label": "test", **parts}),
        recipe=Recipe(
            epochs=epochs,
            batch_size=40,
            augmentation=Augmentation(crop_padding=1, flip=False),
            schedule=Steps(drops=()),
            **recipe,
        ),
        threat=Threat(epsilon=0.1, step_size=0.03, num_steps=3),
        averaging=Averaging(threshold=0.0),
        num_classes=CLASSES,
        seed=seed,
    )


def trained(
    settings: TrainingSettings, *, epochs: int | None = None, state: TrainingState | None = None
) -> TrainingState:
    """Trains to the end, or stops after that many epochs as a crash would."""
    state = state or TrainingState.fresh(tiny_network(), settings)
    for done, _ in enumerate(train(state, settings, tiny_images(100, 1), tiny_images(30, 2)), start=1):
        if done == epochs:
            break
    return state
