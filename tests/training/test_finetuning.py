"""stages.train from a published network: it trains that network, whatever the method, and says so."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fairat import paths
from fairat.data.canonical import Manifest, Split, load_split, save_split
from fairat.errors import UserError
from fairat.evaluation import evaluate_model
from fairat.evaluation.protocol import EvaluationSet
from fairat.files import sha256_of
from fairat.models import NETWORKS, build_model
from fairat.models.resnet import ResNet
from fairat.results.evidence import read_evidence
from fairat.settings.architectures import ShippedResNet18, TimmModel, XcitS12, ZooModel
from fairat.settings.evaluations import PgdEvaluation
from fairat.study import Training, load_study
from fairat.training.checkpoint import load_weights
from fairat.training.record import RunRecord
from ruamel.yaml import YAML
from safetensors.torch import load_file
from torch import Tensor, nn

from stages.evaluate import main as evaluate
from stages.train import describe, initial_model, main
from tests.models.toys import write_halves

METHODS: dict[str, dict[str, Any]] = YAML(typ="safe").load(Path("params.yaml"))["methods"]
AT = {"label": "AT", "objective": {"kind": "at"}}
FRL = {
    "label": "FRL",
    "objective": {"kind": "trades", "beta": 1.5},
    "margin": {"kind": "frl_remargin"},
    "class_weights": {"kind": "frl_reweight"},
}
FAIR_TAT = AT | {"targets": {"kind": "cfps"}, "margin": {"kind": "robust_accuracy"}}
CPU = torch.device("cpu")
SUITE = {
    "title": "Tiny",
    "data": {"source": {"kind": "digits"}},
    "architecture": {"kind": "preact_resnet18", "width": 2},
    "statistics": {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
    "threat": {"epsilon": "8/255", "step_size": "2/255", "num_steps": 2},
    "recipe": {"batch_size": 20, "augmentation": {"crop_padding": 1, "padding": "zero"}},
    "epoch_scale": 0.005,
    "weights": ["last"],
    "evaluation": {"pgd": {"steps": [2], "step_size": "2/255"}},
}


def write_study(methods: dict[str, dict[str, Any]], published: dict[str, Any] | None = None, **suite: Any) -> None:
    """A suite `tiny`, its methods with a run each, and the published network `net`."""
    yaml, runs = YAML(typ="safe"), {}
    for name, method in {"net": {}, **methods}.items():
        start = method.get("starts_from")
        runs[f"tiny/{name}/s0"] = {"suite": "tiny", "start": f"runs/tiny/{start}/s0" if start else "data/tiny"}
    zoo = {"net": {"label": "Net", "architecture": published or {"kind": "shipped_resnet18"}}}
    yaml.dump({"methods": methods, "zoo": zoo, "suites": {"tiny": SUITE | suite}}, Path("params.yaml"))
    yaml.dump({"runs": runs}, Path("runs.yaml"))
    for key in runs:
        path = paths.FINGERPRINTS / "train" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("code")


def write_images(classes: int = 10, size: int = 8) -> None:
    """Two images of every class for training, and one each for validation and for tests."""
    directory, names = paths.dataset("tiny"), tuple(f"class {number}" for number in range(classes))
    directory.mkdir(parents=True, exist_ok=True)
    generator, hashes = torch.Generator().manual_seed(0), dict[str, str]()
    for name, count in (("train", 2), ("validation", 1), ("test", 1)):
        labels = torch.arange(classes).repeat_interleave(count)
        images = torch.randint(256, (len(labels), 3, size, size), generator=generator, dtype=torch.uint8)
        split = Split(images, labels, names)
        save_split(directory / f"{name}.safetensors", split)
        hashes[name] = split.sha256
    manifest = {"dataset": "tiny", "source": {}, "class_names": names, "image_shape": (3, size, size), "counts": {}}
    statistics = {"mean": (0.4, 0.4, 0.4), "std": (0.3, 0.3, 0.3)}
    Manifest.model_validate({**manifest, "sha256": hashes, **statistics}).save(directory)


def starting(method: dict[str, Any], start: str = "net") -> dict[str, Any]:
    """The method, starting from another run."""
    return method | {"starts_from": start}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty project on a CPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEVICE", "cpu")
    Path("own.yaml").write_text("# nothing\n", encoding="utf-8")
    path = paths.FINGERPRINTS / "pgd" / "tiny"
    path.parent.mkdir(parents=True)
    path.write_text("code")
    write_images()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published network is two channels wide, comes frozen and in eval mode, and its weights are no initial ones."""

    def build(settings: ShippedResNet18, *, num_classes: int, channels: int) -> nn.Module:
        return ResNet(num_classes, channels, width=2).requires_grad_(False).eval()

    def load_start(network: nn.Module, settings: ShippedResNet18) -> None:
        generator = torch.Generator().manual_seed(7)
        for parameter in network.parameters():
            parameter.copy_(0.5 + torch.rand(parameter.shape, generator=generator))

    monkeypatch.setitem(NETWORKS, ShippedResNet18, (build, load_start))


def training(method: str) -> Training:
    run = load_study().run("tiny", method, 0)
    assert isinstance(run, Training)
    return run


def weights_of(method: str) -> dict[str, Tensor]:
    return load_file(paths.weights(paths.run("tiny", method, 0), "last"))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_the_published_network_that_it_starts_from(name: str) -> None:
    write_study({name: starting(METHODS[name])})
    main("tiny/net/s0")
    main(f"tiny/{name}/s0")
    record, before, after = RunRecord.load(paths.run("tiny", name, 0)), weights_of("net"), weights_of(name)
    assert record.architecture == ShippedResNet18()
    assert record.statistics is None
    assert record.start_sha256 == RunRecord.load(paths.run("tiny", "net", 0)).weights["last"].sha256
    assert before.keys() == after.keys()
    assert [tensor for tensor in before if torch.equal(before[tensor], after[tensor])] == []


@pytest.mark.usefixtures("narrow")
def test_the_record_names_the_published_network_and_not_what_the_suite_says_of_its_own() -> None:
    write_study({"frl": starting(FRL)})
    settings = training("frl").settings
    assert settings["architecture"] == {"kind": "shipped_resnet18"}
    assert settings["start"] == "net"
    assert not settings.keys() & {"normalize", "statistics"}


@pytest.mark.usefixtures("narrow")
def test_a_training_from_random_weights_keeps_the_network_of_the_suite() -> None:
    write_study({"at": AT})
    record = describe(training("at"), CPU)
    assert record.architecture == load_study().suites["tiny"].architecture
    assert record.statistics == {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    assert record.settings["statistics"] == {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    assert record.start_sha256 == ""


@pytest.mark.usefixtures("narrow")
def test_training_begins_with_the_published_weights_all_of_them_free_to_move() -> None:
    write_study({"at": starting(AT)})
    main("tiny/net/s0")
    run = training("at")
    model = initial_model(describe(run, CPU), run, CPU)
    assert all(torch.equal(value, weights_of("net")[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    convolution = model.get_parameter("network.layer1.0.conv1.weight")
    assert convolution.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.usefixtures("narrow")
def test_a_fine_tuning_starts_from_a_fine_tuned_published_network() -> None:
    write_study({"at": starting(AT), "frl": starting(FRL, "at")})
    main("tiny/net/s0")
    main("tiny/at/s0")
    main("tiny/frl/s0")
    record = RunRecord.load(paths.run("tiny", "frl", 0))
    assert record.architecture == ShippedResNet18()
    assert record.settings["architecture"] == {"kind": "shipped_resnet18"}
    assert record.start_sha256 == RunRecord.load(paths.run("tiny", "at", 0)).weights["last"].sha256


def test_a_fine_tuning_of_a_trained_run_keeps_the_suite_s_network_and_normalization() -> None:
    write_study({"at": AT, "frl": starting(FRL, "at")})
    main("tiny/at/s0")
    main("tiny/frl/s0")
    before, after = (RunRecord.load(paths.run("tiny", name, 0)) for name in ("at", "frl"))
    assert after.architecture == before.architecture == load_study().suites["tiny"].architecture
    assert after.statistics == before.statistics == {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    assert after.start_sha256 == before.weights["last"].sha256


def test_the_shipped_network_is_fine_tuned_and_evaluated_as_what_it_became() -> None:
    write_images(size=16)
    write_study({"fair_tat": starting(FAIR_TAT)})
    main("tiny/net/s0")
    main("tiny/fair_tat/s0")
    evaluate("pgd", "tiny/fair_tat/s0")
    rows, _ = read_evidence(paths.evidence("tiny", 0, "pgd", "fair_tat"))
    network = build_model(ShippedResNet18(), num_classes=10, channels=3, mean=None, std=None, pretrained=False)
    load_weights(paths.weights(paths.run("tiny", "fair_tat", 0), "last"), network)
    test = load_split(paths.dataset("tiny") / "test.safetensors")
    images = EvaluationSet(test.images, test.labels, test.class_names)
    protocol = PgdEvaluation(steps=(2,), step_size=2 / 255)
    expected = evaluate_model("pgd", network, images, protocol, epsilon=8 / 255).to_pandas()
    for column in ("clean", "adversarial"):
        assert rows[column].tolist() == expected[column].tolist()


def test_a_model_of_robustbench_is_fine_tuned_without_its_file() -> None:
    write_images(size=32)
    file, model = Path("wong.pt"), ZooModel(name="Wong2020Fast")
    network = build_model(model, num_classes=10, channels=3, mean=None, std=None, pretrained=False)
    torch.save(network.get_submodule("network").state_dict(), file)
    write_study({"frl": starting(FRL)}, {"kind": "zoo", "name": "Wong2020Fast", "path": str(file)})
    main("tiny/net/s0")
    file.unlink()
    run = training("frl")
    record = describe(run, CPU)
    assert record.architecture == model
    state = initial_model(record, run, CPU).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.usefixtures("narrow")
def test_a_start_that_is_not_there_yet_says_how_to_make_it() -> None:
    write_study({"at": starting(AT), "frl": starting(FRL, "at")})
    for method, start in (("at", "net"), ("frl", "at")):
        with pytest.raises(UserError) as caught:
            main(f"tiny/{method}/s0")
        assert str(caught.value) == (
            f"tiny/{method}/s0 starts from tiny/{start}/s0, but runs/tiny/{start}/s0 holds no finished run. "
            f"Make it with `dvc repro train@tiny/{start}/s0`."
        )


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("classes", "size", "now"), [(7, 8, "7 classes of 3x8x8"), (10, 9, "10 classes of 3x9x9")])
def test_a_start_for_other_classes_or_images_is_refused_with_both_numbers(classes: int, size: int, now: str) -> None:
    write_study({"at": starting(AT)})
    main("tiny/net/s0")
    write_images(classes, size)
    with pytest.raises(UserError) as caught:
        main("tiny/at/s0")
    assert str(caught.value) == (
        f"tiny/at/s0 starts from tiny/net/s0, a network for 10 classes of 3x8x8 images, but tiny has {now} images. "
        "Make the start anew with `dvc repro train@tiny/net/s0`, or choose another one."
    )


@pytest.mark.usefixtures("narrow")
def test_a_start_with_another_network_than_params_yaml_names_now_is_refused() -> None:
    write_study({"at": starting(AT)})
    main("tiny/net/s0")
    write_study({"at": starting(AT)}, {"kind": "zoo", "name": "Wong2020Fast", "path": "wong.pt"})
    with pytest.raises(UserError) as caught:
        main("tiny/at/s0")
    assert str(caught.value) == (
        "tiny/at/s0 starts from tiny/net/s0, which holds the network {kind: shipped_resnet18}, but params.yaml names "
        "{kind: zoo, name: Wong2020Fast, dataset: cifar10} now. Make the start anew with `dvc repro train@tiny/net/s0`."
    )


def test_a_start_from_a_file_is_recorded_by_its_content_and_not_by_its_place() -> None:
    torch.manual_seed(3)
    network = {"kind": "timm", "name": "resnet10t", "size": 16}
    untrained = build_model(TimmModel(**network), num_classes=10, channels=3, mean=None, std=None)
    torch.save(untrained.get_submodule("network.network").state_dict(), "start.pth")
    write_study({"at": AT}, architecture=network | {"checkpoint": "start.pth"})
    assert torch.equal(
        initial_model(describe(training("at"), CPU), training("at"), CPU).get_parameter("network.network.fc.bias"),
        untrained.get_parameter("network.network.fc.bias"),
    )
    main("tiny/at/s0")
    record = RunRecord.load(paths.run("tiny", "at", 0))
    assert record.start_sha256 == record.settings["architecture"]["checkpoint_sha256"] == sha256_of(Path("start.pth"))
    assert "start.pth" not in (paths.run("tiny", "at", 0) / "run.json").read_text()


def test_robustbenchs_start_of_xcit_lies_in_the_archives_and_decides_by_its_name() -> None:
    network = XcitS12(checkpoint="robustbench")
    assert network.decisive()["checkpoint"] == "robustbench"
    assert network.start_sha256 == ""
    place = Path("data/archives/robustbench/imagenet/Linf/Debenedetti2022Light_XCiT-S12.pt")
    place.parent.mkdir(parents=True)
    write_halves(place, build_model(XcitS12(), num_classes=2, channels=3, mean=None, std=None).get_submodule("network"))
    model = build_model(network, num_classes=2, channels=3, mean=None, std=None)
    assert bool((model.get_parameter("network.norm.weight") == 0.5).all())
    assert network.start_sha256 == sha256_of(place)
    assert network.decisive() == XcitS12(checkpoint="robustbench").decisive()


def test_a_training_from_random_weights_where_the_paper_has_a_checkpoint_says_so() -> None:
    write_study({"at": AT}, architecture={"kind": "xcit_s12"})
    assert training("at").cautions == [
        "starts from random weights, where the paper starts from weights that were adversarially trained on ImageNet. "
        "Name them in architecture.checkpoint: robustbench, or a file"
    ]
    write_study({"at": AT}, architecture={"kind": "xcit_s12", "checkpoint": "robustbench"})
    assert training("at").cautions == []
