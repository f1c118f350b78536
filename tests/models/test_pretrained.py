import argparse
import importlib
import pickle
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fairat.errors import UserError
from fairat.models import build_model, pretrained
from fairat.models.pretrained import alias_autoattack, read_state
from fairat.settings.architectures import ZooModel

from tests.models.toys import is_all_halves, write_halves

IMAGES: dict[str, Any] = {"num_classes": 10, "channels": 3, "mean": (0.5,) * 3, "std": (0.2,) * 3}


def fast_model(path: Path | None = None) -> ZooModel:
    return ZooModel(name="Wong2020Fast", path=path)


def test_pyautoattack_answers_to_both_names() -> None:
    alias_autoattack()
    once = sys.modules["autoattack"]
    alias_autoattack()
    assert sys.modules["autoattack"] is once is importlib.import_module("pyautoattack")
    assert importlib.import_module("autoattack.state") is importlib.import_module("pyautoattack.state")


def test_an_installed_autoattack_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name == "autoattack" or name.startswith("autoattack.")]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "autoattack.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    alias_autoattack()
    assert "autoattack" not in sys.modules


def test_a_local_file_is_loaded_without_download_and_without_our_normalization(tmp_path: Path) -> None:
    path = tmp_path / "anything.pt"
    write_halves(path, build_model(fast_model(), pretrained=False, **IMAGES).get_submodule("network"))
    model = build_model(fast_model(path), **IMAGES)
    assert [name for name, _ in model.named_children()] == ["network"]
    assert is_all_halves(model)


def test_the_xcit_of_the_zoo_is_loaded_behind_its_normalization(tmp_path: Path) -> None:
    settings = ZooModel(name="Debenedetti2022Light_XCiT-S12", path=tmp_path / "xcit.pth.tar")
    with torch.device("meta"):
        untrained = build_model(settings, pretrained=False, **IMAGES)
    write_halves(tmp_path / "xcit.pth.tar", untrained.get_submodule("network.model"))
    network = build_model(settings, **IMAGES).get_submodule("network")
    assert is_all_halves(network)
    assert network.get_buffer("normalize.mean").flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465])


def test_a_download_that_fails_says_which_file_to_put_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object) -> None:
        raise ConnectionError

    alias_autoattack()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module("robustbench.utils"), "download_gdrive_new", unreachable)
    with pytest.raises(UserError) as caught:
        build_model(fast_model(), **IMAGES)
    assert str(caught.value) == (
        "The weights of RobustBench's Wong2020Fast (cifar10) could not be downloaded (ConnectionError). "
        "Fetch https://drive.google.com/uc?id=1Re--_lf3jCEw9bnQqGkjw3J7v2tSZKrv on a machine that can reach it and put "
        "the file at data/archives/robustbench/cifar10/Linf/Wong2020Fast.pt, or name its place in architecture.path."
    )
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_download_with_another_hash_than_its_name_says_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def mismatched(*_: object) -> None:
        raise RuntimeError('invalid hash value (expected "00000000", got "12345678")')

    alias_autoattack()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module("robustbench.utils"), "download_gdrive_new", mismatched)
    with pytest.raises(
        UserError, match=r'could not be downloaded \(invalid hash value \(expected "00000000", got .*Fetch'
    ):
        build_model(fast_model(), **IMAGES)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_missing_local_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build_model(fast_model(tmp_path / "absent.pt"), **IMAGES)
    assert str(caught.value) == (
        f"There is no file {tmp_path / 'absent.pt'} (architecture.path). Put the weights of Wong2020Fast there, from "
        "https://drive.google.com/uc?id=1Re--_lf3jCEw9bnQqGkjw3J7v2tSZKrv, or leave out the path to download them."
    )


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.pt"
    path.write_text("<html>quota exceeded</html>")
    with pytest.raises(UserError) as caught:
        build_model(fast_model(path), **IMAGES)
    text = str(caught.value)
    assert text.startswith(f"{path} does not hold the weights of RobustBench's Wong2020Fast (cifar10): ")
    assert text.endswith(
        "Delete it and fetch it anew from https://drive.google.com/uc?id=1Re--_lf3jCEw9bnQqGkjw3J7v2tSZKrv."
    )


def test_an_unknown_name_is_answered_with_names_near_it() -> None:
    with pytest.raises(UserError) as caught:
        build_model(ZooModel(name="Wong2020fast"), **IMAGES)
    text = str(caught.value)
    assert text.startswith(
        "RobustBench has no model 'Wong2020fast' for cifar10 and Linf; names near it: Wong2020Fast, "
    )
    assert text.endswith("Correct architecture.name; the 76 names stand on robustbench.org.")


def test_an_ensemble_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        build_model(ZooModel(name="Chen2020Adversarial"), **IMAGES)
    assert str(caught.value) == (
        "Chen2020Adversarial is an ensemble of 3 networks, which the zoo cannot load. "
        "Choose a single network in architecture.name."
    )


def test_other_images_than_the_model_was_trained_on_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        build_model(ZooModel(name="any", dataset="cifar100"), num_classes=10, channels=1, mean=None, std=None)
    assert str(caught.value) == (
        "any was trained on cifar100, 100 classes of images with 3 channels; the data has 10 classes and 1 channel. "
        "Choose another architecture for this suite."
    )


def test_without_robustbench_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "robustbench.model_zoo", None)
    with pytest.raises(UserError) as caught:
        build_model(fast_model(), **IMAGES)
    assert str(caught.value) == (
        "Models of the zoo need the package robustbench.model_zoo, which is not installed. "
        "Install the extra `zoo`: pip install -e '.[zoo]'."
    )


def damaged(whole: bytes, dice: random.Random) -> bytes:
    """The file with a flipped bit, cut off, with a range of zeros, or with two blocks in each other's place."""
    content, kind = bytearray(whole), dice.choice(("bit", "cut", "zeros", "blocks"))
    start = dice.randrange(len(content))
    if kind == "bit":
        content[start] ^= 1 << dice.randrange(8)
    elif kind == "cut":
        del content[start:]
    elif kind == "zeros":
        length = min(dice.randrange(1, 512), len(content) - start)
        content[start : start + length] = bytes(length)
    else:
        one, other = sorted(dice.sample(range(len(content) // 64), 2))
        first, second = slice(64 * one, 64 * one + 64), slice(64 * other, 64 * other + 64)
        content[first], content[second] = content[second], content[first]
    return bytes(content)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "pickles one after the other"])
def test_a_damaged_checkpoint_gives_tensors_or_one_paragraph(is_zip: bool, tmp_path: Path) -> None:
    network, path = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)), tmp_path / "weights.pt"
    content = {"state_dict": network.state_dict(), "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    whole, expected, dice, refused = path.read_bytes(), read_state(path), random.Random(0), 0
    for _ in range(300):
        path.write_bytes(damaged(whole, dice))
        try:
            state = read_state(path)
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{path} cannot be read as PyTorch weights (")
            assert "\n" not in str(error)
            continue
        assert all(isinstance(value, torch.Tensor) for value in state.values())
        # Only a file with checksums can tell whether these are the weights that were saved.
        assert not is_zip or (
            state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)
        )
    assert refused > 100


class Caller:
    """Runs code when it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("code of a file was run",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(1)], "(it holds list, not a dictionary of weights)"),
        ({"state_dict": 3}, "(it holds int, not a dictionary of weights)"),
        ({"epoch": 3, 7: torch.zeros(1)}, "(it holds no tensors)"),
        ({"weight": torch.zeros(1), "more": Caller()}, "(Weights only load failed."),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(content: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        read_state(path)
    assert str(caught.value).startswith(f"{path} cannot be read as PyTorch weights {words}")
    assert str(caught.value).endswith("Download it again, or name another file.")


def test_a_folder_and_a_missing_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cannot be read as PyTorch weights \(.*Is a directory.*\)\. Download it again"
    ):
        read_state(tmp_path)
    with pytest.raises(
        UserError, match=r"^There is no file .*absent\.pt\. Put the checkpoint there, or correct its path\.$"
    ):
        read_state(tmp_path / "absent.pt")


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("Wong2020Fast", lambda state: without(state, "mu", "sigma")),
        ("Carmon2019Unlabeled", lambda state: {"state_dict": prefixed(state, "module."), "epoch": 1}),
        ("Chen2020Efficient", lambda state: {"state_dict": prefixed(without(state, "mu", "sigma"), "model.")}),
        ("Andriushchenko2020Understanding", lambda state: {"best": {}, "last": without(state, "mu", "sigma")}),
    ],
)  # fmt: skip
def test_each_layout_of_robustbench_is_read_as_robustbench_reads_it(name: str, layout: Any, tmp_path: Path) -> None:
    path = tmp_path / "cifar10" / "Linf" / f"{name}.pt"
    path.parent.mkdir(parents=True)
    settings = ZooModel(name=name, path=path)
    torch.manual_seed(0)
    torch.save(layout(build_model(settings, pretrained=False, **IMAGES).get_submodule("network").state_dict()), path)
    ours = build_model(settings, **IMAGES).get_submodule("network").state_dict()
    theirs = (
        importlib.import_module("robustbench.utils").load_model(name, str(tmp_path), "cifar10", "Linf").state_dict()
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def without(state: dict[str, torch.Tensor], *names: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name not in names}


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in state.items()}


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"fc.bias": torch.zeros(1000)}, path)
    with pytest.raises(
        UserError, match=r"other\.pt does not hold the weights of RobustBench's Wong2020Fast .*Delete it and"
    ):
        build_model(fast_model(path), **IMAGES)


def test_a_file_whose_url_names_a_hash_must_have_it(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    pretrained._require_hash(path, "https://host/weights.pt")
    pretrained._require_hash(path, f"https://host/weights-{pretrained.sha256_of(path)[:8]}.pth.tar")
    with pytest.raises(pickle.UnpicklingError, match=r"^its SHA-256 begins with [0-9a-f]{8}, not with 00000000$"):
        pretrained._require_hash(path, "https://host/weights-00000000.pth")
