"""The stages that render, on a study of two runs."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from fairat import paths
from fairat.files import sha256_of
from fairat.papers.figures import radii
from fairat.rendering.table import Row
from fairat.results.aggregation import write_table
from fairat.study import load_study
from fairat.training.record import WeightsRecord
from ruamel.yaml import YAML

from stages import demo, tables
from tests.rendering.toys import NASTY, entry, of_classes, tidy
from tests.toys import run_record

CLOSED = "the gate never opened"


def record(method, seed=0):
    weights = {"last": WeightsRecord(present=True), "fawa": WeightsRecord(present=False, reason=CLOSED)}
    return run_record(suite="demo", method=method, seed=seed, class_names=NASTY, weights=weights)


def numbers(method, overall):
    for evaluation in ("clean", "pgd10", "autoattack", "square"):
        for metric in ("overall_accuracy", "worst_class_accuracy"):
            yield entry(overall, method=method, evaluation=evaluation, metric=metric)
        for metric in ("class_accuracy", "cfps"):
            yield from of_classes(method, dict.fromkeys(NASTY, 0.1), evaluation=evaluation, metric=metric)
    for metric in ("overall_accuracy", "worst_class_accuracy"):
        yield entry(overall, method=method, evaluation="corruption", corruption="fog", metric=metric)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The project's methods and suites, but two runs of the demo, trained and evaluated."""
    shutil.copy(paths.PARAMS, tmp_path)
    shutil.copy(paths.OWN, tmp_path)
    (tmp_path / paths.PUBLISHED_PARAMS).parent.mkdir(parents=True)
    shutil.copy(paths.PUBLISHED_PARAMS, tmp_path / paths.PUBLISHED_PARAMS)
    monkeypatch.chdir(tmp_path)
    make_runs("at", "fair_tat")
    return load_study()


def make_runs(*methods):
    lines = {f"demo/{method}/s0": {"suite": "demo", "start": "data/demo"} for method in methods}
    YAML(typ="safe").dump({"runs": lines}, paths.RUNS)
    for method in methods:
        directory = paths.run("demo", method, 0)
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "classes.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", "class_name", "epsilon", "train_robust_accuracy"])
            writer.writerows([epoch, name, 0.1, "nan"] for epoch in range(2) for name in NASTY)
        signed(method, directory)
    write_table(
        paths.metrics("demo"),
        tidy(one for number, method in enumerate(methods) for one in numbers(method, 0.5 + number / 10)),
    )


def signed(method, directory):
    """The record of a run, with the digest of its curves."""
    files = {"classes.csv": sha256_of(directory / "classes.csv")}
    record(method).model_copy(update={"files": files}).save(directory)


def files(*directories):
    return {path: path.read_bytes() for directory in directories for path in sorted(directory.iterdir())}


def test_a_suite_is_rendered_whole_as_dvc_can_show_it_and_twice_the_same(study):
    tables.main("demo")
    once = files(paths.tables("demo"), paths.figures("demo"))
    names = {path.name for path in once}
    assert names >= {"table1.md", "table1.tex", "table2.md", "table3.md", "table9.tex", "classes_clean.tex"}
    assert names >= {"figure1.pdf", "figure1.png", "figure3.pdf", "figure4.png"}
    assert {path.suffix for path in paths.figures("demo").iterdir()} == {".png"}, "DVC can show nothing else"
    tables.main("demo")
    assert files(paths.tables("demo"), paths.figures("demo")) == once


def test_the_rendered_table_has_the_numbers_the_marks_and_the_reasons(study, monkeypatch):
    monkeypatch.setattr(tables, "figures", lambda *_: [])
    tables.main("demo")
    text = (paths.tables("demo") / "table1.md").read_text()
    assert text.startswith("**Not the papers' settings. Accuracy")
    assert "PreActResNet-18 (width 8), ε = 28/255, trained for 10 epochs" in text
    assert "<ins>**60.0**</ins>" in text
    assert CLOSED in text
    assert "reduced budget" not in text
    assert "reduced budget" in (paths.tables("demo") / "table2.md").read_text()
    assert r"\#1 \{x\}" in (paths.tables("demo") / "classes_clean.tex").read_text()


def test_a_suite_in_which_nothing_attacks_has_no_figure_4(study):
    make_runs("clean")
    tables.main("demo")
    assert not list(paths.figures("demo").glob("figure4.*"))
    assert list(paths.figures("demo").glob("figure3.*"))


def test_the_demo_ends_with_its_tables_and_says_where_the_rest_is(study):
    demo.main()
    text = Path(paths.DEMO).read_text(encoding="utf-8")
    assert "\x1b[1;4m60.0" in text
    for place in ("reports/tables/demo", "reports/figures/demo", "reports/metrics/demo.parquet", "dvc metrics show"):
        assert place in text
    (predictions,) = re.findall(r"Every prediction: +(\S+)", text)
    assert paths.evidence("demo", 0, "pgd", "at").match(f"{predictions}/*/*.parquet")


def test_class_names_are_read_as_text(study):
    run = study.run("demo", "at", 0)
    (run.directory / "classes.csv").write_text("epoch,class_name,epsilon\n0,007,0.1\n0,NA,0.1\n0,,0.1\n")
    signed("at", run.directory)
    assert list(radii(run.directory, run.method_name)["class_name"]) == ["007", "NA", ""]


def test_figure_4_shows_each_method_whose_radii_may_differ_once(study):
    make_runs("clean", "at_constant", "at", "fair_tat")
    assert [run.key for run in tables.class_wise(load_study().runs_of("demo"))] == ["demo/at/s0", "demo/fair_tat/s0"]


def test_figure_4_shows_constant_radii_where_no_others_are(study):
    make_runs("clean", "at_constant")
    assert [run.key for run in tables.class_wise(load_study().runs_of("demo"))] == ["demo/at_constant/s0"]


def test_figures_show_the_main_method_of_each_group_before_any_variant():
    def row(label, group, ours=False, weights="last"):
        return Row(label, weights, label, group, ours)

    main = [row("AT", "AT"), row("FAIR-TAT", "AT", True), row("TRADES", "TRADES"), row("TRADES, ours", "TRADES", True)]
    variants = [row("AT (constant margin)", "AT"), row("TRADES (CCR)", "TRADES"), row("FAIR-TAT (UTS)", "AT", True)]
    averages = [row("AT", "AT", weights="ema")]
    shown = tables.figure_rows([*variants, *main, *averages])
    assert len(shown) == tables.FIGURE_ROWS
    assert set(main) < set(shown)
    assert all(row.weights == "last" for row in shown)
    assert tables.figure_rows(main[::-1]) == main[::-1]
