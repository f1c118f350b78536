"""Compares the corruptions with functions that are not ours, and times them; prints the tables of docs/corruptions.md.

    python -m benchmarks.corruptions compare data/cifar10_jpeg    ours against one-by-one references, same random numbers
    python -m benchmarks.corruptions speed data/cifar10_jpeg      seconds of ours and of the references
    python -m benchmarks.corruptions stage data/cifar10_jpeg      seconds of a whole corrupted test set
    python -m benchmarks.corruptions victim data/demo             how much a support vector machine suffers
    python -m benchmarks.corruptions magick convert               motion blur against a real ImageMagick 6
    python -m benchmarks.corruptions official data/cifar10        ours against the official archive, where it was fetched

`data/NAME` is what `dvc repro prepare@NAME` makes. `compare` and `speed` need the extra `corruptions`, and 32 x 32 images.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import typer
from fairat.data.canonical import load_corruption, load_split
from fairat.data.corruptions import CORRUPTIONS, corrupt, corrupt_test_set
from fairat.data.corruptions.common import smeared
from fairat.data.corruptions.constants import SEVERITIES
from PIL import Image

from tests.data.corruption_references import (
    NOT_REPLAYED,
    corrupt_one_by_one,
    one_by_one,
    package_functions,
    references,
)

app = typer.Typer(
    add_completion=False, help="Compares the corruptions with functions that are not ours, and times them."
)


def test_images(directory: Path, count: int | None = None) -> torch.Tensor:
    """Test images of a prepared data set, spread evenly over the classes; uint8, (count, C, H, W)."""
    images = load_split(directory / "test.safetensors").images
    return images if count is None else images[torch.linspace(0, len(images) - 1, count).long()]


def change(corrupted: torch.Tensor, clean: torch.Tensor) -> float:
    """Mean absolute difference, in steps of 1/255."""
    return (corrupted.int() - clean.int()).abs().float().mean().item()


def print_header(*columns: str) -> None:
    """The first two lines of a table."""
    print(f"| corruption | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")


@app.command()
def compare(directory: Path, images: int = 200) -> None:
    """Mean absolute change of a value (1/255) at severities 1 to 5, and how often ours and the reference's agree.

    The last columns are the package's images with the constants that it has built in.
    """
    clean = test_images(directory, images)
    np.random.seed(0)
    package = package_functions(np.random, own_constants=True)
    print_header("ours, 1 to 5", "reference", "equal values", "largest difference", "imagecorruptions as it is")
    for name in CORRUPTIONS:
        ours = [corrupt(clean, name, severity) for severity in SEVERITIES]
        theirs = [corrupt_one_by_one(clean, name, severity) for severity in SEVERITIES]
        as_it_is = [one_by_one(package[name], clean, severity) for severity in SEVERITIES]
        cells = [", ".join(f"{change(x, clean):.1f}" for x in made) for made in (ours, theirs, as_it_is)]
        agreement = ["–", "–"]
        if name not in NOT_REPLAYED:
            difference = (torch.stack(ours).int() - torch.stack(theirs).int()).abs()
            agreement = [f"{(difference == 0).float().mean():.2%}", str(difference.max().item())]
        print(f"| {name} | {' | '.join([*cells[:2], *agreement, cells[2]])} |")


@app.command()
def speed(directory: Path, images: int = 200) -> None:
    """Processor seconds for 1,000 images at all five severities: image by image with the references, and ours."""
    clean = test_images(directory, images)
    functions = references(np.random)
    totals = np.zeros(2)
    print_header("one by one", "ours", "ratio")
    for name in CORRUPTIONS:
        one_by_one(functions[name], clean[:1], 1)  # what only a first call does
        corrupt(clean[:1], name, 1)
        instants = [time.process_time()]
        for severity in SEVERITIES:
            one_by_one(functions[name], clean, severity)
        instants.append(time.process_time())
        for severity in SEVERITIES:
            corrupt(clean, name, severity)
        instants.append(time.process_time())
        seconds = np.diff(instants) * 1000 / images
        totals += seconds
        print(f"| {name} | {seconds[0]:.2f} | {seconds[1]:.2f} | {seconds[0] / seconds[1]:.1f} |")
    print(f"| all | {totals[0]:.1f} | {totals[1]:.1f} | {totals[0] / totals[1]:.1f} |")


@app.command()
def stage(directory: Path) -> None:
    """Seconds that `corrupt_test_set` takes, all cores."""
    split = load_split(directory / "test.safetensors")
    with tempfile.TemporaryDirectory() as temporary:
        began, began_processor = time.perf_counter(), time.process_time()
        corrupt_test_set(split, Path(temporary, "corrupted"), dataset=directory.name, seed=0)
        seconds, processor = time.perf_counter() - began, time.process_time() - began_processor
    shape = " x ".join(str(side) for side in split.images.shape)
    print(f"{shape}: {seconds:.1f} s, of which {processor:.1f} s of processor time on all cores together")


@app.command()
def victim(directory: Path) -> None:
    """Accuracy on corrupted test images, severities 1 to 5, of a support vector machine trained on clean images."""
    from sklearn.svm import SVC

    train, test = (load_split(directory / f"{name}.safetensors") for name in ("train", "test"))
    machine = SVC(gamma="scale").fit(train.images.flatten(1).numpy() / 255, train.labels.numpy())

    def accuracy(images: torch.Tensor) -> str:
        return f"{machine.score(images.flatten(1).numpy() / 255, test.labels.numpy()):.1%}"

    print(f"clean: {accuracy(test.images)}\n")
    print_header("1", "2", "3", "4", "5")
    for name in CORRUPTIONS:
        print(f"| {name} | {' | '.join(accuracy(corrupt(test.images, name, level)) for level in SEVERITIES)} |")


@app.command()
def magick(convert: str, images: int = 100) -> None:
    """Differing values between our motion blur and ImageMagick's, over noise images and random constants."""
    generator = np.random.default_rng(0)
    differing = 0
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory, "source.png"), Path(directory, "target.png")
        for _ in range(images):
            noise = generator.integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
            radius, sigma, angle = int(generator.integers(6, 15)), generator.uniform(1, 12), generator.uniform(-135, 45)
            Image.fromarray(noise[0].transpose(1, 2, 0)).save(source)
            blur = f"{radius}x{sigma:.3f}{angle:+.3f}"
            subprocess.run([convert, source, "-motion-blur", blur, "-depth", "8", target], check=True)
            theirs = np.asarray(Image.open(target)).transpose(2, 0, 1)
            ours = smeared(noise, radius, float(f"{sigma:.3f}"), np.array([float(f"{angle:.3f}")]))[0]
            differing += int((ours != theirs).sum())
    print(f"{differing} of {images * 3 * 32 * 32} values differ")


@app.command()
def official(directory: Path) -> None:
    """Mean absolute change of a value (1/255) at severities 1 to 5, and how often ours and the archive's agree.

    The archive drew random numbers that nobody wrote down: values agree only where there are none.
    """
    clean = test_images(directory)
    print_header("ours, 1 to 5", "official", "equal values")
    for name in CORRUPTIONS:
        ours = torch.cat([corrupt(clean, name, severity) for severity in SEVERITIES])
        theirs = load_corruption(directory.with_name(f"{directory.name}-corrupted"), name).images
        blocks = [made.unflatten(0, (len(SEVERITIES), -1)) for made in (ours, theirs)]
        cells = [", ".join(f"{change(x, clean):.1f}" for x in made) for made in blocks]
        print(f"| {name} | {' | '.join(cells)} | {(ours == theirs).float().mean():.2%} |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    app()
