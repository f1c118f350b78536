"""The threat model: an L-infinity ball."""

from pydantic import PositiveInt

from fairat.settings.base import PixelDistance, Settings


class Threat(Settings):
    """The L-infinity ball of a suite: radius, and the step and number of steps of training attacks.

    Attributes:
        epsilon: radius, in units of [0, 1] images.
        step_size: in units of [0, 1] images.
        num_steps: of a training attack.
    """

    epsilon: PixelDistance
    step_size: PixelDistance
    num_steps: PositiveInt = 10
