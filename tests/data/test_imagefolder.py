"""Images in folders: in a fixed order, with their exact pixels, or refused with the way out."""

import io
import itertools
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairat.console import Terminal
from fairat.data.canonical import Split
from fairat.data.imagefolder import read_image_folder, read_imagenette
from fairat.data.prepare import prepare
from fairat.errors import UserError
from fairat.progress import told_to
from fairat.settings.data import Data, ImageFolder
from PIL import Image

NAMES = ("train/cat/a.png", "train/cat/b.png", "train/dog/a.png", "test/cat/c.png", "test/dog/d.png")


def image(seed: int = 0, shape: tuple[int, ...] = (6, 6, 3)) -> np.ndarray:
    """Random pixels, `height width` or `height width channel`."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels: np.ndarray | Image.Image, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(stream, form)
    return stream.getvalue()


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def packed(root: Path, path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name in names:
            archive.add(root / name, name)
    return path


def packed_as_zip(path: Path, files: dict[str, bytes]) -> Path:
    """A file system may take two names for one; a .zip does not."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read(path: Path, **settings: Any) -> tuple[Split, Split]:
    return read_image_folder(ImageFolder(path=path, **settings))


@pytest.fixture
def good() -> dict[str, bytes]:
    """A small data set of five color images: image(0) to image(4), in the order of NAMES."""
    return {name: encoded(image(seed)) for seed, name in enumerate(NAMES)}


def test_pixels_labels_and_names_are_those_of_the_files(good: dict[str, bytes], tmp_path: Path) -> None:
    train, test = read(folder(tmp_path, good))
    assert train.class_names == test.class_names == ("cat", "dog")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1], [0, 1])
    expected = torch.from_numpy(np.stack([image(seed) for seed in range(5)])).permute(0, 3, 1, 2)
    assert torch.equal(torch.cat([train.images, test.images]), expected)
    assert train.images.is_contiguous()
    assert train.images.dtype == torch.uint8


def test_an_archive_in_any_order_equals_its_directory(good: dict[str, bytes], tmp_path: Path) -> None:
    root = folder(tmp_path / "images", good)
    shuffled = [NAMES[index] for index in (3, 2, 4, 1, 0)]
    both = [read(path) for path in (root, packed(root, tmp_path / "a.tar.xz", shuffled))]
    for one, other in zip(*both, strict=True):
        assert one.sha256 == other.sha256


def test_a_folder_around_everything_val_for_test_and_other_files_make_no_difference(
    good: dict[str, bytes], tmp_path: Path
) -> None:
    plain = read(folder(tmp_path / "plain", good))
    moved = {f"set/{name.replace('test/', 'val/')}": content for name, content in good.items()}
    litter = (
        "set/.DS_Store",
        "set/train/.hidden/a.png",
        "__MACOSX/train/x/a.png",
        "set/train/cat/notes.txt",
        "set/README",
    )
    wrapped = read(folder(tmp_path / "wrapped", moved | dict.fromkeys(litter, b"no image")))
    assert [split.sha256 for split in plain] == [split.sha256 for split in wrapped]


def test_images_are_in_the_order_of_folder_and_name(good: dict[str, bytes], tmp_path: Path) -> None:
    deep = {
        f"train/cat/{name}": encoded(image(10 + seed)) for seed, name in enumerate(("x/1.png", "x/10.png", "y/0.png"))
    }
    train, _ = read(folder(tmp_path, good | deep))
    firsts = [int(value) for value in train.images[:, 0, 0, 0]]
    assert firsts == [int(image(seed)[0, 0, 0]) for seed in (0, 1, 10, 11, 12, 2)]


def test_either_of_two_test_folders_can_be_chosen(good: dict[str, bytes], tmp_path: Path) -> None:
    both = folder(tmp_path, good | {"val/cat/e.png": encoded(image(5)), "val/dog/f.png": encoded(image(6))})
    with pytest.raises(UserError, match=r"holds both test/ and val/\. Set `test_folder: test` or `test_folder: val`"):
        read(both)
    for name, seed in (("test", 3), ("val", 5)):
        _, test = read(both, test_folder=name)
        assert torch.equal(test.images[0], torch.from_numpy(image(seed)).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda files: files.update({"train/eel/x.txt": b"", "test/eel/1.png": files[NAMES[0]]}), r"no images in train/eel \(looked for \.jpg .*\)\. Add images or remove the class"),
        (lambda files: files.update({"train/eel/1.png": files[NAMES[0]], "test/eel/x.txt": b""}), r"no images in test/eel"),
        (lambda files: [files.pop(name) for name in NAMES[3:]], r"holds no test/CLASS/ folders; at its top it holds: train\. Arrange the images"),
        (lambda files: [files.pop(name) for name in NAMES[:3]], r"holds no train/CLASS/ folders; at its top it holds: test\. Arrange"),
        (lambda files: files.clear(), r"holds no train/CLASS/ folders; at its top it holds: nothing\. Arrange"),
        (lambda files: files.update({"train/a.png": files.pop(NAMES[0])}) or [files.pop(name) for name in NAMES[1:3]], r"holds no train/CLASS/ folders; at its top it holds: test, train"),
        (lambda files: files.update({"test/eel/1.png": files.pop(NAMES[4])}), r"other classes in train/ than in test/: only in train: dog; only in test: eel\. Every class needs"),
        (lambda files: [files.pop(name) for name in (NAMES[2], NAMES[4])], r"holds one class only: cat\. At least two are needed"),
        (lambda files: files.update({"more/train/cat/a.png": files[NAMES[0]]}), r"more than one data set: in its root, more\. Give each its own"),
    ],
    ids=["empty in train", "empty in test", "no test", "no train", "nothing", "no classes", "other classes", "one class", "two sets"],
)  # fmt: skip
def test_a_wrong_layout_is_told_with_what_would_do(
    edit: Callable[[dict[str, bytes]], object], words: str, good: dict[str, bytes], tmp_path: Path
) -> None:
    edit(good)
    tmp_path.joinpath("set").mkdir()
    with pytest.raises(UserError, match=words):
        read(folder(tmp_path / "set", good))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("cat", "cat "),
        ("sea lion", "sea  lion"),
        ("\ufb01sh", "fish"),
        ("cat", "\u00a0cat"),
    ],
    ids=["accent apart", "space behind", "two spaces", "ligature", "hard space in front"],
)
def test_classes_whose_names_look_the_same_are_refused(
    one: str, other: str, good: dict[str, bytes], tmp_path: Path
) -> None:
    files = {f"{split}/{name}/a.png": good[NAMES[0]] for split in ("train", "test") for name in (one, other)}
    # As when one half was packed on a Mac: each name is in one half only.
    halves = {f"train/{one}/a.png": good[NAMES[0]], f"test/{other}/a.png": good[NAMES[0]]}
    for number, some in enumerate((files, halves)):
        with pytest.raises(UserError) as caught:
            read(packed_as_zip(tmp_path / f"{number}.zip", good | some))
        first, second = sorted((one, other))
        assert str(caught.value) == (
            f"{tmp_path / f'{number}.zip'} has classes whose names look the same: {first!a}, {second!a}. Rename the "
            "folders of one of them, to a name of its own or, if both are one class, to the other's."
        )


def test_classes_that_differ_in_case_are_two(good: dict[str, bytes], tmp_path: Path) -> None:
    upper = {f"{split}/CAT/a.png": good[NAMES[0]] for split in ("train", "test")}
    train, _ = read(packed_as_zip(tmp_path / "a.zip", good | upper))
    assert train.class_names == ("CAT", "cat", "dog")


def test_an_empty_class_folder_is_noticed_in_an_archive_too(good: dict[str, bytes], tmp_path: Path) -> None:
    root = folder(tmp_path / "images", good)
    for split in ("train", "test"):
        (root / split / "eel").mkdir()
    with pytest.raises(UserError, match=r"a\.tar\.xz holds no images in train/eel"):
        read(packed(root, tmp_path / "a.tar.xz", ["train", "test"]))


def test_a_file_packed_twice_is_refused(good: dict[str, bytes], tmp_path: Path) -> None:
    root = folder(tmp_path / "images", good)
    path = packed(root, tmp_path / "a.tar.xz", [*NAMES, NAMES[1]])
    with pytest.raises(UserError, match=r"a\.tar\.xz holds train/cat/b\.png twice\. Pack it again"):
        read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>not found</html>", r"b\.png is in no known image format\. Replace or remove it"),
        (b"", r"b\.png is in no known image format"),
        (encoded(image(1))[:-40], r"b\.png cannot be read as an image \(.*\)\. Replace or remove it"),
        (encoded(image(1, (40, 40, 3)), "JPEG")[:-60], r"b\.png cannot be read as an image \(.*truncated"),
        (encoded(image(1, (6, 6))), r"b\.png is a gray image of 6x6 pixels \(mode L\), but color images \(RGB\) are expected\. Set `convert: true`"),
        (encoded(image(1, (6, 6, 4))), r"b\.png is a RGBA image of 6x6 pixels .*Set `convert: true`"),
        (encoded(image(1, (6, 6)).astype(np.uint16)), r"b\.png is a I;16 image .*more than 8 bits per channel\. Save it with 8"),
        (encoded(image(1, (5, 7, 3))), r"b\.png has 7x5 pixels, but .*\.png has 6x6: images must be of one size\. Set `size: 6` in the source"),
    ],
    ids=["a page", "nothing", "half a PNG", "half a JPEG", "gray", "transparent", "16 bits", "odd size"],
)  # fmt: skip
def test_an_image_that_does_not_fit_is_named_with_the_way_out(
    content: bytes, words: str, good: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        read(folder(tmp_path, good | {NAMES[1]: content}))


def test_sizes_are_compared_across_batches_too(
    good: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairat.data.imagefolder.BATCH", 1)
    with pytest.raises(UserError, match=r"test/dog/d\.png has 9x9 pixels, but .*has 6x6"):
        read(folder(tmp_path, good | {NAMES[4]: encoded(image(0, (9, 9, 3)))}))


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_the_size_of_batches_does_not_matter(
    batch: int, good: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairat.data.imagefolder.BATCH", batch)
    train, _ = read(folder(tmp_path, good))
    assert torch.equal(train.images[2], torch.from_numpy(image(2)).permute(2, 0, 1))


def test_conversion_makes_gray_images_color_and_drops_transparency(good: dict[str, bytes], tmp_path: Path) -> None:
    gray, transparent = image(1, (6, 6)), image(2, (6, 6, 4))
    mixed = good | {NAMES[0]: encoded(gray), NAMES[1]: encoded(transparent)}
    train, _ = read(folder(tmp_path, mixed), convert=True)
    assert all(np.array_equal(train.images[0, channel], gray) for channel in range(3))
    assert np.array_equal(train.images[1], transparent[:, :, :3].transpose(2, 0, 1))


def test_gray_images_stay_gray_where_one_channel_is_asked_for(tmp_path: Path) -> None:
    files = {name: encoded(image(seed, (6, 6))) for seed, name in enumerate(NAMES)}
    train, test = read(folder(tmp_path, files), channels=1)
    assert train.images.shape == (3, 1, 6, 6)
    assert np.array_equal(test.images[0, 0], image(3, (6, 6)))


@pytest.mark.parametrize(("height", "width"), [(6, 11), (9, 6), (6, 6)])
def test_an_image_whose_shorter_side_fits_is_cropped_and_never_resampled(
    height: int, width: int, good: dict[str, bytes], tmp_path: Path
) -> None:
    pixels = image(1, (height, width, 3))
    train, _ = read(folder(tmp_path, good | {NAMES[1]: encoded(pixels)}), size=6)
    top, left = (height - 6) // 2, (width - 6) // 2
    assert np.array_equal(train.images[1], pixels[top : top + 6, left : left + 6].transpose(2, 0, 1))


def test_a_larger_image_is_averaged_over_all_of_its_pixels(good: dict[str, bytes], tmp_path: Path) -> None:
    # A checkerboard halved: a filter that passed over pixels would give black or white instead of gray.
    board = np.indices((12, 12)).sum(0) % 2 * 255
    pixels = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    train, _ = read(folder(tmp_path, good | {NAMES[1]: encoded(pixels)}), size=6)
    inner = train.images[1, :, 1:-1, 1:-1].float()
    assert (inner - 127.5).abs().max() < 2


def turned(pixels: np.ndarray, orientation: int, form: str) -> bytes:
    """An image file with a note on how to turn it."""
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(stream, form, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_a_photograph_is_used_as_a_person_sees_it(form: str, good: dict[str, bytes], tmp_path: Path) -> None:
    # Orientation 6: the first row that is stored is the right column that is seen. Stored 6x4, seen 4x6.
    seen = {name: image(seed, (6, 4, 3)) for seed, name in enumerate(NAMES)}
    files = {name: encoded(pixels) for name, pixels in seen.items()}
    sideways = NAMES[1].replace("png", form.lower())
    del files[NAMES[1]]
    train, _ = read(folder(tmp_path, files | {sideways: turned(np.rot90(seen[NAMES[1]]), 6, form)}))
    assert np.array_equal(train.images[1], seen[NAMES[1]].transpose(2, 0, 1))


def test_a_damaged_note_on_how_to_turn_an_image_says_nothing(good: dict[str, bytes], tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(image(1)).save(stream, "PNG", exif=b"Exif\0\0no TIFF header")
    train, _ = read(folder(tmp_path, good | {NAMES[1]: stream.getvalue()}))
    assert np.array_equal(train.images[1], image(1).transpose(2, 0, 1))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_used_which_is_said(
    form: str, good: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream, frames = io.BytesIO(), [Image.fromarray(image(seed)) for seed in (1, 8, 9)]
    lossless = {"lossless": True} if form == "WEBP" else {}
    frames[0].save(stream, form, save_all=True, append_images=frames[1:], **lossless)
    with told_to(Terminal()):
        train, _ = read(folder(tmp_path, good | {NAMES[1]: stream.getvalue()}))
    assert np.array_equal(train.images[1], image(1).transpose(2, 0, 1))
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(": 1 image has several frames (train/cat/b.png); only the first frame is used.")


def test_files_that_are_not_used_are_counted_and_named(
    good: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    litter = ("README.txt", ".hidden/a.png", "train/cat/notes.txt", "train/a.png", "more/x.png", "more/y.png")
    with told_to(Terminal()):
        read(folder(tmp_path, good | dict.fromkeys(litter, b"no image")))
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(
        ": 6 files are not used (.hidden/a.png, README.txt, more/x.png, more/y.png, train/a.png, ...): hidden, outside of "
        "train/CLASS/ and test/CLASS/, or no image by its suffix."
    )
    with told_to(Terminal()):
        read(folder(tmp_path / "clean", good))
    assert capsys.readouterr().out == ""


def test_imagenette_gets_readable_names_and_color(tmp_path: Path) -> None:
    classes = ("n01440764", "n03888257")
    files = {
        f"imagenette2-160/{split}/{name}/{split}_{index}.JPEG": encoded(image(index, shape), "JPEG")
        for split, name in itertools.product(("train", "val"), classes)
        for index, shape in enumerate([(8, 10, 3), (8, 10)])
    }
    root = folder(tmp_path / "images", {**files, "imagenette2-160/noise_imagenette.csv": b"path\n"})
    train, test = read_imagenette(packed(root, tmp_path / "imagenette2-160.tgz", ["imagenette2-160"]), size=8)
    assert train.class_names == test.class_names == ("tench", "parachute")
    assert train.images.shape == test.images.shape == (4, 3, 8, 8)
    assert torch.equal(train.images[1, 0], train.images[1, 2])


def test_the_manifest_names_the_archive_without_the_md5_of_a_publisher(good: dict[str, bytes], tmp_path: Path) -> None:
    good["train/dog/z.png"] = encoded(image(7))
    path = packed(folder(tmp_path / "images", good), tmp_path / "few.tar.xz", list(good))
    manifest = prepare("few", Data(source=ImageFolder(path=path), validation_fraction=0.5), tmp_path / "out", tmp_path)
    assert [(archive.name, archive.md5) for archive in manifest.archives] == [("few.tar.xz", None)]
    assert [sum(counts.values()) for counts in manifest.counts.values()] == [2, 2, 2]
