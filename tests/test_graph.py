"""The whole graph under DVC, on a copy of the project with two one-epoch runs: what a user types, and what re-runs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

# In one process, so that the project is made once.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("graph")]

ROOT = Path(__file__).parents[1]
COPIED = (
    "pipeline",
    "stages",
    "reports/published",
    "params.yaml",
    "runs.yaml",
    "own.yaml",
    "dvc.yaml",
    "requirements",
    ".dvcignore",
    ".gitignore",
)
RUNS = ("at_constant", "fair_tat")


class Project:
    """A copy of the project in which commands can be run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(directory / "pipeline"),
            "HOME": str(directory / "home"),
            "DVC_NO_ANALYTICS": "1",
            "DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            words, cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def repro(self, *targets: str) -> list[str]:
        """Runs `dvc repro`; returns the stages that really ran."""
        output = self.run("dvc", "repro", *targets)
        return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]

    def edit(self, file: str, change: Callable[[dict], None]) -> None:
        yaml = YAML()
        content = yaml.load(self.directory / file)
        change(content)
        yaml.dump(content, self.directory / file)

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.directory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def shrink(content: dict) -> None:
    """One epoch, a narrow network, a handful of attacked images."""
    demo = content["suites"]["demo"]
    demo["epoch_scale"] = 0.005
    demo["architecture"]["width"] = 2
    demo["evaluation"]["autoattack"] = {"images": 10, "iterations": 2, "target_classes": 1, "queries": 5}
    demo["evaluation"]["square"] = {"images": 10, "queries": 5}
    content["suites"] = {"demo": dict(demo)}


def keep_two_runs(content: dict) -> None:
    kept = {f"demo/{method}/s0" for method in RUNS}
    for section in ("runs", "stepped"):
        content[section] = {key: line for key, line in content[section].items() if key in kept}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy in which `dvc repro demo` has run once."""
    directory = tmp_path_factory.mktemp("project")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, directory / name)
    (directory / "home").mkdir()
    project = Project(directory)
    project.run("git", "init", "--quiet")
    project.run("git", "config", "user.email", "test@example.org")
    project.run("git", "config", "user.name", "test")
    project.run("dvc", "init", "--quiet")
    project.edit("params.yaml", shrink)
    project.edit("runs.yaml", keep_two_runs)
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "project")
    project.repro("demo")
    return project


def test_the_demo_leaves_tables_figures_metrics_and_evidence(project: Project) -> None:
    reports = project.directory / "reports"
    for name in ("table1", "table2", "table3", "table9"):
        assert "FAIR-TAT" in (reports / "tables/demo" / f"{name}.md").read_text()
        assert r"\toprule" in (reports / "tables/demo" / f"{name}.tex").read_text()
    for name in ("figure1", "figure3", "figure4"):
        assert (reports / "figures/demo" / f"{name}.png").stat().st_size > 5000
        assert (reports / "tables/demo" / f"{name}.pdf").stat().st_size > 5000
    table = pd.read_parquet(reports / "metrics/demo.parquet")
    assert {"clean", "pgd10", "pgd20", "autoattack", "square", "corruption"} == set(table["evaluation"])
    assert "FAIR-TAT" in (reports / "demo.txt").read_text()
    for evaluation in ("pgd", "autoattack", "square", "corruptions"):
        for method in RUNS:
            assert (project.directory / f"results/{evaluation}/demo/{method}/s0.parquet").exists()


def test_metrics_and_plots_show_something(project: Project) -> None:
    assert "fair_tat.pgd10_worst" in project.run("dvc", "metrics", "show", "reports/headline/demo.json")
    assert "index.html" in project.run("dvc", "plots", "show", "reports/figures/demo")


def test_git_sees_nothing_that_should_not_be_committed(project: Project) -> None:
    untracked = {line[3:] for line in project.run("git", "status", "--porcelain").splitlines()}
    assert untracked <= {"dvc.lock", "home/", "dvc_plots/", ".dvc/config"}


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert project.repro("demo") == []


def test_mlflow_has_one_run_per_weight_set_and_all_its_metrics(project: Project) -> None:
    script = (
        "from fairat.tracking import tracking_uri; import mlflow; mlflow.set_tracking_uri(tracking_uri());"
        "runs = mlflow.search_runs(search_all_experiments=True);"
        "print(len(runs), runs['tags.method'].value_counts().to_dict());"
        "print(sum(c.startswith('metrics.') and 'autoattack' in c for c in runs.columns))"
    )
    output = project.run(sys.executable, "-c", script)
    assert "'fair_tat': " in output
    assert int(output.splitlines()[-1]) > 0


def test_a_changed_number_reruns_only_its_method_and_going_back_comes_from_the_cache(project: Project) -> None:
    def change(content: dict) -> None:
        content["methods"]["fair_tat"]["targets"]["scale"] = 3.0

    before = (project.directory / "params.yaml").read_text()
    project.edit("params.yaml", change)
    ran = project.repro("demo")
    assert "train@demo/fair_tat/s0" in ran
    assert "fingerprint" in ran
    assert not [stage for stage in ran if "at_constant" in stage or stage.startswith(("prepare", "corrupt@"))]
    (project.directory / "params.yaml").write_text(before)
    output = project.run("dvc", "repro", "demo")
    assert "Stage 'train@demo/fair_tat/s0' is cached" in output, output
    assert "Running stage 'train" not in output


def test_an_edited_docstring_retrains_nothing_and_an_edited_method_only_its_users(project: Project) -> None:
    path = "pipeline/fairat/methods/fair_tat.py"
    before = (project.directory / path).read_text()
    project.replace(path, '"""FAIR-TAT:', '"""Well, FAIR-TAT:')
    assert project.repro("demo") == ["fingerprint"]
    project.replace(path, "self.scale * scores", "self.scale * scores * 1.0")
    ran = project.run("dvc", "repro", "--dry", "demo", check=False)
    (project.directory / path).write_text(before)
    assert "at_constant" not in "".join(line for line in ran.splitlines() if line.startswith("Running"))


def test_a_plan_lists_what_is_left_and_runs_nothing(project: Project) -> None:
    before = (project.directory / "params.yaml").read_text()
    project.edit("params.yaml", lambda content: content["suites"]["demo"]["evaluation"]["square"].update(queries=6))
    project.repro("fingerprint")
    plan = (str(Path(sys.executable).with_name("fairat")), "plan", "demo")
    said = project.run(*plan)
    squares = [f"square@demo/{method}/s0" for method in RUNS]
    assert sorted(line for line in said.splitlines() if "@demo/" in line) == sorted(squares)
    assert "0 trainings and 2 evaluations, about " in said
    assert "2 known from runs done here" in said
    (project.directory / "params.yaml").write_text(before)
    project.repro("demo")
    assert "Nothing is left to do." in project.run(*plan)


def test_a_wrong_key_stops_the_graph_with_its_path_and_leaves_everything(project: Project) -> None:
    before = (project.directory / "params.yaml").read_text()
    project.replace("params.yaml", "num_steps: 5", "num_stepz: 5")
    output = project.run("dvc", "repro", "demo", check=False)
    assert "suites.demo.threat.num_stepz: Extra inputs are not permitted" in " ".join(output.split())
    assert "Traceback" not in output
    (project.directory / "params.yaml").write_text(before)
    assert project.repro("demo") in ([], ["fingerprint"])
    assert (project.directory / "reports/demo.txt").exists()


OWN = """
suites:
  pics:
    title: Pictures
    reads: pics
    data: {source: {kind: imagefolder, path: pics}, validation_fraction: 0.2, corruptions: {kind: made, seed: 0}}
    architecture: {kind: preact_resnet18, width: 4}
    threat: {epsilon: 8/255, step_size: 2/255, num_steps: 2}
    recipe: {epochs: 2000, batch_size: 16, augmentation: {crop_padding: 1, padding: zero}}
    threads: 1
    weights: [last]
    evaluation:
      pgd: {steps: [2], step_size: 2/255}
      autoattack: {iterations: 5, target_classes: 1, queries: 20}
      square: {queries: 20}
      corruptions: {}
runs:
  pics/at/s0: {suite: pics, start: data/pics}
"""


def draw(directory: Path, numbers: range) -> None:
    """Tiny images of two classes, for training and for tests."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (directory / split / name).mkdir(parents=True, exist_ok=True)
            for number in numbers:
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(directory / split / name / f"{number:04}.png")


@pytest.fixture
def pictures(project: Project) -> Iterator[Path]:
    """A suite on images of a person's own; the directory of the images."""
    before = (project.directory / "own.yaml").read_text()
    (project.directory / "own.yaml").write_text(OWN)
    draw(project.directory / "pics", range(20))
    yield project.directory / "pics"
    shutil.rmtree(project.directory / "pics", ignore_errors=True)
    (project.directory / "own.yaml").write_text(before)


def test_images_of_one_s_own_that_are_added_changed_or_gone_are_noticed(project: Project, pictures: Path) -> None:
    assert "prepare@pics" in project.repro("prepare@pics")
    assert project.repro("prepare@pics") == []
    draw(pictures, range(20, 25))
    assert project.repro("prepare@pics") == ["prepare@pics"]
    Image.new("RGB", (8, 8)).save(pictures / "test/cat/0000.png")
    assert project.repro("prepare@pics") == ["prepare@pics"]
    (pictures / "train/dog/0003.png").unlink()
    assert project.repro("prepare@pics") == ["prepare@pics"]
    shutil.rmtree(pictures)
    assert f"No such file or directory: '{pictures}'" in project.run("dvc", "repro", "prepare@pics", check=False)


def test_a_training_whose_dvc_was_killed_is_not_trained_twice(project: Project, pictures: Path) -> None:
    project.repro("prepare@pics")
    command = ["dvc", "repro", "train@pics/at/s0"]
    dvc = subprocess.Popen(
        command, cwd=project.directory, env=project.environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    owner = project.directory / ".resume/locks/train/pics/at/s0/owner.json"
    try:
        wait_for(owner.exists)
        dvc.kill()
        dvc.wait()
        said = project.run(*command, check=False)
        assert re.search(r"pics/at/s0 is being trained already, by process \d+ on \S+, since 20", said), said
    finally:
        child = json.loads(owner.read_text())["process"]
        os.kill(child, signal.SIGINT)
        wait_for(lambda: not Path("/proc", str(child)).exists())
    kept = project.directory / ".resume/train/pics/at/s0/state.pt"
    assert kept.exists()


def test_ctrl_c_ends_a_training_soon_and_says_what_is_kept(project: Project, pictures: Path) -> None:
    project.repro("prepare@pics")
    shutil.rmtree(project.directory / ".resume/train/pics", ignore_errors=True)
    command = [sys.executable, "-m", "stages", "train", "pics/at/s0"]
    training = subprocess.Popen(
        command, cwd=project.directory, env=project.environment, stderr=subprocess.PIPE, text=True
    )
    wait_for((project.directory / ".resume/train/pics/at/s0/state.pt").exists)
    began = time.monotonic()
    training.send_signal(signal.SIGINT)
    _, said = training.communicate(timeout=60)
    assert time.monotonic() - began < 3
    assert training.returncode == 130
    assert re.search(
        r"Stopped\. pics/at/s0: the epochs up to \d+ of 2000 are kept\. The same command goes on from there\.", said
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
