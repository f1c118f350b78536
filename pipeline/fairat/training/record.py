"""run.json: what a training remembers about itself, so that evaluation needs nothing but its directory.

A published network that was adopted has the same record, with no epochs and only the weights `last`.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from fairat.errors import Hint, UserError, on_one_line
from fairat.files import sha256_of, whole_file
from fairat.models import build_model
from fairat.settings.architectures import Architecture
from fairat.settings.base import Settings, signed, verified

RECORD = "run.json"

MEASURED = {"weights", "files", "seconds", "peak_memory", "device", "epochs", "conditions", "changed_conditions"}
"""What weights do not say of their origin: the rest of the record is the same wherever they are computed."""


def shape_in_words(shape: tuple[int, int, int]) -> str:
    """Channels, height and width as `3x32x32`."""
    return "x".join(map(str, shape))


class WeightsRecord(Settings):
    """One weight set: the sha256 of its file, or the reason why there is none."""

    present: bool
    sha256: str = ""
    reason: str = ""


class RunRecord(Settings):
    """Everything about one training besides its tensors.

    Attributes:
        architecture: the network that was trained: the suite's, or the published one that a fine-tuning started from.
        settings: every resolved number that decided the training.
        statistics: mean and standard deviation of the normalization per channel, in units of [0, 1] images; None without.
        start_sha256: of the weights it started from; empty where those were drawn or are the architecture's own.
        fingerprint: hash of the code and settings the training depended on.
        data: hash of the manifest of the images.
        commit: git commit of the working tree, `+` behind it if files differed.
        versions: of the packages that can change a number.
        seconds: of all epochs, those before a restart included.
        peak_memory: the most bytes of tensors on a CUDA device, or of the process on a CPU; 0 where nothing was trained.
        weights: the weight sets.
        files: the sha256 of every other file of the directory.
        conditions: what can change the last bits besides code, data and settings, see `fairat.device.conditions`.
        changed_conditions: what was different after a restart, a sentence for each; then the bits may be others than those of a
            training that nothing stopped.
    """

    suite: str
    method: str
    seed: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    architecture: Architecture
    statistics: dict[str, tuple[float, ...]] | None
    settings: dict[str, Any]
    start_sha256: str = ""
    fingerprint: str
    data: str
    commit: str
    versions: dict[str, str]
    device: str
    epochs: int
    seconds: float
    peak_memory: int = 0
    weights: dict[str, WeightsRecord]
    files: dict[str, str] = {}
    conditions: dict[str, str] = {}
    changed_conditions: tuple[str, ...] = ()

    def save(self, directory: Path) -> None:
        """Writes run.json."""
        with whole_file(directory / RECORD) as beside:
            beside.write_text(signed(self), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> "RunRecord":
        """Reads run.json.

        Raises:
            UserError: it is missing, or not one of ours.
        """
        path = directory / RECORD
        try:
            return verified(cls, path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"There is no finished training in {directory} ({RECORD} is missing).", Hint.MAKE) from None
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"{path} was not written by this version: {'.'.join(map(str, first['loc']))}: {first['msg']}. "
                "Train the run again.",
                Hint.FORCE,
            ) from None
        except ValueError as error:
            raise UserError(f"{path} is damaged: {on_one_line(error)}. Delete {directory}.", Hint.REMAKE) from None

    def verify(self, directory: Path, name: str) -> None:
        """Checks a file of the run other than its weights.

        Raises:
            UserError: it is missing, or not the file that the training wrote.
        """
        path = directory / name
        if not path.is_file() or sha256_of(path) != self.files.get(name):
            raise UserError(
                f"{path} is missing, damaged or was changed: it is not the file that {RECORD} names. Delete {directory}.",
                Hint.REMAKE,
            )

    def network(self, *, pretrained: bool = False) -> nn.Module:
        """The network of this run without its weights; with those its architecture starts from, if any, for training.

        Raises:
            UserError: the architecture is for other images or classes, or its weights cannot be had.
        """
        wanted, statistics = self.architecture.image_shape, self.statistics or {}
        if wanted is not None and wanted != self.image_shape:
            raise UserError(
                f"The network {self.architecture.described()} takes images of {shape_in_words(wanted)} pixels, but those "
                f"of {self.suite} have {shape_in_words(self.image_shape)}. Choose another network for this suite."
            )
        return build_model(
            self.architecture,
            num_classes=len(self.class_names),
            channels=self.image_shape[0],
            mean=statistics.get("mean"),
            std=statistics.get("std"),
            pretrained=pretrained,
        )
