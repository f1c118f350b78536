from dataclasses import replace

import pandas as pd
import pytest
from fairat import paths
from fairat.errors import UserError
from fairat.rendering.filling import Content
from fairat.rendering.table import Address, Row
from fairat.rendering.tables import CORRUPTIONS, LAYOUTS

from tests.rendering.toys import AT, OURS, TRADES, content, entry, four, of_classes, seeds

table1, table2, table3, table9, classes_clean, classes_pgd = LAYOUTS.values()
SUITES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
EVALUATIONS = {"clean": "Clean", "pgd10": "PGD-10", "autoattack": "AutoAttack", "square": "Square"}
METRICS = {"overall_accuracy": "Overall", "worst_class_accuracy": "Worst Class"}


def printed(number):
    """One table of FAIR-TAT, in the vocabulary of the tidy table: what is a label there is a method here."""
    published = pd.read_csv(paths.PUBLISHED, keep_default_na=False)
    rows = published.loc[(published["source"] == "fairtat") & (published["table"] == number)]
    rows = rows.rename(columns={"dataset": "suite", "label": "method"})
    return rows.assign(evaluation=rows["evaluation"].replace("pgd", "pgd10"), value=rows["value"].astype(float) / 100)


def as_content(rows, suites):
    keys = ["suite", "method", "evaluation", "corruption", "metric", "value"]
    entries = [entry(**record) for record in rows[keys].to_dict("records")]
    ours = rows.groupby("method", sort=False)["is_ours"].first()
    lines = [Row(label, "last", label, ours=bool(mark)) for label, mark in ours.items()]
    return content(entries, lines, suites=suites)


def cells(table):
    return [[cell.mean for cell in line.cells] for line in table.lines]


def marks(table):
    """B for bold, U for underlined, * for significant."""
    letters = {"bold": "B", "underlined": "U", "significant": "*"}
    return [["".join(sorted(letters[mark] for mark in cell.marks)) for cell in line.cells] for line in table.lines]


@pytest.mark.parametrize(("number", "layout", "shape"), [(1, table1, (23, 8)), (2, table2, (22, 6))])
def test_tables_1_and_2_have_the_printed_lines_columns_marks_and_numbers(number, layout, shape):
    rows = printed(number)
    table = layout(as_content(rows, SUITES))
    headings = [
        (SUITES[suite], EVALUATIONS[evaluation], METRICS[metric])
        for suite, evaluation, metric in rows[["suite", "evaluation", "metric"]].drop_duplicates().itertuples(False)
    ]
    assert [column.headings for column in table.columns] == sorted(headings, key=lambda one: one[0])
    assert [line.label for line in table.lines] == list(rows["method"].unique())
    assert {line.label for line in table.lines if line.ours} == set(rows.loc[rows["is_ours"], "method"])
    by_suite = rows.sort_values("suite", kind="stable").groupby("method", sort=False)["value"].apply(list)
    assert cells(table) == [by_suite[line.label] for line in table.lines]
    assert (len(table.lines), len(table.columns)) == shape


def test_table_2_says_what_the_paper_did_not_evaluate():
    assert "Not evaluated: CIFAR-100 Square." in table2(as_content(printed(2), SUITES)).notes


@pytest.mark.parametrize(("number", "layout"), [(3, table3), (4, table3), (10, table9)])
def test_tables_3_and_9_have_the_printed_lines_columns_and_numbers(number, layout):
    """Table 9 has the layout of Table 10, whose labels of corruptions are right."""
    rows = printed(number)
    table = layout(as_content(rows, {"cifar10-c": "CIFAR-10-C"}))
    assert [column.headings for column in table.columns] == [("CIFAR-10-C", name) for name in rows["method"].unique()]
    assert list(rows["corruption"].unique()) == list(CORRUPTIONS)
    assert [line.label for line in table.lines] == list(CORRUPTIONS.values())
    expected = rows.pivot(index="corruption", columns="method", values="value")
    assert cells(table) == expected.loc[list(CORRUPTIONS), list(rows["method"].unique())].to_numpy().tolist()
    assert (len(table.lines), len(table.columns)) == (18, 9)


def test_the_better_of_a_pair_is_bold_and_the_best_of_a_column_underlined():
    entries = [
        *four("at", 0.8, 0.5, 0.4, 0.1),
        *four("fair_tat", 0.7, 0.6, 0.5, 0.2),
        *four("trades", 0.9, 0.4, 0.3, 0.15),
    ]
    table = table1(content(entries, (AT, OURS, TRADES)))
    assert marks(table) == [
        ["B", "", "", ""],
        ["", "BU", "BU", "BU"],
        ["U", "", "", ""],
    ]


def test_clean_training_takes_no_mark_and_hides_none():
    entries = [*four("at", 0.8, 0.5, 0.4, 0.1), *four("fair_tat", 0.7, 0.6, 0.5, 0.2), *four("clean", 0.9, 0.8, 0, 0)]
    table = table1(content(entries, (AT, OURS, Row("clean", "last", "Clean Training", reference=True))))
    assert marks(table) == [["BU", "", "", ""], ["", "BU", "BU", "BU"], [""] * 4]


def test_weight_sets_are_pairs_of_their_own():
    rows = [AT, OURS, replace(AT, weights="ema"), replace(OURS, weights="ema")]
    entries = [
        *four("at", 0.8, 0.5, 0.4, 0.1), *four("fair_tat", 0.7, 0.6, 0.5, 0.2),
        *four("at", 0.6, 0.3, 0.2, 0.05, weights="ema"), *four("fair_tat", 0.5, 0.4, 0.3, 0.07, weights="ema"),
    ]  # fmt: skip
    assert marks(table1(content(entries, rows)))[2:] == [["B", "", "", ""], ["", "B", "B", "B"]]


def test_without_its_base_a_row_of_ours_is_no_pair():
    entries = [*four("fair_tat", 0.7, 0.6, 0.5, 0.2), *four("fair_tat_uniform", 0.6, 0.5, 0.4, 0.1)]
    table = table1(content(entries, (OURS, replace(OURS, method="fair_tat_uniform"))))
    assert marks(table) == [["U"] * 4, [""] * 4]


def test_a_difference_by_more_than_chance_has_a_star_and_a_legend():
    entries = [*four("at", 0.8, 0.5, 0.4, 0.1), *four("fair_tat", 0.7, 0.6, 0.5, 0.2)]
    better = Address("demo", "fair_tat", "last", "pgd10", "worst_class_accuracy")
    table = table1(content(entries, significant={better}))
    assert marks(table)[1] == ["", "BU", "BU", "*BU"]
    assert any(note.startswith("*: differs from its base") for note in table.notes)
    assert not any(note.startswith("*") for note in table1(content(entries)).notes)


def test_a_caption_names_the_experiment_its_images_and_seeds():
    def setting(evaluations):
        return f"A small network, {' and '.join(evaluations)}."

    table = table1(content(seeds([0.4, 0.5]), (AT,), setting=setting))
    assert table.caption == (
        "Accuracy (%) without attack and under PGD-10, overall and of the worst class. A small network, clean. "
        "100 test images, 2 seeds."
    )


def test_a_toy_says_so_in_the_captions_first_words_and_lists_what_differs():
    table = table1(
        content([entry(0.5)], (AT,), differences=lambda _: ["network width 8 instead of 64", "radius 4/255"])
    )
    assert table.caption.startswith("Not the papers' settings. Accuracy")
    assert "Not the papers' settings: network width 8 instead of 64; radius 4/255." in table.notes


def test_suites_that_saw_different_images_are_told_apart():
    entries = [entry(0.5, suite="cifar10", images=10_000), *seeds([0.3, 0.4], suite="cifar100")]
    caption = table1(content(entries, (AT,), suites=SUITES)).caption
    assert caption.endswith("CIFAR-10: 10,000 test images, 1 seed; CIFAR-100: 100 test images, 2 seeds.")


def test_what_prints_equal_is_tied_and_ties_are_all_marked():
    entries = [
        *four("at", 0.80001, 0.5, 0, 0),
        *four("fair_tat", 0.80002, 0.5, 0, 0),
        *four("trades", 0.7, 0.4, 0, 0),
    ]
    table = table1(content(entries, (AT, OURS, TRADES)))
    assert [line[0] for line in marks(table)] == ["U", "U", ""]
    assert [line[1] for line in marks(table)] == ["U", "U", ""]
    assert [line[2] for line in marks(table)] == [""] * 3


def test_a_number_without_rivals_is_not_marked():
    alone = table1(content(four("at", 0.8, 0.5, 0.4, 0.1), (AT,)))
    assert marks(alone) == [[""] * 4]
    assert not any("Bold" in note or "Underlined" in note for note in alone.notes)
    one_missing = table1(content([*four("at", 0.8, 0.5, 0.4, 0.1), *four("fair_tat", 0.7, None, None, None)]))
    assert marks(one_missing) == [["BU", "", "", ""], [""] * 4]


def test_missing_numbers_are_dashes_that_say_why():
    rows = [AT, replace(AT, weights="fawa", label="AT + CFA"), OURS]
    reason = "the gate never opened"
    table = table1(
        content(
            [*four("at", 0.8, 0.5, 0.4, 0.1), *four("fair_tat", 0.7, None, 0.5, 0.2)],
            rows,
            reasons={("demo", "at", "fawa"): reason},
        )
    )
    assert [cell.text for cell in table.lines[1].cells] == ["–"] * 4
    assert [cell.footnote for cell in table.lines[1].cells] == ["a"] * 4
    assert table.lines[2].cells[1].text == "–"
    assert table.footnotes == [("a", reason), ("b", "not evaluated")]
    assert marks(table)[1] == [""] * 4


def test_a_number_of_a_class_without_images_is_undefined_not_zero():
    entries = [*of_classes("at", {"cat": 0.5}), entry(None, metric="class_accuracy", class_name="eel")]
    table = classes_clean(content(entries, (AT,)))
    assert [cell.text for line in table.lines for cell in line.cells] == ["50.0", "–"]
    assert table.footnotes == [("a", "undefined: the class has no images")]


def test_several_seeds_give_mean_and_sample_standard_deviation():
    table = table1(content(seeds([0.48, 0.484, 0.481, 0.485, 0.48]), (AT,)))
    assert table.lines[0].cells[0].text == "48.2 ± 0.2"
    assert "Mean ± sample standard deviation over 5 seeds." in table.notes


def test_one_seed_has_no_spread_and_no_note_of_seeds():
    table = table1(content(seeds([0.48]), (AT,)))
    assert table.lines[0].cells[0].text == "48.0"
    assert not any("deviation" in note for note in table.notes)


def test_fewer_seeds_than_others_are_told():
    missing = {("demo", "fair_tat", "last"): "the disk was full"}
    table = table1(content([*seeds([0.4, 0.5, 0.6]), *seeds([0.5, 0.7], method="fair_tat")], reasons=missing))
    assert [line.cells[0].footnote for line in table.lines] == ["", "a"]
    assert table.footnotes == [("a", "2 of 3 seeds; the disk was full")]


def test_suites_with_different_numbers_of_seeds_are_told_apart():
    entries = [*seeds([0.4, 0.5], suite="cifar10"), *seeds([0.3], suite="cifar100")]
    table = table1(content(entries, (AT,), suites=SUITES))
    assert "Mean ± sample standard deviation over seeds: 2 (CIFAR-10)." in table.notes


def test_evaluations_of_a_part_of_the_test_set_are_told():
    entries = [entry(0.9, images=1000), entry(0.4, evaluation="autoattack", images=100)]
    entries += [
        entry(0.4, evaluation="square", images=100),
        entry(0.5, evaluation="square", method="fair_tat", images=50),
    ]
    notes = table2(content(entries)).notes
    assert "Digits: AutoAttack on 100 of 1,000 test images." in notes
    assert "Digits: Square on 50 to 100 (not every method the same) of 1,000 test images." in notes


def test_the_images_of_corruptions_are_told_only_where_methods_differ():
    one = [entry(0.4, evaluation="corruption", corruption="fog", images=500)]
    other = [entry(0.4, evaluation="corruption", corruption="fog", method="fair_tat", images=400)]
    same = [one[0], {**other[0], "images": 500}]
    assert "Digits: corruptions on 400 to 500 (not every method the same) images." in table9(content(one + other)).notes
    assert not any("images" in note for note in table9(content(same)).notes)


def test_notes_on_a_budget_stand_only_below_tables_of_that_attack():
    entries = [entry(0.9), entry(0.4, evaluation="autoattack"), entry(0.4, evaluation="autoattack", suite="other")]
    full = content(entries, (AT,), notes={("demo", "autoattack"): "It was short.", ("other", "autoattack"): "No."})
    assert "It was short." in table2(full).notes
    assert "No." not in table2(full).notes
    assert not any("short" in note for note in table1(full).notes)


def test_of_many_classes_the_worst_is_explained():
    few, many = (of_classes("at", {str(number): 0.5 for number in range(count)}) for count in (19, 21))
    assert not any("lowest" in note for note in table1(content([*four("at", 1, 1, 1, 1), *few], (AT,))).notes)
    notes = table1(content([*four("at", 1, 1, 1, 1), *many], (AT,))).notes
    assert "Digits: worst is the mean of the 3 lowest of 21 class accuracies." in notes


def test_ours_is_marked_and_explained_only_where_it_is():
    entries = [*four("at", 0.8, 0.5, 0.4, 0.1), *four("fair_tat", 0.7, 0.6, 0.5, 0.2)]
    both = table1(content(entries))
    assert [line.ours for line in both.lines] == [False, True]
    assert "◇: ours." in both.notes
    assert "◇: ours." not in table1(content(entries, (AT,))).notes


def test_rules_part_groups_and_space_parts_the_weight_sets_of_a_group_with_ours():
    def ema(row):
        return replace(row, weights="ema")

    rows = [AT, OURS, ema(AT), ema(OURS), TRADES, ema(TRADES)]
    table = table1(content(four("at", 0.8, 0.5, 0.4, 0.1), rows))
    assert [line.gap for line in table.lines] == ["", "", "space", "", "rule", ""]


def test_the_best_of_a_corruption_is_sought_along_its_line():
    entries = [
        entry(value, method=method, evaluation="corruption", corruption=corruption)
        for method, values in (("at", (0.8, 0.1)), ("fair_tat", (0.7, 0.2)))
        for corruption, value in zip(("fog", "snow"), values, strict=True)
    ]
    table = table9(content(entries))
    assert [line.label for line in table.lines] == ["Snow", "Fog"]
    assert marks(table) == [["", "U"], ["U", ""]]
    assert "Underlined: the best of a line." in table.notes


def test_corruptions_nobody_evaluated_are_named():
    table = table9(content([entry(0.5, evaluation="corruption", corruption="fog")], (AT,)))
    (note,) = (note for note in table.notes if note.startswith("Not evaluated: Gaussian noise, Shot noise"))
    assert "Fog" not in note


def test_class_tables_have_a_line_per_class_in_the_order_of_the_data():
    entries = [
        one
        for evaluation, shift in (("clean", 0.3), ("pgd10", 0))
        for method in ("at", "fair_tat")
        for one in of_classes(method, {"dog": 0.2 + shift, "cat": 0.6 + shift}, evaluation=evaluation)
    ]
    clean, pgd = classes_clean(content(entries)), classes_pgd(content(entries))
    assert [line.label for line in clean.lines] == ["dog", "cat"]
    assert cells(clean) == [[0.5, 0.5], [pytest.approx(0.9)] * 2]
    assert cells(pgd) == [[0.2, 0.2], [0.6, 0.6]]


def test_the_pgd_of_the_content_is_the_one_shown():
    entries = [entry(0.9), entry(0.5), entry(0.4)]
    entries[1]["evaluation"], entries[2]["evaluation"] = "pgd10", "pgd50"
    table = table1(content(entries, (AT,), pgd="pgd50"))
    assert [column.headings[1] for column in table.columns] == ["Clean", "PGD-50"]
    assert cells(table) == [[0.9, 0.4]]
    assert "PGD-50" in table.caption


def test_names_that_break_lines_stay_on_one():
    table = table1(content([entry(0.5)], [replace(AT, label="two\nlines\x00  e\N{COMBINING ACUTE ACCENT}")]))
    assert table.lines[0].label == "two lines é"


def test_the_name_of_a_table_is_fit_for_a_label():
    assert classes_clean(content(of_classes("at", {"cat": 1.0}))).name == "classes-clean-demo"


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_table_without_any_value_says_what_to_do(name):
    message = (
        rf"There is nothing to put into {name}: the metrics of Digits have no value for it .* Evaluate the runs first"
    )
    with pytest.raises(UserError, match=message):
        LAYOUTS[name](content([entry(0.5, suite="other")]))


def test_no_rows_say_what_to_do():
    with pytest.raises(
        UserError, match=r"at least one row and one suite, but there are none\. Add a run to runs\.yaml"
    ):
        content([entry(0.5)], ())


def test_a_row_that_stands_twice_is_refused():
    with pytest.raises(UserError, match=r"The last weights of at are in two rows of a table\. Leave one of them out"):
        content([entry(0.5)], (AT, replace(AT, label="again")))


def test_a_value_that_stands_twice_is_never_averaged():
    with pytest.raises(AssertionError, match="holds a value twice"):
        table1(content([entry(0.5), entry(0.6)], (AT,)))


def test_percentages_are_not_taken_for_fractions():
    with pytest.raises(AssertionError, match="fractions"):
        table1(content([entry(50)], (AT, OURS)))


def test_contents_are_of_their_own_suites_only():
    shown = Content(content([entry(0.5), entry(0.6, suite="other")]).table, (AT,), {"demo": "Digits"})
    assert {address.suite for address in shown.cells} == {"demo"}
