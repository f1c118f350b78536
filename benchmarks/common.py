"""What the benchmarks share: images and networks to try them on, interleaved timing, and the report."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from fairat import seeds
from fairat.data.augmentation import AugmentedImages
from fairat.data.canonical import Split, load_split
from fairat.files import whole_file
from fairat.models.normalization import normalized
from fairat.models.preact_resnet import build
from fairat.settings.architectures import PreActResNet18
from fairat.settings.recipe import Augmentation
from torch import nn

RESULTS = Path(__file__).parent / "results"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
"""Of CIFAR-10's channels, in units of [0, 1] images."""


@dataclass
class Report:
    """Markdown that is printed as it grows, and can be written in one file at the end."""

    lines: list[str] = field(default_factory=list)

    def say(self, text: str = "") -> None:
        """Adds a paragraph or a line of a table."""
        print(text, flush=True)
        self.lines.append(text)

    def head(self, title: str, *, cuda: bool) -> None:
        """Begins the part of a benchmark that computes with torch."""
        self.say(f"## {title}\n\n{machine(cuda=cuda)}; torch {torch.__version__}, {torch.get_num_threads()} threads; ")

    def table(self, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        """Adds a table, row by row as the rows are made."""
        header = list(header)
        self.say()
        self.say(f"| {' | '.join(header)} |")
        self.say("|---" * len(header) + "|")
        for row in rows:
            self.say(f"| {' | '.join(row)} |")
        self.say()

    def write(self) -> Path:
        """Writes results/<machine>.md, whole."""
        path = RESULTS / f"{re.sub(r'[^a-z0-9]+', '-', machine(cuda=torch.cuda.is_available()).lower()).strip('-')}.md"
        with whole_file(path) as beside:
            beside.write_text("\n".join(self.lines).strip() + "\n", encoding="utf-8")
        return path


def machine(*, cuda: bool) -> str:
    """The device in a few words."""
    if cuda:
        return torch.cuda.get_device_name()
    names = (
        re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        if os.name == "posix"
        else []
    )
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


@dataclass(frozen=True)
class Spent:
    """What one call took, in seconds; on CUDA both are wall-clock time until the device was done.

    Attributes:
        wall: on the clock.
        processor: of all cores together, which other programs on the machine hardly change.
    """

    wall: float
    processor: float


def spent(work: Callable[[], object], device: torch.device) -> Spent:
    """Runs `work` once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, processor = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return Spent(*[time.perf_counter() - wall] * 2)
    return Spent(time.perf_counter() - wall, time.process_time() - processor)


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[Spent]]:
    """Runs every candidate once a round, each round beginning with another, so that all meet the same disturbances."""
    names, found = list(candidates), {name: [] for name in candidates}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(spent(candidates[name], device))
    return found


def ratios(of: Iterable[Spent], to: Iterable[Spent], clock: str) -> str:
    """Median of the rounds' ratios, and their range."""
    found = [getattr(a, clock) / getattr(b, clock) for a, b in zip(of, to, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}–{max(found):.2f})"


def seconds(spent_times: Iterable[Spent], clock: str = "processor") -> str:
    """The median, with three digits."""
    return f"{statistics.median(getattr(entry, clock) for entry in spent_times):.3g}"


def digits(size: int = 32) -> Split:
    """Scikit-learn's digits, enlarged and in three channels: real images of ten classes, without a download."""
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    small = torch.from_numpy(values).float().view(-1, 1, 8, 8) / 16
    images = F.interpolate(small, size=(size, size), mode="bilinear").clamp(0, 1).mul(255).round().to(torch.uint8)
    return Split(images.expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(labels), tuple("0123456789"))


def images_of(data: Path | None, split: str, device: torch.device) -> Split:
    """A split of a prepared data set, or the digits; on the device."""
    loaded = digits() if data is None else load_split(data / f"{split}.safetensors")
    return Split(loaded.images.to(device), loaded.labels.to(device), loaded.class_names)


def network(width: int, num_classes: int) -> nn.Sequential:
    """PreActResNet-18 behind its normalization, as the pipeline makes it, from seed 0."""
    torch.manual_seed(0)
    settings = PreActResNet18(width=width)
    return normalized(build(settings, num_classes=num_classes, channels=3), mean=MEAN, std=STD, channels=3)


def trained(split: Split, width: int, batch: int, steps: int) -> nn.Sequential:
    """A network after a few steps of clean training, channels last, in train mode."""
    device = split.images.device
    model = network(width, len(split.class_names)).to(memory_format=torch.channels_last).to(device).train()
    augmented, stream = AugmentedImages(split.images, Augmentation()), seeds.stream(0, "augmentation", 0, device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        indices = torch.randint(len(split), (batch,), generator=stream, device=device)
        optimizer.zero_grad()
        F.cross_entropy(model(augmented.batch(indices, stream)), split.labels[indices]).backward()
        optimizer.step()
    return model


def multiplications(model: nn.Module, shape: tuple[int, int, int] = (3, 32, 32)) -> int:
    """Multiply-adds of one image's forward pass, convolutions and linear layers only."""
    counted = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        counted += output[0].numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    training = model.training
    with torch.no_grad():
        model.eval()(torch.zeros(1, *shape, device=next(model.parameters()).device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return counted


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.float32, size: int | None = None) -> float:
    """Floating-point operations per second of a square matrix product: of processor time, the best of five."""
    size = size or (8192 if device.type == "cuda" else 1536)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = [spent(lambda: left @ right, device).processor for _ in range(6)][1:]
    return 2 * size**3 / min(times)
