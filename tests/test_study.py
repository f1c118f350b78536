"""params.yaml, runs.yaml and own.yaml: what they mean, and what wrong ones are told."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fairat import paths
from fairat.errors import UserError
from fairat.methods import KINDS, build_part
from fairat.study import Adoption, Study, Training, load_study
from ruamel.yaml import YAML

FILES = (paths.PARAMS, paths.RUNS, paths.OWN)
DEMO = {"suite": "demo", "start": "data/demo"}
"""A run on the demo's digits, from random weights."""


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Study]:
    """Loads the project's own files after a value of one of them, at a dotted path, was set."""

    def load(file: str, path: str, value: Any) -> Study:
        for name in FILES:
            shutil.copy(name, tmp_path)
        yaml = YAML(typ="safe")
        content = whole = yaml.load(tmp_path / file) or {}
        *parents, last = path.split(".")
        for key in parents:
            content = content.setdefault(key, {})
        content[last] = value
        yaml.dump(whole, tmp_path / file)
        return load_study([tmp_path / name for name in FILES])

    return load


@pytest.fixture
def with_own(tmp_path: Path) -> Callable[[str], Study]:
    """Loads the project's files with another own.yaml."""

    def load(text: str) -> Study:
        (tmp_path / paths.OWN).write_text(text)
        return load_study([paths.PARAMS, paths.RUNS, tmp_path / paths.OWN])

    return load


@pytest.fixture
def tuned(tmp_path: Path) -> Callable[..., Study]:
    """Loads methods that start from others, and a run of each on the demo; the runs of the project are left out."""

    def load(
        starts: dict[str, str],
        *,
        seed: int = 0,
        adopted: str = "",
        listed: bool = True,
        near: dict[str, Any] | None = None,
    ) -> Study:
        own: dict[str, Any] = {
            "methods": {
                name: {"label": name, "objective": {"kind": "at"}, "starts_from": start}
                for name, start in starts.items()
            },
            "zoo": {"near": {"label": "Near", "architecture": near}} if near else {},
            "runs": {f"demo/{adopted}/s{seed}": DEMO} if adopted else {},
        }
        for name, start in starts.items() if listed else ():
            own["runs"][f"demo/{name}/s{seed}"] = {"suite": "demo", "start": f"runs/demo/{start}/s{seed}"}
        YAML(typ="safe").dump(own, tmp_path / paths.OWN)
        return load_study([paths.PARAMS, tmp_path / paths.OWN])

    return load


def trained(study: Study, suite: str, method: str) -> Training:
    run = study.run(suite, method, 0)
    assert isinstance(run, Training)
    return run


def test_the_project_s_own_files_are_right() -> None:
    study = load_study()
    assert study.resolved.keys() == study.runs.keys()
    assert study.suites["cifar10"].threat.epsilon == pytest.approx(8 / 255)
    assert trained(study, "cifar10", "fair_tat").recipe.epochs == 200
    assert trained(study, "demo", "fair_tat").recipe.epochs == 10


def test_the_example_of_own_images_is_right(with_own: Callable[[str], Study]) -> None:
    study = with_own(Path("examples/cifar10_jpeg.yaml").read_text(encoding="utf-8"))
    assert "cifar10_jpeg/fair_tat/s0" in study.runs
    assert study.suite("cifar10_jpeg").data.source.kind == "imagefolder"


@pytest.mark.parametrize("text", ["# methods:\n", "", "methods:\nruns:\n"])
def test_own_yaml_may_hold_nothing_but_comments(with_own: Callable[[str], Study], text: str) -> None:
    assert with_own(text) == load_study([paths.PARAMS, paths.RUNS])


def test_the_example_in_the_comments_of_own_yaml_is_right(with_own: Callable[[str], Study]) -> None:
    shipped = paths.OWN.read_text()
    assert all(line.startswith("#") for line in shipped.splitlines())
    example = shipped.split("#\n", 1)[1].rsplit("#\n", 1)[0]
    study = with_own(re.sub("^# ?", "", example, flags=re.MULTILINE))
    assert trained(study, "demo", "fair_tat_strong").method.label == "FAIR-TAT (s = 8)"


def test_own_yaml_adds_to_the_project_s_suites_methods_published_networks_and_runs(
    with_own: Callable[[str], Study],
) -> None:
    study = with_own("""
methods:
  mine: {label: Mine, objective: at, starts_from: net}
zoo:
  net: {label: Net, architecture: {kind: shipped_resnet18}}
suites:
  small:
    title: Small
    data: {source: {kind: digits}}
    architecture: {kind: preact_resnet18, width: 2}
    threat: {epsilon: 8/255, step_size: 2/255}
    evaluation: {pgd: {step_size: 2/255}}
runs:
  small/mine/s10: {suite: small, start: runs/small/net/s10}
  small/net/s10: {suite: small, start: data/small}
  small/trades/s0: {suite: small, start: data/small}
  demo/at/s1: {suite: demo, start: data/demo}
stepped:
  demo/at/s1:
""")
    assert [run.key for run in study.runs_of("small")] == ["small/trades/s0", "small/mine/s10", "small/net/s10"]
    assert study.run("demo", "at", 1) in study.runs_of("demo")
    assert study.stepped.keys() == {*load_study().stepped, "demo/at/s1"}
    mine = study.named("small/mine/s10")
    assert (mine.suite_name, mine.method_name, mine.seed) == ("small", "mine", 10)
    assert mine.directory == Path("runs/small/mine/s10")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("methods.at", {"label": "AT", "objective": "at"}),
        ("suites.demo", {}),
        ("zoo.rice2020", {}),
        ("runs.demo/at/s0", DEMO),
        ("stepped.demo/at_constant/s0", None),
    ],
)
def test_own_yaml_may_not_repeat_a_name(edited: Callable[..., Study], path: str, value: Any) -> None:
    with pytest.raises(UserError) as caught:
        edited("own.yaml", path, value)
    assert str(caught.value).endswith(f"own.yaml: {path}: there is one of this name already; choose another name.")


@pytest.mark.parametrize("name", ["my suite", "a@b", "a/b", "猫", "-a", "a.", "a" * 65, "a:b", "$a", ""])
def test_a_name_that_dvc_or_a_shell_or_a_file_system_does_not_take_is_refused(
    with_own: Callable[[str], Study], name: str
) -> None:
    method = "{label: AT, objective: {kind: at}}"
    message = re.escape(
        f"{name!r} cannot be a name: DVC, shells and file systems must take it. Use up to 64 letters and digits"
    )
    with pytest.raises(UserError, match=message):
        with_own(f'methods: {{"{name}": {method}}}')


def test_images_of_one_s_own_are_named_where_dvc_sees_them_change(with_own: Callable[[str], Study]) -> None:
    example = Path("examples/cifar10_jpeg.yaml").read_text(encoding="utf-8")
    wrong = "\n".join(line for line in example.splitlines() if "reads:" not in line)
    message = r"suites\.cifar10_jpeg\.reads: is missing, but must be the path of the images, data/archives/cifar10-jpeg\.tar\.xz"
    with pytest.raises(UserError, match=message):
        with_own(wrong)


def test_names_that_a_file_system_may_not_tell_apart_are_refused(with_own: Callable[[str], Study]) -> None:
    with pytest.raises(UserError, match=r"methods\.AT: some file systems do not tell it from methods\.at; rename one"):
        with_own("methods: {AT: {label: AT, objective: {kind: at}}}")


def test_a_suite_that_would_hold_another_one_s_corrupted_images_is_refused(edited: Callable[..., Study]) -> None:
    demo = YAML(typ="safe").load(paths.PARAMS.read_text(encoding="utf-8"))["suites"]["demo"]
    with pytest.raises(
        UserError, match=r"data/demo-corrupted would hold the corrupted images of another suite; rename"
    ):
        edited("own.yaml", "suites.demo-corrupted", demo)


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
        ("params.yaml", "zoo.at", {"label": "AT", "architecture": {"kind": "shipped_resnet18"}}, r"zoo\.at: there is a method of this name; rename one of them"),
        ("own.yaml", "methods.mine.objetive", "at", r"methods\.mine\.objetive: Extra inputs are not permitted"),
        ("own.yaml", "zoo.at", {"label": "AT", "architecture": {"kind": "shipped_resnet18"}}, r"zoo\.at: there is a method of this name; rename one of them"),
        ("own.yaml", "runs.demo/fairtat/s0", DEMO, r"runs\.demo/fairtat/s0: there is no method 'fairtat' \(did you mean 'fair_tat'\?\); there are: clean, .*, rice2020.*\. Define it in own\.yaml or correct the name\n"),
        ("own.yaml", "runs.cifar/at/s0", DEMO, r"runs\.cifar/at/s0: there is no suite 'cifar' \(did you mean 'cifar10'\?\); there are: demo, "),
        ("own.yaml", "runs.demo/at/s7", None, r"runs\.demo/at/s7: Input should be a valid dictionary .*\(given: None\)"),
        ("own.yaml", "runs.demo/at/s7.suite", "demo", r"runs\.demo/at/s7\.start: Field required"),
        ("own.yaml", "runs.demo/at/s7", DEMO | {"seed": 7}, r"runs\.demo/at/s7\.seed: Extra inputs are not permitted"),
        ("own.yaml", "stepped.demo/at/s7", None, r"stepped\.demo/at/s7: there is no such run under runs:"),
        ("own.yaml", "stepped.demo/at/s0", DEMO, r"stepped\.demo/at/s0: Input should be None"),
        ("own.yaml", "runs", ["demo/at/s0"], r"own\.yaml: runs: must hold names with settings, but holds list\."),
        ("own.yaml", "run", {}, r"own\.yaml: run: unknown section \(did you mean 'runs'\?\); there are: methods, zoo, suites, runs, stepped\."),
        ("runs.yaml", "run", {}, r"runs\.yaml: run: unknown section \(did you mean 'runs'\?\); there are: runs, stepped\."),
        ("runs.yaml", "methods", {}, r"runs\.yaml: methods: unknown section; there are: runs, stepped\."),
        ("params.yaml", "runs", {}, r"params\.yaml: runs: unknown section; there are: methods, zoo, suites\."),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_by_its_full_path(
    edited: Callable[..., Study], file: str, path: str, value: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        edited(file, path, value)


NO_NAMES = ["demo-at-s0", "demo/at", "demo/at/0", "demo/at/s", "demo/at/szero", "demo/at/s-1", "demo/at/s00", "/at/s0", "demo/at/s0/s1"]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "keys"),
    [
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
        edited("params.yaml", path, 1)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_of_a_run_is_refused(edited: Callable[..., Study], name: str) -> None:
    with pytest.raises(UserError) as caught:
        edited("own.yaml", f"runs.{name}", DEMO)
    assert f"  runs.{name}: a run is named <suite>/<method>/s<seed>, such as demo/at/s0\n" in str(caught.value)


def test_a_run_is_asked_for_by_its_name_and_by_nothing_else() -> None:
    study = load_study()
    assert study.named("demo/at/s0") is study.run("demo", "at", 0)
    for name in NO_NAMES:
        with pytest.raises(UserError) as caught:
            study.named(name)
        assert str(caught.value) == (
            f"{name!r} names no run; a run is named <suite>/<method>/s<seed>, such as demo/at/s0."
        )


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("demo/at/s7", " (did you mean 'demo/at/s0'?). Add the line `demo/at/s7: {suite: demo, start: data/demo}` under runs: in own.yaml."),
        ("demo/frl/s0", "Add the line `demo/frl/s0: {suite: demo, start: runs/demo/at_constant/s0}` under runs: in own.yaml."),
        ("demo/rice2020/s0", "Add the line `demo/rice2020/s0: {suite: demo, start: data/demo}` under runs: in own.yaml."),
        ("demo/fairtat/s0", ": there is no method 'fairtat' (did you mean 'fair_tat'?); there are: clean, "),
        ("demos/at/s0", ": there is no suite 'demos' (did you mean 'demo'?); there are: demo, "),
    ],
)  # fmt: skip
def test_a_run_that_is_not_listed_says_which_line_to_add_or_which_name_is_wrong(name: str, answer: str) -> None:
    with pytest.raises(UserError) as caught:
        load_study().named(name)
    assert str(caught.value).startswith(f"There is no run {name}")
    assert answer in str(caught.value)


def test_a_suite_that_there_is_not_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"There is no suite 'cifar' \(did you mean 'cifar10'\?\); there are: demo, "):
        load_study().suite("cifar")


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("at_constant", "demo/at_constant/s7: {suite: demo, start: data/demo}"),
        ("frl", "demo/frl/s7: {suite: demo, start: runs/demo/at_constant/s7}"),
        ("rice2020", "demo/rice2020/s7: {suite: demo, start: data/demo}"),
    ],
)
def test_a_missing_start_is_named_with_the_line_that_asks_for_it(
    tuned: Callable[..., Study], start: str, line: str
) -> None:
    with pytest.raises(UserError) as caught:
        tuned({"tuned": start}, seed=7)
    assert (
        f"  runs.demo/tuned/s7.start: needs the run demo/{start}/s7, which is missing; "
        f"add the line `{line}` under runs: in own.yaml\n"
    ) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "given", "right"),
    [
        ("demo/at/s7", "runs/demo/clean/s7", "data/demo"),
        ("demo/at/s7", "data/cifar10", "data/demo"),
        ("demo/frl/s7", "data/demo", "runs/demo/at_constant/s7"),
        ("demo/frl/s7", "runs/demo/at/s7", "runs/demo/at_constant/s7"),
        ("demo/frl/s7", "runs/demo/at_constant/s0", "runs/demo/at_constant/s7"),
        ("demo/rice2020/s7", "runs/demo/at/s7", "data/demo"),
    ],
)
def test_a_start_that_is_not_the_method_s_is_refused_with_the_right_one(
    edited: Callable[..., Study], key: str, given: str, right: str
) -> None:
    with pytest.raises(UserError) as caught:
        edited("own.yaml", f"runs.{key}", {"suite": "demo", "start": given})
    assert f"  runs.{key}: is {{suite: demo, start: {given}}}, but must be {{suite: demo, start: {right}}}\n" in str(
        caught.value
    )


def test_a_suite_that_is_not_the_name_s_is_refused_with_the_right_one(edited: Callable[..., Study]) -> None:
    with pytest.raises(UserError) as caught:
        edited("own.yaml", "runs.demo/at/s7", {"suite": "cifar10", "start": "data/demo"})
    assert (
        "runs.demo/at/s7: is {suite: cifar10, start: data/demo}, but must be {suite: demo, start: data/demo}\n"
        in str(caught.value)
    )


def test_a_method_trains_the_published_network_that_it_starts_from_itself_or_over_others(
    tuned: Callable[..., Study],
) -> None:
    study = tuned({"first": "rice2020", "second": "first"}, adopted="rice2020")
    rice = study.zoo["rice2020"].architecture
    for name, start in (("first", "rice2020"), ("second", "first")):
        run = trained(study, "demo", name)
        assert run.architecture == rice
        assert run.begun_from is not None
        assert run.begun_from.key == f"demo/{start}/s0"
        assert run.settings["architecture"] == rice.model_dump(mode="json")
        assert run.settings["start"] == start


def test_where_published_weights_lie_decides_nothing_of_what_starts_from_them(tuned: Callable[..., Study]) -> None:
    def settings(**architecture: Any) -> dict[str, Any]:
        study = tuned({"tuned": "near"}, adopted="near", near={"kind": "zoo", **architecture})
        return trained(study, "demo", "tuned").settings

    elsewhere = settings(name="Rice2020Overfitting")
    assert settings(name="Rice2020Overfitting", path="rice.pt") == elsewhere
    assert settings(name="Rade2021Helper_R18_ddpm") != elsewhere


@pytest.mark.parametrize("listed", [False, True])
def test_a_start_that_there_is_not_is_refused_with_those_that_there_are(
    tuned: Callable[..., Study], listed: bool
) -> None:
    with pytest.raises(UserError) as caught:
        tuned({"tuned": "rice2021"}, listed=listed)
    found = re.search(
        r"methods\.tuned\.starts_from: there is no method or published network 'rice2021' \(did you mean 'rice2020'\?\); "
        r"there are the methods (.*), and in zoo: (.*)\. Define it in own\.yaml or correct the name\n",
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


def test_missing_and_broken_files_are_explained(tmp_path: Path) -> None:
    params = tmp_path / paths.PARAMS
    with pytest.raises(UserError, match=r"There is no .*params.yaml here .*run the command in the repository's root"):
        load_study([params])
    for text, message in (
        ("a: [1, 2", r"params.yaml is not valid YAML: .*line"),
        ("a: 1\na: 2", r"params.yaml is not valid YAML: .*duplicate key"),
        ("- a", r"params.yaml must hold sections such as `runs:`, but holds list\."),
    ):
        params.write_text(text)
        with pytest.raises(UserError, match=message):
            load_study([params])


@pytest.mark.parametrize(("slot", "kind"), [(slot, kind) for slot, kinds in KINDS.items() for kind in kinds])
def test_every_kind_builds_under_its_own_name(slot: str, kind: str) -> None:
    assert build_part(slot, kind).kind == kind


def test_a_native_recipe_replaces_single_fields_of_the_suite_s(edited: Callable[..., Study]) -> None:
    recipe = trained(edited("own.yaml", "runs.demo/bat/s0", DEMO), "demo", "bat").recipe
    assert (recipe.weight_decay, recipe.augmentation.padding, recipe.augmentation.crop_padding) == (2e-4, "zero", 1)
    assert recipe.learning_rate_at(3) == pytest.approx(0.1)
    assert recipe.learning_rate_at(4) == pytest.approx(0.01)


def test_a_published_network_is_a_run_that_is_not_trained() -> None:
    study = load_study()
    run = study.run("cifar10", "rice2020", 0)
    assert isinstance(run, Adoption)
    assert run.architecture.kind == "zoo"
    assert run in study.runs_of("cifar10")


def test_the_evidence_of_a_suite_is_that_of_its_runs_as_far_as_there_is_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study()
    monkeypatch.chdir(tmp_path)
    for name in ("square/demo/at/s0", "pgd/demo/at/s0", "pgd/demo/at/s7", "steps/demo/at_constant/s0"):
        path = Path(f"results/{name}.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = ("pgd/demo/at/s0", "square/demo/at/s0")
    assert study.evidence_of("demo") == [Path(f"results/{name}.parquet") for name in names]
