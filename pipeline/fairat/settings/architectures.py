"""Which architectures there are, and their settings. Imports no network, so reading params.yaml stays cheap."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, field_validator

from fairat import paths
from fairat.files import sha256_of
from fairat.settings.base import Real, Settings, UserPath


class NetworkSettings(Settings):
    """What every architecture says about itself besides its fields.

    Attributes:
        normalizes_itself: the network normalizes with the statistics it was trained with.
        image_shape: the only `channel height width` that it takes; None where it takes others.
        place: the field that says where the file with its weights lies; empty where there is none.
    """

    normalizes_itself: ClassVar[bool] = False
    image_shape: ClassVar[tuple[int, int, int] | None] = None
    place: ClassVar[str] = ""

    @property
    def has_start(self) -> bool:
        """Whether training starts from weights of someone else; by default, from those that it has a place for."""
        return getattr(self, self.place, None) is not None

    @property
    def title(self) -> str:
        """As captions name it."""
        return self.described()

    def described(self) -> str:
        """As in params.yaml: `{kind: resnet18, width: 64}`."""
        fields = self.unplaced().model_dump(mode="json", exclude_none=True)
        return f"{{{', '.join(f'{name}: {value}' for name, value in fields.items())}}}"

    def unplaced(self) -> Self:
        """The same network, silent about where a file with its weights lies: that decides nothing."""
        return self.model_copy(update={self.place: None}) if self.file else self

    @property
    def file(self) -> Path | None:
        """The file with its weights that the settings name, if they do."""
        named = getattr(self, self.place, None)
        return named if isinstance(named, Path) else None

    @property
    def start_file(self) -> Path | None:
        """Where its weights lie, or will lie once they were downloaded; None without any."""
        return self.file

    @property
    def start_sha256(self) -> str:
        """SHA-256 of the weights it starts from; empty without any, or where they are not here yet."""
        return sha256_of(self.start_file) if self.start_file is not None and self.start_file.is_file() else ""

    def decisive(self) -> dict[str, Any]:
        """What decides the network: its settings, and the content of the file that they name in the place of its path."""
        content = {f"{self.place}_sha256": self.start_sha256} if self.file and self.file.is_file() else {}
        return {**self.unplaced().model_dump(mode="json"), **content}

    @property
    def caution(self) -> str:
        """What a training of it would do that its user hardly wants; empty if nothing."""
        return ""


class PreActResNet18(NetworkSettings):
    """PreActResNet-18, the network of FAIR-TAT, CFA and RO.

    Attributes:
        width: channels of the first stage; 64 as published, fewer for a laptop.
        final_norm: whether batch norm and ReLU stand before the pooling; FRL's variant lacks them.
    """

    kind: Literal["preact_resnet18"] = "preact_resnet18"
    width: PositiveInt = 64
    final_norm: bool = True

    @property
    def title(self) -> str:
        return f"PreActResNet-18 (width {self.width}{'' if self.final_norm else ', no final norm'})"


class ResNet18(NetworkSettings):
    """ResNet-18 for small images, the network of BAT, WAT and DAFA.

    Attributes:
        width: channels of the first stage; 64 as published, fewer for a laptop.
    """

    kind: Literal["resnet18"] = "resnet18"
    width: PositiveInt = 64

    @property
    def title(self) -> str:
        return f"ResNet-18 (width {self.width})"


class Wrn28x10(NetworkSettings):
    """WideResNet-28-10 as in TRADES.

    Attributes:
        depth: 6 n + 4 for n blocks a stage; 28 as published.
        widen: multiplies the widths 16, 32, 64 of the stages; 10 as published.
    """

    kind: Literal["wrn28_10"] = "wrn28_10"
    depth: PositiveInt = 28
    widen: PositiveInt = 10

    @property
    def title(self) -> str:
        return f"WRN-{self.depth}-{self.widen}"

    @field_validator("depth")
    @classmethod
    def _whole_blocks(cls, depth: int) -> int:
        if depth < 10 or depth % 6 != 4:
            raise ValueError(
                f"{depth} layers do not divide into three equal stages; take 6 n + 4, such as 10, 16 or 28"
            )
        return depth


class XcitS12(NetworkSettings):
    """XCiT-S12 for 32x32 images ("A light recipe to train robust vision transformers", here VR).

    Attributes:
        checkpoint: weights of XCiT-S12 adversarially pre-trained on ImageNet, from which the papers start; its head is
            replaced. `robustbench` is RobustBench's copy, downloaded once; a path names a file. Without either the network
            starts untrained, and the row cannot be compared with the paper's.
        drop_path: probability that a residual branch is skipped while training.
    """

    kind: Literal["xcit_s12"] = "xcit_s12"
    place: ClassVar[str] = "checkpoint"
    robustbench: ClassVar[str] = "Debenedetti2022Light_XCiT-S12"
    checkpoint: Literal["robustbench"] | UserPath | None = None
    drop_path: Annotated[Real, Field(ge=0, lt=1)] = 0.05

    @property
    def title(self) -> str:
        return "XCiT-S12"

    @property
    def start_file(self) -> Path | None:
        return paths.robustbench(self.robustbench, "imagenet") if self.checkpoint == "robustbench" else self.file

    @property
    def caution(self) -> str:
        if self.has_start:
            return ""
        return (
            "starts from random weights, where the paper starts from weights that were adversarially trained on ImageNet. "
            "Name them in architecture.checkpoint: robustbench, or a file"
        )


class ZooModel(NetworkSettings):
    """A model of RobustBench (Croce et al. 2021) against the L-infinity threat, by the name it has there.

    Attributes:
        name: such as Rice2020Overfitting; lower and upper case matter.
        dataset: what it was trained on.
        path: its weights on this machine; by default they are downloaded once.
    """

    normalizes_itself: ClassVar[bool] = True
    image_shape: ClassVar[tuple[int, int, int] | None] = (3, 32, 32)
    kind: Literal["zoo"] = "zoo"
    place: ClassVar[str] = "path"
    name: str
    dataset: Literal["cifar10", "cifar100"] = "cifar10"
    path: UserPath | None = None

    @property
    def title(self) -> str:
        return self.name

    @property
    def has_start(self) -> bool:
        return True


class ShippedResNet18(NetworkSettings):
    """The CIFAR-10 ResNet-18 that pyautoattack ships as its example; it does not normalize.

    For trying evaluations and fine-tunings without downloading anything. It was not trained adversarially: with a radius
    of 8/255 no image withstands PGD.
    """

    normalizes_itself: ClassVar[bool] = True
    width: ClassVar[int] = 64
    kind: Literal["shipped_resnet18"] = "shipped_resnet18"

    @property
    def title(self) -> str:
        return "ResNet-18 of pyautoattack"

    @property
    def has_start(self) -> bool:
        return True


class TimmModel(NetworkSettings):
    """A network of timm, with its own normalization behind a resizing of the images.

    Attributes:
        name: such as vit_small_patch14_dinov2.lvd142m.
        checkpoint: a file with its weights; without one the network is untrained.
        size: images are resized to this many pixels a side; by default to what the network is made for.
    """

    normalizes_itself: ClassVar[bool] = True

    kind: Literal["timm"] = "timm"
    place: ClassVar[str] = "checkpoint"
    name: str
    checkpoint: UserPath | None = None
    size: PositiveInt | None = None

    @property
    def title(self) -> str:
        return self.name


Architecture = Annotated[
    PreActResNet18 | ResNet18 | Wrn28x10 | XcitS12 | ZooModel | ShippedResNet18 | TimmModel, Field(discriminator="kind")
]
"""The network of a suite."""

PublishedNetwork = Annotated[ZooModel | ShippedResNet18 | TimmModel, Field(discriminator="kind")]
"""A network with the weights its authors published; it is evaluated as it is, or fine-tuned by a method."""
