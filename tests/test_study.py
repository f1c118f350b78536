"""params.yaml and runs.yaml: what they mean, and what wrong ones are told."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fairat.errors import UserError
from fairat.methods import KINDS, build_part
from fairat.study import Study, load_study
from ruamel.yaml import YAML

FILES = ("params.yaml", "runs.yaml", "own.yaml")


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Study]:
    """Loads the project's own files after an edit of one of them."""

    def load(file: str, edit: Callable[[Any], None]) -> Study:
        for name in FILES:
            shutil.copy(name, tmp_path)
        yaml = YAML(typ="safe")
        content = yaml.load(tmp_path / file)
        edit(content)
        yaml.dump(content, tmp_path / file)
        return load_study(tmp_path / FILES[0], [tmp_path / name for name in FILES[1:]])

    return load


@pytest.fixture
def tuned(tmp_path: Path) -> Callable[..., Study]:
    """Loads the project's own files with methods that start from others, and a run of each on the demo."""

    def load(
        starts: dict[str, str],
        *,
        seed: int = 0,
        adopted: str = "",
        listed: bool = True,
        near: dict[str, Any] | None = None,
    ) -> Study:
        yaml = YAML(typ="safe")
        params = yaml.load(Path("params.yaml"))
        for name, start in starts.items():
            params["methods"][name] = {"label": name, "objective": {"kind": "at"}, "starts_from": start}
        if near:
            params["zoo"]["near"] = {"label": "Near", "architecture": near}
        yaml.dump(params, tmp_path / "params.yaml")
        lines = {name: {"method": name, "start": start} for name, start in starts.items() if listed}
        sections = {"finetunes": lines, "adoptions": {adopted: {"method": adopted}} if adopted else {}}
        own: dict[str, Any] = {"active": {"demo": None}, "runs": {}}
        for section, named in sections.items():
            own[section] = {
                f"demo-{name}-s{seed}": {"suite": "demo", "seed": seed, **line} for name, line in named.items()
            }
            own["runs"] |= own[section]
        yaml.dump(own, tmp_path / "own.yaml")
        return load_study(tmp_path / "params.yaml", [tmp_path / "own.yaml"])

    return load


def test_the_project_s_own_files_are_right() -> None:
    study = load_study()
    assert study.resolved.keys() == study.runs.keys()
    assert study.suites["cifar10"].threat.epsilon == pytest.approx(8 / 255)
    assert study.training("cifar10", "fair_tat", 0).recipe.epochs == 200
    assert study.training("demo", "fair_tat", 0).recipe.epochs == 10


def test_the_example_of_own_images_is_right() -> None:
    study = load_study(run_lists=[Path("runs.yaml"), Path("examples/cifar10_jpeg.yaml")])
    assert "cifar10_jpeg-fair_tat-s0" in study.runs


def wrong(path: str, value: Any) -> Callable[[Any], None]:
    """Sets a dotted path to a value."""

    def edit(content: Any) -> None:
        *parents, last = path.split(".")
        for key in parents:
            content = content[key]
        content[last] = value

    return edit


@pytest.mark.parametrize(
    ("file", "path", "value", "message"),
    [
        ("params.yaml", "methods.fair_tat.margin.offet", 0.5, r"methods\.fair_tat\.margin\.offet: Extra inputs"),
        ("params.yaml", "methods.at.objetive", {}, r"methods\.at\.objetive: Extra inputs are not permitted"),
        ("params.yaml", "methods.at.objective", {"kind": "att"}, r"methods\.at\.objective: 'att' is not a kind of objective; there are: clean, at"),
        ("params.yaml", "methods.clean.targets", "cfps", r"methods\.clean: targets: cfps needs an attack to aim, but clean takes no targets"),
        ("params.yaml", "methods.at.class_weights", "ccr", r"methods\.at: class_weights: ccr moves weight .* but at has no clean term"),
        ("params.yaml", "methods.frl.recipe.epoch", 3, r"methods\.frl\.recipe\.epoch: Extra inputs are not permitted"),
        ("params.yaml", "suites.demo.threat.epsilon", 8, r"suites\.demo\.threat\.epsilon: 8 is not in \[0, 1\].*write 8/255"),
        ("params.yaml", "suites.demo.threat.epsilon", "8/x", r"suites\.demo\.threat\.epsilon: '8/x' is not a number"),
        ("params.yaml", "suites.demo.recipe.epochs", 0, r"suites\.demo\.recipe\.epochs: Input should be greater than 0 \(given: 0\)"),
        ("runs.yaml", "trainings.demo-at-s0.method", "fairtat", r"trainings\.demo-at-s0\.method: there is no method 'fairtat'; there are: clean, "),
        ("runs.yaml", "trainings.demo-at-s0.suite", "cifar", r"trainings\.demo-at-s0\.suite: there is no suite 'cifar'"),
        ("runs.yaml", "trainings.demo-at-s0.seed", "zero", r"trainings\.demo-at-s0\.seed: Input should be a valid integer \(given: 'zero'\)"),
        ("runs.yaml", "trainings.demo-at-s0.seed", 0.5, r"trainings\.demo-at-s0\.seed: Input should be a valid integer"),
        ("runs.yaml", "trainings.demo-at-s0.seed", 3, r"trainings\.demo-at-s0: a run is named .* rename it to demo-at-s3"),
        ("runs.yaml", "trainings.demo-at-s0.start", "clean", r"trainings\.demo-at-s0\.start: is clean, but at needs no start, under trainings:"),
        ("runs.yaml", "active", {"demo": None, "cifar10": None}, r"suite: 'cifar100' is not active; add the line `cifar100:`"),
        ("runs.yaml", "run", {}, r"run: unknown section; there are: active, trainings, finetunes, adoptions, runs"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_by_its_full_path(
    edited: Callable[..., Study], file: str, path: str, value: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        edited(file, wrong(path, value))


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("suits", "suites, methods, .*; did you mean suites"),
        ("suites.demo.threat.num_stepz", "epsilon, step_size, num_steps; did you mean num_steps"),
        ("suites.demo.architecture.widht", "kind, width, final_norm; did you mean width"),
        ("methods.fair_tat.margin.offet", "kind, begin_epoch, offset, cap; did you mean offset"),
        ("methods.frl.recipe.epoch", "epochs, batch_size, .*; did you mean epochs"),
        ("methods.frl.averaging.decai", "decay, threshold, probe, start_epoch; did you mean decay"),
        ("zoo.rice2020.architecture.pth", "kind, name, dataset, path; did you mean path"),
    ],
)
def test_an_unknown_key_is_answered_with_those_there_are_and_the_nearest(
    edited: Callable[..., Study], path: str, keys: str
) -> None:
    with pytest.raises(UserError, match=rf"{path.split('.')[-1]}: Extra inputs are not permitted; there are: {keys}\?"):
        edited("params.yaml", wrong(path, 1))


def test_a_run_that_is_not_listed_says_which_line_to_add() -> None:
    with pytest.raises(
        UserError, match=r"no run demo-at-s7. Add the line `demo-at-s7: \{suite: demo, method: at, seed: 7\}`"
    ):
        load_study().run("demo", "at", 7)


def test_a_fine_tuning_needs_the_run_it_starts_from(edited: Callable[..., Study]) -> None:
    def add(content: Any) -> None:
        line = {"suite": "cifar100", "method": "frl", "seed": 7, "start": "at_constant"}
        content["finetunes"]["cifar100-frl-s7"] = content["runs"]["cifar100-frl-s7"] = line

    with pytest.raises(UserError, match=r"start: needs the run cifar100-at_constant-s7, which is missing"):
        edited("runs.yaml", add)


@pytest.mark.parametrize(
    ("start", "section", "line"),
    [
        ("at_constant", "trainings", "demo-at_constant-s7: {suite: demo, method: at_constant, seed: 7}"),
        ("frl", "finetunes", "demo-frl-s7: {suite: demo, method: frl, seed: 7, start: at_constant}"),
        ("rice2020", "adoptions", "demo-rice2020-s7: {suite: demo, method: rice2020, seed: 7}"),
    ],
)
def test_a_missing_start_is_named_with_its_line_and_the_section_it_belongs_to(
    tuned: Callable[..., Study], start: str, section: str, line: str
) -> None:
    with pytest.raises(UserError) as caught:
        tuned({"tuned": start}, seed=7)
    assert (
        f"finetunes.demo-tuned-s7.start: needs the run demo-{start}-s7, which is missing; "
        f"add the line `{line}` under {section}: in own.yaml\n"
    ) in str(caught.value)


def test_a_method_trains_the_published_network_that_it_starts_from_itself_or_over_others(
    tuned: Callable[..., Study],
) -> None:
    study = tuned({"first": "rice2020", "second": "first"}, adopted="rice2020")
    rice = study.zoo["rice2020"].architecture
    for name, start, target in (("first", "rice2020", "adopt"), ("second", "first", "finetune")):
        run = study.training("demo", name, 0)
        assert run.architecture == rice
        assert run.start == ("demo", start, 0)
        assert run.begun_from is not None
        assert run.begun_from.target == f"{target}@demo-{start}-s0"
        assert run.settings["architecture"] == rice.model_dump(mode="json")
        assert run.settings["start"] == start


def test_where_published_weights_lie_decides_nothing_of_what_starts_from_them(tuned: Callable[..., Study]) -> None:
    placed, elsewhere = (
        tuned({"tuned": "near"}, adopted="near", near={"kind": "zoo", "name": "Rice2020Overfitting", "path": path})
        for path in ("rice.pt", None)
    )
    assert placed.training("demo", "tuned", 0).settings == elsewhere.training("demo", "tuned", 0).settings
    other = tuned({"tuned": "near"}, adopted="near", near={"kind": "zoo", "name": "Rade2021Helper_R18_ddpm"})
    assert other.training("demo", "tuned", 0).settings != placed.training("demo", "tuned", 0).settings


@pytest.mark.parametrize("listed", [False, True])
def test_a_start_that_there_is_not_is_refused_with_those_that_there_are(
    tuned: Callable[..., Study], listed: bool
) -> None:
    with pytest.raises(UserError) as caught:
        tuned({"tuned": "rice2021"}, listed=listed)
    found = re.search(
        r"methods\.tuned\.starts_from: there is no method or published network 'rice2021'; there are the methods (.*), "
        r"and in zoo: (.*)\. Define it in params\.yaml or correct the name\n",
        str(caught.value),
    )
    assert found is not None
    study = load_study()
    assert {*found[1].split(", ")} == {*study.methods, "tuned"}
    assert {*found[2].split(", ")} == {*study.zoo}


@pytest.mark.parametrize(
    ("starts", "circle"),
    [
        ({"a": "a"}, "methods.a.starts_from: goes in a circle, a -> a;"),
        ({"a": "b", "b": "c", "c": "b"}, "methods.a.starts_from: goes in a circle, a -> b -> c -> b;"),
    ],
)
def test_starts_in_a_circle_are_refused(tuned: Callable[..., Study], starts: dict[str, str], circle: str) -> None:
    with pytest.raises(UserError) as caught:
        tuned(starts)
    assert f"{circle} let one of them start from random weights\n" in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key", "line", "message"),
    [
        ("finetunes", "demo-at-s7", {"method": "at"}, "finetunes.demo-at-s7: at starts from no other run; move the line to trainings:"),
        ("trainings", "demo-frl-s7", {"method": "frl", "start": "at_constant"}, "trainings.demo-frl-s7: frl starts from at_constant; move the line to finetunes:"),
        ("trainings", "demo-frl-s7", {"method": "frl"}, "trainings.demo-frl-s7.start: is None, but frl needs `start: at_constant`, under finetunes:"),
        ("finetunes", "demo-frl-s7", {"method": "frl", "start": "at"}, "finetunes.demo-frl-s7.start: is at, but frl needs `start: at_constant`, under finetunes:"),
        ("adoptions", "demo-rice2020-s7", {"method": "rice2020", "start": "at"}, "adoptions.demo-rice2020-s7.start: is at, but rice2020 needs no start, under adoptions:"),
    ],
)  # fmt: skip
def test_a_line_in_the_wrong_section_or_with_the_wrong_start_is_refused(
    edited: Callable[..., Study], section: str, key: str, line: dict[str, Any], message: str
) -> None:
    def add(content: Any) -> None:
        content[section][key] = content["runs"][key] = {"suite": "demo", "seed": 7, **line}

    with pytest.raises(UserError) as caught:
        edited("runs.yaml", add)
    assert message in str(caught.value)


def test_missing_and_broken_files_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no .*params.yaml here .*run the command in the repository's root"):
        load_study(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1, 2")
    with pytest.raises(UserError, match=r"params.yaml is not valid YAML: .*line"):
        load_study(tmp_path / "params.yaml")


@pytest.mark.parametrize(("slot", "kind"), [(slot, kind) for slot, kinds in KINDS.items() for kind in kinds])
def test_every_kind_builds_under_its_own_name(slot: str, kind: str) -> None:
    assert build_part(slot, kind).kind == kind


def test_a_native_recipe_replaces_single_fields_of_the_suite_s(edited: Callable[..., Study]) -> None:
    def add(content: Any) -> None:
        content["trainings"]["demo-bat-s0"] = content["runs"]["demo-bat-s0"] = {
            "suite": "demo", "method": "bat", "seed": 0,
        }  # fmt: skip

    recipe = edited("runs.yaml", add).training("demo", "bat", 0).recipe
    assert (recipe.weight_decay, recipe.augmentation.padding, recipe.augmentation.crop_padding) == (2e-4, "zero", 1)
    assert recipe.learning_rate_at(3) == pytest.approx(0.1)
    assert recipe.learning_rate_at(4) == pytest.approx(0.01)


def test_a_published_network_is_a_run_that_is_not_trained() -> None:
    study = load_study()
    run = study.adoption("cifar10", "rice2020", 0)
    assert run.architecture.kind == "zoo"
    assert run in study.runs_of("cifar10")
    with pytest.raises(UserError, match="published network: adopt it with `dvc repro adopt@cifar10-rice2020-s0`"):
        study.training("cifar10", "rice2020", 0)
    with pytest.raises(UserError, match="is trained here: `dvc repro train@cifar10-at-s0`"):
        study.adoption("cifar10", "at", 0)


def test_a_published_network_may_not_have_a_methods_name(edited: Callable[..., Study]) -> None:
    def add(content: Any) -> None:
        content["zoo"]["at"] = {"label": "AT", "architecture": {"kind": "shipped_resnet18"}}

    with pytest.raises(UserError, match=r"zoo\.at: there is a method of this name"):
        edited("params.yaml", add)
