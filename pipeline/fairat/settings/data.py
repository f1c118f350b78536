"""Where the images of a suite come from, and how they are split; a `kind` in params.yaml chooses the source."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from fairat.settings.base import Real, Settings, UserPath


def _of_a_file(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or not parts.path.rpartition("/")[2]:
        raise ValueError(f"{url!r} is not the address of a file; write one such as https://host/cifar-10-python.tar.gz")
    return url


Url = Annotated[str, AfterValidator(_of_a_file)]
Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Fraction = Annotated[Real, Field(gt=0, lt=1)]


class Digits(Settings):
    """Handwritten digits that ship with scikit-learn: 1,797 gray images of 8x8 pixels, ten classes.

    Attributes:
        test_fraction: share of every class, the last images in file order, that becomes the test set.
    """

    kind: Literal["digits"] = "digits"
    test_fraction: Fraction = 0.2


class Archive(Settings):
    """A source that can be downloaded.

    Attributes:
        url: of the official archive.
        md5: the publisher's own, so that no other bytes are ever used.
        archive: the path of a copy you already have.
    """

    url: Url
    md5: Md5
    archive: UserPath | None = None


class Cifar10(Archive):
    """CIFAR-10 (Krizhevsky 2009), the official archive for Python: 50,000 + 10,000 images of 3x32x32 pixels."""

    kind: Literal["cifar10"] = "cifar10"
    url: Url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    md5: Md5 = "c58f30108f718f92721af3b95e74349a"


class Cifar100(Archive):
    """CIFAR-100 (Krizhevsky 2009) with its 100 fine classes, the official archive for Python."""

    kind: Literal["cifar100"] = "cifar100"
    url: Url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    md5: Md5 = "eb9058c3a382ffc7106e4002c42a8d85"


class Imagenette(Archive):
    """Ten easy classes of ImageNet (fast.ai), the archive whose shorter sides are 160 pixels. Its `val` is our test set.

    Attributes:
        size: the shorter side is resized to this many pixels, then the central square is kept.
    """

    kind: Literal["imagenette"] = "imagenette"
    url: Url = "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-160.tgz"
    md5: Md5 = "e793b78cc4c9e9a4ccc0c1155377a412"
    size: PositiveInt = 160


class ImageFolder(Settings):
    """Images of your own: a directory or an archive (.tar, .tar.gz, .tar.xz, .zip) with `train/CLASS/*`, `test/CLASS/*`.

    A single directory around both is allowed, and `val/` in the place of `test/`. Classes are sorted by name, images
    inside a class by path. Files that are no images by their suffix, hidden ones and those elsewhere are passed over, which is
    said. Photographs are turned as their EXIF orientation asks; of several frames the first is used.

    Attributes:
        path: the directory or archive.
        size: resize the shorter side to this many pixels, then keep the central square; by default images must be of
            one size already and stay as they are.
        channels: 3 for color, 1 for gray.
        convert: turn images of another kind (gray, palette, with transparency, CMYK) into `channels`; refuse them
            otherwise. Transparency is dropped.
        test_folder: which folder is the test set, where there are both `test/` and `val/`.
    """

    kind: Literal["imagefolder"] = "imagefolder"
    path: UserPath
    size: PositiveInt | None = None
    channels: Literal[1, 3] = 3
    convert: bool = False
    test_folder: Literal["test", "val"] | None = None


class Cifar10C(Archive):
    """CIFAR-10-C (Hendrycks and Dietterich 2019): the CIFAR-10 test set under 19 corruptions at five severities."""

    kind: Literal["cifar10c"] = "cifar10c"
    url: Url = "https://zenodo.org/records/2535967/files/CIFAR-10-C.tar"
    md5: Md5 = "56bf5dcef84df0e2308c6dcbcbbd8499"


class Cifar100C(Archive):
    """CIFAR-100-C (Hendrycks and Dietterich 2019): the CIFAR-100 test set under the same corruptions."""

    kind: Literal["cifar100c"] = "cifar100c"
    url: Url = "https://zenodo.org/records/3555552/files/CIFAR-100-C.tar"
    md5: Md5 = "11f0ed0f1191edbf9fa23466ae6021d3"


CorruptedSource = Cifar10C | Cifar100C
"""Official corrupted test sets; tell them apart by `kind`."""

Source = Annotated[Digits | Cifar10 | Cifar100 | Imagenette | ImageFolder, Field(discriminator="kind")]
"""Where the images of a suite come from."""


class MadeCorruptions(Settings):
    """Corruptions made from the test set, where no official corrupted set exists."""

    kind: Literal["made"] = "made"
    seed: NonNegativeInt = 0


class ImagesPerClass(Settings):
    """How many images of every class a suite uses, the first in file order; all by default.

    Attributes:
        train: before the validation images are taken from them.
        test: of the test set.
    """

    train: PositiveInt | None = None
    test: PositiveInt | None = None


class Data(Settings):
    """Where a suite's images come from, and how they are split.

    Attributes:
        source: where the images come from.
        without_classes: numbers of classes that are left out of all splits; the others keep their order.
        images_per_class: uses only a part of the images, where the machine or the evening is small.
        validation_fraction: share of every class, the first images in file order, that becomes the validation set.
        corruptions: an official corrupted test set, or corruptions made from the test images.
    """

    source: Source
    without_classes: tuple[NonNegativeInt, ...] = ()
    images_per_class: ImagesPerClass = ImagesPerClass()
    validation_fraction: Fraction = 0.02
    corruptions: Annotated[MadeCorruptions | CorruptedSource, Field(discriminator="kind")] = MadeCorruptions()


class Statistics(Settings):
    """Constants of the normalization inside the model, one per channel, in units of [0, 1] images."""

    mean: tuple[Real, ...]
    std: tuple[Real, ...]
