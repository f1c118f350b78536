"""Networks with weights made elsewhere: the models of RobustBench, the one that pyautoattack ships, checkpoints in general."""

import argparse
import pickle
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from fairat import paths
from fairat.errors import UserError
from fairat.files import sha256_of, whole_file
from fairat.settings.architectures import ShippedResNet18, ZooModel

THREAT_MODEL = "Linf"
CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
"""Number of classes of each data set."""

UNREADABLE = (EOFError, KeyError, RuntimeError, pickle.UnpicklingError)
"""What loading a file raises that holds no weights, or other weights than expected."""

_CONTAINERS = ("state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.", "model.")

_WITH_LAST_AND_BEST = ("Andriushchenko2020Understanding",)
"""Models of RobustBench whose file holds the weights of two epochs; it takes the last."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a PyTorch checkpoint, without the prefixes that wrappers leave; runs no code from the file.

    Raises:
        UserError: the file is missing, damaged, or holds no tensors.
    """
    try:
        return _tensors(path)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}. Put the checkpoint there, or correct its path.") from None
    except UNREADABLE as error:
        raise UserError(
            f"{path} cannot be read as PyTorch weights ({reason(error)}). Download it again, or name another file."
        ) from None


def _tensors(path: Path, part: str | None = None) -> dict[str, Tensor]:
    """As `read_state`; `part` is where the weights lie in a file of several. Raises FileNotFoundError or `UNREADABLE`."""
    try:
        content = _content(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may raise nearly everything: every step of the reader meets its bytes
        raise pickle.UnpicklingError(reason(error)) from None
    if part and isinstance(content, Mapping):
        content = content.get(part, content)
    if isinstance(content, Mapping):
        content = next((content[key] for key in _CONTAINERS if key in content), content)
    if not isinstance(content, Mapping):
        raise pickle.UnpicklingError(f"it holds {type(content).__name__}, not a dictionary of weights")
    state = {
        _bare(name): value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not state:
        raise pickle.UnpicklingError("it holds no tensors")
    return state


def _content(path: Path) -> object:
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        # Torch itself passes over the checksums: with a flipped bit it would give other weights in silence.
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
    # The training script of timm, and that of XCiT's robust weights with it, stores its command line beside the weights.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _bare(name: str) -> str:
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def reason(error: BaseException) -> str:
    """What one of `UNREADABLE` says, in one short line."""
    lines = str(error).splitlines() or [type(error).__name__]
    # load_state_dict opens with a heading and lists every name behind it.
    return shorten(lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0], width=160)


def load_shipped(network: nn.Module, settings: ShippedResNet18) -> None:
    """Loads the example weights of pyautoattack, from the package's own directory.

    Raises:
        UserError: the images or classes are not those of CIFAR-10.
    """
    num_classes, channels = len(network.get_parameter("linear.bias")), network.get_parameter("conv1.weight").shape[1]
    _refuse_other_images("The network that pyautoattack ships", "cifar10", num_classes, channels)
    package = find_spec("pyautoattack")
    assert package is not None and package.origin is not None
    network.load_state_dict(read_state(Path(package.origin).parent / "examples" / "model_test.pt"))


def build_zoo_model(settings: ZooModel, *, num_classes: int, channels: int) -> nn.Module:
    """The untrained network of RobustBench; it takes images in [0, 1] and normalizes as its authors did.

    Raises:
        UserError: there is no such model, or it is for other images or classes.
    """
    _refuse_other_images(settings.name, settings.dataset, num_classes, channels)
    return _entry(settings.name, settings.dataset).build()


def load_zoo_model(network: nn.Module, settings: ZooModel) -> None:
    """Loads the weights that RobustBench publishes; downloads them where no local file is named.

    Raises:
        UserError: the file is missing, cannot be downloaded, or holds something else.
    """
    entry = _entry(settings.name, settings.dataset)
    if settings.path is not None and not settings.path.is_file():
        raise UserError(
            f"There is no file {settings.path} (architecture.path). Put the weights of {settings.name} there, from "
            f"{entry.url}, or leave out the path to download them."
        )
    file = settings.path or robustbench_file(settings.name, settings.dataset)
    try:
        entry.load(network, file)
    except UNREADABLE as error:
        raise UserError(
            f"{file} does not hold the weights of RobustBench's {settings.name} ({settings.dataset}): {reason(error)}. "
            f"Delete it and fetch it anew from {entry.url}."
        ) from None


def _fitted(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors under the names of the network, which may have a prefix of its own around them."""
    names = {_bare(name): name for name in network.state_dict()}
    return {names.get(name, name): value for name, value in state.items()}


def _refuse_other_images(network: str, dataset: str, num_classes: int, channels: int) -> None:
    expected = CLASSES[dataset]
    if (num_classes, channels) != (expected, 3):
        raise UserError(
            f"{network} was trained on {dataset}, {expected} classes of images with 3 channels; the data has "
            f"{num_classes} classes and {channels} channel{'s' * (channels != 1)}. "
            "Choose another architecture for this suite."
        )


@dataclass(frozen=True)
class _Entry:
    """What RobustBench knows of a model.

    Attributes:
        build: makes the untrained network.
        url: where its weights are, for people.
        download: fetches them into a file.
        load: reads that file into the network.
    """

    build: Callable[[], nn.Module]
    url: str
    download: Callable[[Path], None]
    load: Callable[[nn.Module, Path], None]


def robustbench_file(name: str, dataset: str) -> Path:
    """The file of the weights that RobustBench publishes, downloaded once.

    Raises:
        UserError: there is no such model, or its weights cannot be downloaded.
    """
    file = paths.robustbench(name, dataset)
    if file.is_file():
        return file
    entry = _entry(name, dataset)
    from gdown.exceptions import FileURLRetrievalError

    try:
        with whole_file(file) as beside:
            entry.download(beside)
    except (OSError, FileURLRetrievalError, RuntimeError) as error:
        # Of a file with another hash than its name says, torch tells in a RuntimeError.
        kind = reason(error) if type(error) is RuntimeError else type(error).__name__
        raise UserError(
            f"The weights of RobustBench's {name} ({dataset}) could not be downloaded "
            f"({kind}). Fetch {entry.url} on a machine that can reach it and put the file at {file}, "
            "or name its place in architecture.path."
        ) from None
    return file


def _entry(name: str, dataset: str) -> _Entry:
    try:
        alias_autoattack()
        import timm
        from robustbench.model_zoo import model_dicts
        from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel
    except ModuleNotFoundError as error:
        raise UserError(
            f"Models of the zoo need the package {error.name}, which is not installed. "
            "Install the extra `zoo`: pip install -e '.[zoo]'."
        ) from None
    models = model_dicts[BenchmarkDataset(dataset)][ThreatModel(THREAT_MODEL)]
    if name not in models:
        near = get_close_matches(name, models, n=3, cutoff=0.3) or list(models)[:3]
        raise UserError(
            f"RobustBench has no model {name!r} for {dataset} and {THREAT_MODEL}; "
            f"names near it: {', '.join(near)}. Correct architecture.name; the {len(models)} names stand on robustbench.org."
        )
    # Models that RobustBench leaves to timm are registered there under a name made of name, data set and threat.
    registered = f"{name}_{dataset}_{THREAT_MODEL}".lower().replace("-", "_")
    if timm.is_model(registered):
        return _timm_entry(registered, CLASSES[dataset])
    return _drive_entry(name, dataset, models[name])


def alias_autoattack() -> None:
    """Makes pyautoattack importable as `autoattack`, the name that RobustBench imports; an installed one is left alone."""
    if find_spec("autoattack") is not None:
        return
    import pyautoattack  # noqa: F401  # its submodules are in sys.modules from here on

    for name, module in list(sys.modules.items()):
        if name == "pyautoattack" or name.startswith("pyautoattack."):
            sys.modules["autoattack" + name.removeprefix("pyautoattack")] = module


def _timm_entry(registered: str, num_classes: int) -> _Entry:
    import timm
    from timm.models import get_pretrained_cfg

    configuration = get_pretrained_cfg(registered)
    assert configuration is not None
    url = str(configuration.url)

    def load(network: nn.Module, file: Path) -> None:
        _require_hash(file, url)
        # The authors' file is of the network behind RobustBench's normalization.
        network.get_submodule("model").load_state_dict(_tensors(file))

    return _Entry(
        build=lambda: timm.create_model(registered, num_classes=num_classes, pretrained=False),
        url=url,
        download=lambda file: torch.hub.download_url_to_file(url, str(file), _hash_in(url)),
        load=load,
    )


def _hash_in(url: str) -> str | None:
    """The first digits of the SHA-256 that stand at the end of a file's name, as PyTorch and timm name weights."""
    found = re.search(r"-([0-9a-f]{8,64})\.[a-z.]+$", url)
    return found and found[1]


def _require_hash(file: Path, url: str) -> None:
    expected = _hash_in(url)
    if expected and not (given := sha256_of(file)).startswith(expected):
        raise pickle.UnpicklingError(f"its SHA-256 begins with {given[: len(expected)]}, not with {expected}")


def _drive_entry(name: str, dataset: str, published: dict[str, Any]) -> _Entry:
    import robustbench.utils
    from robustbench.model_zoo.enums import BenchmarkDataset

    identifier = published["gdrive_id"]
    if not isinstance(identifier, str):
        raise UserError(
            f"{name} is an ensemble of {len(identifier)} networks, which the zoo cannot load. "
            "Choose a single network in architecture.name."
        )

    def load(network: nn.Module, file: Path) -> None:
        state = _tensors(file, part="last" if name in _WITH_LAST_AND_BEST else None)
        # It knows in which files constants are missing that the network brings along.
        robustbench.utils._safe_load_state_dict(network, name, _fitted(state, network), BenchmarkDataset(dataset))

    return _Entry(
        build=published["model"],
        url=f"https://drive.google.com/uc?id={identifier}",
        download=lambda file: robustbench.utils.download_gdrive_new(identifier, str(file)),
        load=load,
    )
