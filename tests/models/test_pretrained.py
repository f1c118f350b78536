import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fairat.errors import UserError
from fairat.models import build_model
from fairat.models.pretrained import alias_autoattack
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
