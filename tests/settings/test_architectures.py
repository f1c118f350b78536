import subprocess
import sys
from pathlib import Path

import pytest
from fairat.settings.architectures import (
    Architecture,
    PreActResNet18,
    PublishedNetwork,
    ResNet18,
    ShippedResNet18,
    Wrn28x10,
    XcitS12,
    ZooModel,
)
from fairat.settings.data import ImageFolder
from pydantic import TypeAdapter, ValidationError

READ = TypeAdapter(Architecture)


def test_a_kind_alone_is_the_published_network() -> None:
    assert READ.validate_python({"kind": "preact_resnet18"}) == PreActResNet18(width=64, final_norm=True)
    assert READ.validate_python({"kind": "wrn28_10"}) == Wrn28x10(depth=28, widen=10)
    assert READ.validate_python({"kind": "xcit_s12"}) == XcitS12(checkpoint=None, drop_path=0.05)


def test_settings_survive_json() -> None:
    given = {"kind": "zoo", "name": "Rice2020Overfitting", "dataset": "cifar10", "path": "weights/rice.pt"}
    model = READ.validate_python(given)
    assert isinstance(model, ZooModel)
    assert READ.validate_json(model.model_dump_json()) == model
    assert model.model_dump(mode="json") == given


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(ValidationError, match=r"preact_resnet18\.widht\n  Extra inputs are not permitted"):
        READ.validate_python({"kind": "preact_resnet18", "widht": 8})


@pytest.mark.parametrize("depth", [4, 27])
def test_a_depth_of_unequal_stages_is_refused(depth: int) -> None:
    text = f"{depth} layers do not divide into three equal stages; take 6 n \\+ 4, such as 10, 16 or 28"
    with pytest.raises(ValidationError, match=text):
        Wrn28x10(depth=depth)


def test_reading_settings_imports_no_heavy_package() -> None:
    heavy = {"torch", "torchvision", "timm", "robustbench", "pyautoattack"}
    code = f"import sys, fairat.settings.architectures; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_only_architectures_with_weights_of_others_have_a_start() -> None:
    kinds = [{"kind": "preact_resnet18"}, {"kind": "xcit_s12"}, {"kind": "xcit_s12", "checkpoint": "xcit.pth"}]
    kinds += [{"kind": "zoo", "name": "any"}, {"kind": "shipped_resnet18"}]
    assert [READ.validate_python(kind).has_start for kind in kinds] == [False, False, True, True, True]


def test_where_published_weights_lie_is_not_what_a_network_is() -> None:
    assert ZooModel(name="any", path=Path("any.pt")).unplaced() == ZooModel(name="any")
    assert ResNet18(width=8).unplaced() == ResNet18(width=8)


def test_a_network_is_described_as_in_params_yaml() -> None:
    assert ResNet18(width=8).described() == "{kind: resnet18, width: 8}"
    described = ZooModel(name="any", path=Path("any.pt")).described()
    assert described == "{kind: zoo, name: any, dataset: cifar10}"


def test_published_networks_are_those_of_others() -> None:
    published = TypeAdapter(PublishedNetwork)
    assert published.validate_python({"kind": "shipped_resnet18"}) == ShippedResNet18()
    assert published.validate_python({"kind": "zoo", "name": "any"}) == ZooModel(name="any")
    with pytest.raises(ValidationError, match="does not match any of the expected tags: 'zoo', 'shipped_resnet18'"):
        published.validate_python({"kind": "resnet18"})


def test_a_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ImageFolder(path=Path("~/pics")).path == tmp_path / "pics"
    assert ImageFolder(path=Path("a?b#c%20")).path == Path("a?b#c%20")
