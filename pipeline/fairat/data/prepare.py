"""From a source to the canonical form."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from fairat.data.archives import hashes
from fairat.data.canonical import ArchiveRecord, Manifest, Split, channel_statistics, save_split
from fairat.data.cifar import read_cifar10, read_cifar100
from fairat.data.digits import read_digits
from fairat.data.download import locate
from fairat.data.imagefolder import read_image_folder, read_imagenette
from fairat.data.images import ImageForm
from fairat.data.splits import first_of_each_class, split_validation, without
from fairat.files import whole_directory
from fairat.settings.data import Cifar10, Cifar100, Digits, ImageFolder, Imagenette, Source

_PACKAGES = {"digits": ("scikit-learn",), "imagenette": ("pillow",), "imagefolder": ("pillow",)}
"""The packages on which the pixels of a source depend."""


def prepare(
    name: str,
    source: Source,
    validation_fraction: float,
    output_directory: Path,
    archives_directory: Path,
    *,
    without_classes: Sequence[int] = (),
    train_per_class: int | None = None,
    test_per_class: int | None = None,
) -> Manifest:
    """Reads a source and writes its three splits and their manifest; the directory appears whole.

    Args:
        name: of the data set, for its manifest.
        source: where the images come from.
        validation_fraction: share of every class that validates.
        output_directory: where the splits go; replaced if it is there.
        archives_directory: the cache of downloads.
        without_classes: numbers of classes that are left out.
        train_per_class: uses only the first so many training images of every class, validation included.
        test_per_class: the same for the test set.

    Raises:
        UserError: the source cannot be had or read, a class is too small or not there, or the disk is full.
    """
    everything, test, archives = read_source(source, archives_directory)
    everything, test = (without(split, without_classes) for split in (everything, test))
    everything, test = first_of_each_class(everything, train_per_class), first_of_each_class(test, test_per_class)
    train, validation = split_validation(everything, validation_fraction)
    splits = {"train": train, "validation": validation, "test": test}
    manifest = _described(name, source, archives, splits)
    with whole_directory(output_directory) as beside:
        for part, split in splits.items():
            save_split(beside / f"{part}.safetensors", split)
        manifest.save(beside)
    return manifest


def _described(name: str, source: Source, archives: tuple[ArchiveRecord, ...], splits: dict[str, Split]) -> Manifest:
    train = splits["train"]
    mean, std = channel_statistics(train.images)
    channels, height, width = train.images.shape[1:]
    return Manifest(
        dataset=name,
        # Where a copy lies says nothing about the images.
        source=source.model_dump(mode="json", exclude={"archive", "path"}),
        archives=archives,
        class_names=train.class_names,
        image_shape=(channels, height, width),
        counts={part: split.counts for part, split in splits.items()},
        sha256={part: split.sha256 for part, split in splits.items()},
        mean=mean,
        std=std,
        versions={package: version(package) for package in _PACKAGES.get(source.kind, ())},
    )


def read_source(source: Source, archives_directory: Path) -> tuple[Split, Split, tuple[ArchiveRecord, ...]]:
    """Training (with validation) and test images in file order, and the archives they were read from."""
    match source:
        case Digits():
            return *read_digits(source.test_fraction), ()
        case ImageFolder():
            form = ImageForm(source.size, source.channels, source.convert)
            splits = read_image_folder(source.path, form, source.test_folder)
            if source.path.is_dir():
                return *splits, ()
            return *splits, (ArchiveRecord(name=source.path.name, sha256=hashes(source.path)[0]),)
        case Cifar10() | Cifar100() | Imagenette():
            path, record = locate(source, archives_directory)
            return *_read_archive(source, path), (record,)


def _read_archive(source: Cifar10 | Cifar100 | Imagenette, path: Path) -> tuple[Split, Split]:
    match source:
        case Cifar10():
            return read_cifar10(path)
        case Cifar100():
            return read_cifar100(path)
        case Imagenette():
            return read_imagenette(path, source.size)
