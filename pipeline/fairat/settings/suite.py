"""A suite: data, architecture, training recipe and evaluation protocol."""

from pydantic import PositiveInt

from fairat.settings.architectures import Architecture
from fairat.settings.averaging import Averaging, WeightSet
from fairat.settings.base import Real, Settings
from fairat.settings.data import Data, Statistics
from fairat.settings.evaluations import Evaluations
from fairat.settings.recipe import Recipe
from fairat.settings.threat import Threat


class Suite(Settings):
    """A data set, an architecture, a training recipe and an evaluation protocol.

    Attributes:
        title: the heading of its columns in tables.
        reads: the file or directory that DVC watches: when it changes, the images are prepared anew. Of images of your own
            it is their path; of all others the versions of the packages that decode them.
        statistics: constants of the normalization; by default those of the training images.
        normalize: whether models normalize at all.
        epoch_scale: multiplies the epochs of every recipe of the suite, native ones included.
        weights: the weight sets that are evaluated.
        threads: of the CPU, for networks too small to gain from all; by default torch's choice.
    """

    title: str
    reads: str = ""
    data: Data
    architecture: Architecture
    normalize: bool = True
    statistics: Statistics | None = None
    threat: Threat
    recipe: Recipe = Recipe()
    epoch_scale: Real = 1.0
    averaging: Averaging = Averaging()
    weights: tuple[WeightSet, ...] = ("last", "ema", "fawa")
    threads: PositiveInt | None = None
    evaluation: Evaluations
