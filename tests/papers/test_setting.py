"""What captions say of an experiment: its numbers, and in what it is not the papers' own."""

from pathlib import Path

import pytest
from fairat import paths
from fairat.papers.needs import PAPER_TARGETS, TABLE_SUITES, need
from fairat.papers.setting import (
    UNTRAINED,
    about,
    caption,
    differences,
    equal_weights,
    papers_study,
    sentence,
    significant,
    without,
)
from fairat.rendering.table import Row
from fairat.results.evidence import Origin, attack_rows, write_evidence
from fairat.settings.base import merged
from fairat.study import Study, load_study
from fairat.training.record import RunRecord, WeightsRecord

from tests.rendering.toys import entry, tidy
from tests.toys import run_record

STUDY = load_study()
EVERYTHING = ("pgd", "autoattack", "square", "corruptions")


def changed(suite: str, **changes: object) -> Study:
    """The study with some settings of a suite replaced."""
    return STUDY.model_copy(update={"suites": {**STUDY.suites, suite: merged(STUDY.suites[suite], changes)}})


def methods_of(target: str) -> list[str]:
    return list(dict.fromkeys(need(cell).method for cell in PAPER_TARGETS[target].cells))


@pytest.mark.parametrize("target", TABLE_SUITES)
def test_the_settings_as_they_ship_are_the_papers(target: str) -> None:
    for suite in TABLE_SUITES[target]:
        assert differences(STUDY, suite, methods_of(target), EVERYTHING) == []


def test_a_transformer_that_starts_from_random_weights_is_not_the_papers() -> None:
    untrained = changed("cifar10_xcit", architecture={"checkpoint": None})
    assert differences(untrained, "cifar10_xcit", ["xcit_at"], ["pgd"]) == [UNTRAINED]


def test_every_method_that_ships_is_among_the_papers_settings() -> None:
    assert papers_study().methods == STUDY.methods
    assert papers_study().suites == {name: suite for name, suite in STUDY.suites.items() if "demo" not in name}


def test_a_toy_lists_what_it_changes() -> None:
    toy = changed("cifar10", architecture={"width": 8}, threat={"epsilon": "4/255"}, epoch_scale=0.01)
    assert differences(toy, "cifar10", ["at"], ["pgd"]) == [
        "network width 8 instead of 64",
        "radius 4/255 instead of 8/255",
        "share of the epochs 0.01 instead of 1",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": {"kind": "resnet18"}}, "network resnet18 instead of preact_resnet18"),
        ({"threat": {"num_steps": 3}}, "steps of training attacks 3 instead of 10"),
        ({"recipe": {"batch_size": 64}}, "recipe batch size 64 instead of 128"),
        ({"recipe": {"epochs": 20}}, "recipe epochs 20 instead of 200"),
        ({"recipe": {"precision": "bfloat16"}}, "recipe precision bfloat16 instead of tf32"),
        ({"data": {"images_per_class": {"test": 25}}}, "test images of a class 25 instead of all"),
        ({"data": {"without_classes": [3]}}, "data without classes 3 instead of none"),
        ({"evaluation": {"pgd": {"step_size": "1/255"}}}, "step size of PGD 1/255 instead of 2/255"),
        ({"evaluation": {"autoattack": {"queries": 50}}}, "Square queries of AutoAttack 50 instead of 5000"),
        ({"evaluation": {"square": {"images": 1000}}}, "test images of Square 1000 instead of all"),
        ({"normalize": False}, "normalize False instead of True"),
        ({"averaging": {"threshold": 0.1}}, "averaging threshold 0.1 instead of 0.2"),
    ],
)
def test_every_kind_of_setting_is_compared(changes: dict[str, object], said: str) -> None:
    assert said in differences(changed("cifar10", **changes), "cifar10", ["at"], EVERYTHING)


def test_names_memory_and_places_make_no_other_experiment() -> None:
    changes = {"title": "Mine", "threads": 1, "evaluation": {"pgd": {"batch_size": 7}}}
    changes["data"] = {"source": {"archive": "elsewhere.tar.gz"}}
    assert differences(changed("cifar10", **changes), "cifar10", ["at"], EVERYTHING) == []


def test_a_changed_method_is_told_by_its_label_and_only_where_it_is_shown() -> None:
    at = STUDY.methods["at"].model_copy(update={"recipe": {"epochs": 20}})
    study = STUDY.model_copy(update={"methods": {**STUDY.methods, "at": at}})
    assert differences(study, "cifar10", ["at"], ["pgd"]) == ["AT: recipe epochs 20 instead of none"]
    assert differences(study, "cifar10", ["trades"], ["pgd"]) == []


def test_the_protocol_of_an_evaluation_that_is_not_shown_does_not_matter() -> None:
    study = changed("cifar10", evaluation={"square": {"queries": 100}}, data={"corruptions": {"kind": "made"}})
    assert differences(study, "cifar10", ["at"], ["pgd"]) == []
    assert "corrupted images made instead of cifar10c" in differences(study, "cifar10", ["at"], ["corruptions"])


def test_a_caption_names_network_radius_attacks_and_epochs() -> None:
    runs = [STUDY.named(f"cifar10/{method}/s0") for method in ("at", "frl")]
    assert sentence(runs, ["clean", "pgd10"]) == (
        "PreActResNet-18 (width 64), ε = 8/255, trained for 40 to 200 epochs with attacks of 10 steps of 2/255, "
        "PGD-10 with steps of 2/255."
    )


def test_suites_that_differ_are_named_one_by_one() -> None:
    runs = [STUDY.named(f"{suite}/at/s0") for suite in ("cifar10", "cifar100", "demo")]
    assert sentence(runs[:2], ["clean"]).startswith("PreActResNet-18 (width 64), ε = 8/255")
    assert sentence(runs, ["clean"]).endswith(
        "Digits: PreActResNet-18 (width 8), ε = 28/255, trained for 10 epochs with attacks of 5 steps of 11/255."
    )


def test_weights_that_are_another_set_in_every_seed_say_so_instead_of_filling_a_row() -> None:
    def of_seed(seed: int, **sha256: str) -> RunRecord:
        weights = {name: WeightsRecord(present=True, sha256=one) for name, one in sha256.items()}
        return run_record(suite="demo", method="at", seed=seed, weights=weights)

    equal = equal_weights([of_seed(0, last="a", ema="b", fawa="a"), of_seed(1, last="c", ema="d", fawa="c")])
    assert equal == {
        (
            "demo",
            "at",
            "fawa",
        ): "FAWA's gate was open in the last epoch only, or in every epoch: these are the last weights"
    }
    assert equal_weights([of_seed(0, last="a", fawa="a"), of_seed(1, last="c", fawa="d")]) == {}
    table = tidy([entry(0.5), entry(0.5, weights="fawa"), entry(0.4, method="trades", weights="fawa")])
    assert without(table, equal)[["method", "weights"]].to_numpy().tolist() == [["at", "last"], ["trades", "fawa"]]
    assert len(without(table, {})) == 3


def test_what_differs_is_said_suite_by_suite_and_for_the_evaluations_shown() -> None:
    runs = [STUDY.named(f"{suite}/at/s0") for suite in ("cifar10", "demo")]
    said = about(STUDY, runs)
    found = said["differences"](["clean", "pgd10"])
    assert found[0] == "Digits: images digits instead of cifar10"
    assert not any("AutoAttack" in line for line in found)
    assert any("iterations of AutoAttack" in line for line in said["differences"](["autoattack"]))
    assert set(said["notes"]) == {("demo", "autoattack"), ("demo", "square")}


def test_a_figure_is_captioned_with_its_experiment_images_and_seeds() -> None:
    table = tidy([
        *(entry(0.5, seed=seed, images=250) for seed in range(3)),
        entry(0.5, evaluation="corruption", corruption="mean", images=23_750),
    ])  # fmt: skip
    text = caption(STUDY, [STUDY.named("demo/at/s0")], table, ["clean"])
    assert text.startswith("Not the papers' settings. PreActResNet-18 (width 8), ε = 28/255, trained for 10 epochs")
    assert text.endswith("250 test images, 3 seeds.")
    assert not caption(STUDY, [STUDY.named("cifar10/at/s0")], table, ["clean"]).startswith("Not")


def test_a_row_that_differs_from_its_base_by_more_than_chance_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 500 images each, the base gets half right under attack, ours three quarters."""
    monkeypatch.chdir(tmp_path)
    labels = [0, 1] * 250
    for method, right in (("at", 250), ("fair_tat", 375)):
        attacked = [label if number < right else 1 - label for number, label in enumerate(labels)]
        fields = {"suite": "demo", "method": method, "seed": 0, "evaluation": "pgd", "class_names": ("cat", "dog")}
        fields |= {"settings": {}, "weights_sha256": {"last": ""}, "data_sha256": "", "fingerprint": "", "commit": ""}
        origin = Origin.model_validate({**fields, "versions": {}, "device": "cpu", "seconds": 1.0})
        rows = attack_rows("last", "pgd10", range(500), labels, labels, attacked)
        write_evidence(paths.evidence("demo", 0, "pgd", method), rows, origin)
    rows = [
        Row("at", "last", "AT"),
        Row("fair_tat", "last", "FAIR-TAT", base="at"),
        Row("fair_tat", "ema", "+", base="at"),
    ]
    found = significant({"demo": rows}, [paths.evidence("demo", 0, "pgd", method) for method in ("at", "fair_tat")])
    assert {(one.evaluation, one.metric) for one in found} == {
        ("pgd10", "overall_accuracy"),
        ("pgd10", "worst_class_accuracy"),
    }
    assert {(one.method, one.weights) for one in found} == {("fair_tat", "last")}
