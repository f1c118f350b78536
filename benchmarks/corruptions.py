"""Compares our corruptions with independent references, and times them; prints the tables of docs/corruptions.md.

    python benchmarks/corruptions.py compare ARCHIVE       ours against reference functions with the same constants
    python benchmarks/corruptions.py magick CONVERT        motion blur against a real ImageMagick 6
    python benchmarks/corruptions.py speed ARCHIVE         seconds for every corruption
    python benchmarks/corruptions.py digits                a classifier on 8 x 8 digits: how much is 8 x 8 hurt?

ARCHIVE is a tar file that holds `test/<class>/<image>` of 32 x 32 pixels. `compare` needs the packages imagecorruptions,
opencv-python and scikit-image; the others need nothing but the project.
"""

import ast
import inspect
import subprocess
import sys
import tarfile
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from PIL import Image
from scipy import ndimage

from pipeline.data.corruptions import CORRUPTIONS, corrupt
from pipeline.data.corruptions.common import smeared
from pipeline.data.corruptions.constants import CONSTANTS, SEVERITIES
from pipeline.data.corruptions.weather import FROST_PHOTOGRAPHS, frost_directory

app = typer.Typer(add_completion=False, help=__doc__)

DETERMINISTIC = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
)


def read_images(archive: Path, count: int) -> torch.Tensor:
    """The first `count` test images of the archive, taking the classes in turn; uint8, (count, 3, H, W)."""
    chosen: dict[str, bytes] = {}
    with tarfile.open(archive) as file:
        for member in file:
            parts = Path(member.name).parts
            if member.isfile() and "test" in parts and (content := file.extractfile(member)) is not None:
                chosen[f"{parts[-1]}/{parts[-2]}"] = content.read()
    images = []
    with tempfile.TemporaryDirectory() as directory:
        for name in sorted(chosen)[:count]:
            path = Path(directory, name.replace("/", "-"))
            path.write_bytes(chosen[name])
            images.append(np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(images))


class OurConstants(ast.NodeTransformer):
    """Replaces `c = [...][severity - 1]` in a function of imagecorruptions by the constants of CIFAR-10-C."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        """Rewrites the assignment to `c`."""
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "c":
                values = [row[0] if len(row) == 1 else row for row in CONSTANTS[node.name]]
                statement.value = ast.parse(f"{values!r}[severity - 1]", mode="eval").body
        return node


def package_references() -> dict[str, Callable[..., Any]]:
    """The functions of imagecorruptions with the constants of CIFAR-10-C, mended where new NumPy and skimage differ."""
    np.float_ = np.float64  # type: ignore[attr-defined]
    import imagecorruptions.corruptions as package
    import skimage

    module = types.ModuleType("references")
    vars(module).update(vars(package))
    tree = ast.parse(inspect.getsource(package))
    names = [name for name in CORRUPTIONS if name not in ("zoom_blur", "frost", "elastic_transform", "pixelate")]
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    exec(compile(ast.fix_missing_locations(OurConstants().visit(tree)), "references", "exec"), vars(module))

    def gaussian(image: np.ndarray, sigma: float, multichannel: bool = False, **rest: Any) -> np.ndarray:
        return skimage.filters.gaussian(image, sigma, channel_axis=-1 if multichannel else None, **rest)

    module.gaussian = gaussian  # type: ignore[attr-defined]
    return {name: getattr(module, name) for name in names}


def zoom_blur(image: Image.Image, severity: int) -> np.ndarray:
    """One call of scipy.ndimage.zoom for every factor."""
    x = np.asarray(image, np.float32) / 255
    total, side = x.copy(), x.shape[0]
    factors = CONSTANTS["zoom_blur"][severity - 1]
    for factor in factors:
        crop = int(np.ceil(side / factor))
        top = (side - crop) // 2
        large = ndimage.zoom(x[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
        trim = (large.shape[0] - side) // 2
        total += large[trim : trim + side, trim : trim + side]
    return np.clip(total / (len(factors) + 1), 0, 1) * 255


def frost(image: Image.Image, severity: int) -> np.ndarray:
    """OpenCV reads and shrinks the photograph."""
    import cv2

    image_weight, frost_weight = CONSTANTS["frost"][severity - 1]
    photograph = cv2.imread(str(frost_directory() / FROST_PHOTOGRAPHS[np.random.randint(5)]))
    assert photograph is not None
    small = cv2.resize(photograph, (0, 0), fx=0.2, fy=0.2)
    top, left = np.random.randint(small.shape[0] - 32), np.random.randint(small.shape[1] - 32)
    crop = small[top : top + 32, left : left + 32, ::-1]
    return np.clip(image_weight * np.asarray(image) + frost_weight * crop, 0, 255)


def pixelate(image: Image.Image, severity: int) -> Image.Image:
    """PIL, one image at a time."""
    side = int(32 * CONSTANTS["pixelate"][severity - 1][0])
    return image.resize((side, side), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)


def elastic_transform(image: Image.Image, severity: int) -> np.ndarray:
    """OpenCV's affine warp, skimage's Gaussian, SciPy's interpolation."""
    import cv2
    from skimage.filters import gaussian

    x = np.asarray(image, np.float32) / 255
    amplitude, sigma, shift = (32 * share for share in CONSTANTS["elastic_transform"][severity - 1])
    corners = np.array([[26, 26], [26, 6], [6, 6]], np.float32)
    moved = corners + np.random.uniform(-shift, shift, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(corners, moved)
    x = cv2.warpAffine(x, matrix, (32, 32), borderMode=cv2.BORDER_REFLECT_101)
    rows, columns = np.indices((32, 32))
    wobble = [gaussian(np.random.uniform(-1, 1, (32, 32)), sigma, mode="reflect", truncate=3) for _ in range(2)]
    positions = [rows + amplitude * wobble[0], columns + amplitude * wobble[1]]
    channels = [ndimage.map_coordinates(x[..., c], positions, order=1, mode="reflect") for c in range(3)]
    return np.clip(np.stack(channels, axis=-1), 0, 1) * 255


@app.command()
def compare(archive: Path, images: int = 200) -> None:
    """Mean absolute change of a pixel, in steps of 1/255, severities 1 to 5: the reference's / ours."""
    torch.set_num_threads(1)
    np.random.seed(0)
    clean = read_images(archive, images)
    references = package_references()
    for own in (zoom_blur, frost, pixelate, elastic_transform):
        references[own.__name__] = own
    pictures = [Image.fromarray(image) for image in clean.permute(0, 2, 3, 1).numpy()]
    print("| corruption |" + "".join(f" {severity} |" for severity in SEVERITIES) + " equal values |")
    print("|---|---|---|---|---|---|---|")
    for name in CORRUPTIONS:
        cells, equal = [], []
        for severity in SEVERITIES:
            made = [np.asarray(references[name](picture, severity)).astype(np.uint8) for picture in pictures]
            theirs = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)
            ours = corrupt(clean, name, severity)
            cells.append(" / ".join(f"{(x.int() - clean.int()).abs().float().mean():.2f}" for x in (theirs, ours)))
            equal.append(f"{(theirs == ours).float().mean():.2%}")
        print(f"| {name} | {' | '.join(cells)} | {min(equal, key=lambda share: float(share[:-1])) if name in DETERMINISTIC else '–'} |")


@app.command()
def magick(convert: str, images: int = 20) -> None:
    """Differing values between our motion blur and ImageMagick's, over noise images and random constants."""
    generator = np.random.default_rng(0)
    differing = 0
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory, "source.png"), Path(directory, "target.png")
        for _ in range(images):
            noise = generator.integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
            radius, sigma, angle = generator.integers(6, 15), generator.uniform(1, 12), generator.uniform(-135, 45)
            Image.fromarray(noise[0].transpose(1, 2, 0)).save(source)
            blur = f"{radius}x{sigma:.3f}{angle:+.3f}"
            subprocess.run([convert, source, "-motion-blur", blur, "-depth", "8", target], check=True)
            theirs = np.asarray(Image.open(target)).transpose(2, 0, 1)
            ours = smeared(noise, radius, float(f"{sigma:.3f}"), np.array([float(f"{angle:.3f}")]))[0]
            differing += int((ours != theirs).sum())
    print(f"{differing} of {images * 3 * 32 * 32} values differ")


@app.command()
def speed(archive: Path, images: int = 1000) -> None:
    """Seconds for all five severities of every corruption, on one thread."""
    torch.set_num_threads(1)
    clean = read_images(archive, images)
    total = 0.0
    for name in CORRUPTIONS:
        began = time.perf_counter()
        for severity in SEVERITIES:
            corrupt(clean, name, severity)
        seconds = time.perf_counter() - began
        total += seconds
        print(f"{name:20} {seconds:6.2f} s")
    print(f"{'all 95 variants':20} {total:6.2f} s for {len(clean)} images")


@app.command()
def digits() -> None:
    """Accuracy on corrupted 8 x 8 digits, severities 1 to 5, of a support vector machine trained on clean ones."""
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    content = load_digits()
    images = torch.from_numpy((content.images * 255 / 16).astype(np.uint8))[:, None]
    model = SVC(gamma=0.02).fit(images[:1437].flatten(1) / 255, content.target[:1437])
    test, labels = images[1437:], content.target[1437:]
    print(f"clean: {model.score(test.flatten(1) / 255, labels):.1%}")
    print("| corruption |" + "".join(f" {severity} |" for severity in SEVERITIES))
    print("|---|---|---|---|---|---|")
    for name in CORRUPTIONS:
        scores = [model.score(corrupt(test, name, severity).flatten(1) / 255, labels) for severity in SEVERITIES]
        print(f"| {name} | {' | '.join(f'{score:.1%}' for score in scores)} |")


if __name__ == "__main__":
    sys.exit(app())
