"""From a source to the canonical form."""

from importlib.metadata import version
from pathlib import Path

from fairat.data.canonical import ArchiveRecord, Manifest, Split, channel_statistics, save_split
from fairat.data.cifar import read_cifar
from fairat.data.digits import read_digits
from fairat.data.download import locate, record_of
from fairat.data.imagefolder import read_image_folder, read_imagenette
from fairat.data.splits import first_of_each_class, require_every_class, split_validation, without
from fairat.files import whole_directory
from fairat.settings.data import Data, Digits, ImageFolder, Imagenette, Source

_PACKAGES = {"digits": ("scikit-learn",), "imagenette": ("pillow",), "imagefolder": ("pillow",)}
"""The packages on which the pixels of a source depend."""


def prepare(name: str, data: Data, output_directory: Path, archives_directory: Path) -> Manifest:
    """Reads the source of a suite's images and writes its three splits and their manifest; the directory appears whole.

    Raises:
        UserError: the source cannot be had or read, there is one class only, a class is too small or without images in a
            split, or the disk is full.
    """
    everything, test, archives = _read(data.source, archives_directory)
    everything, test = (without(split, data.without_classes) for split in (everything, test))
    everything = first_of_each_class(everything, data.images_per_class.train)
    train, validation = split_validation(everything, data.validation_fraction)
    splits = {"train": train, "validation": validation}
    splits["test"] = first_of_each_class(test, data.images_per_class.test)
    require_every_class(splits)
    mean, std = channel_statistics(train.images)
    channels, height, width = train.images.shape[1:]
    manifest = Manifest(
        dataset=name,
        # Where a copy lies says nothing about the images.
        source=data.source.model_dump(mode="json", exclude={"archive", "path"}),
        archives=archives,
        class_names=train.class_names,
        image_shape=(channels, height, width),
        counts={part: split.counts for part, split in splits.items()},
        sha256={part: split.sha256 for part, split in splits.items()},
        mean=mean,
        std=std,
        versions={package: version(package) for package in _PACKAGES.get(data.source.kind, ())},
    )
    with whole_directory(output_directory) as temporary:
        for part, split in splits.items():
            save_split(temporary / f"{part}.safetensors", split)
        manifest.save(temporary)
    return manifest


def _read(source: Source, archives_directory: Path) -> tuple[Split, Split, tuple[ArchiveRecord, ...]]:
    """Training (with validation) and test images in file order, and the archives they were read from."""
    if isinstance(source, Digits):
        return *read_digits(source.test_fraction), ()
    if isinstance(source, ImageFolder):
        splits = read_image_folder(source)
        # The MD5 is for archives whose publisher gives one.
        records = () if source.path.is_dir() else (record_of(source.path).model_copy(update={"md5": None}),)
        return *splits, records
    path, record = locate(source, archives_directory)
    splits = read_imagenette(path, source.size) if isinstance(source, Imagenette) else read_cifar(path, source.kind)
    return *splits, (record,)
