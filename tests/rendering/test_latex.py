import re
import subprocess
from dataclasses import replace
from itertools import product

import pytest
from fairat.rendering.latex import escaped, latex, write_latex
from fairat.rendering.table import Row
from fairat.rendering.tables import CORRUPTIONS, LAYOUTS

from tests.rendering.toys import AT, NASTY, OURS, TRADES, content, entry, four, of_classes, seeds
from tests.tex import needs_tex

table1, _, _, table9, classes_clean, _ = LAYOUTS.values()
GREEK = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρςστυφχψω"
SYMBOLS = "ϵϑϕϖϱ±×÷·−◇≤≥≠≈∼∝∈‖∞∂∇ℓ√∑∏←→↑↓⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉"


def rows_of(tabular):
    """The rows of a tabular as lists of cells, rules left out; a cell over several columns counts as many."""
    lines = [line.removesuffix(r" \\") for line in tabular.splitlines() if line.endswith(r" \\")]
    rows = []
    for line in lines:
        cells = re.split(r"(?<!\\)&", line)
        spans = [re.match(r"\s*\\multicolumn\{(\d+)\}", cell) for cell in cells]
        rows.append(sum(int(span[1]) if span else 1 for span in spans))
    return rows


def tabulars(text):
    """Number of columns and body of each."""
    found = re.findall(r"\\begin\{tabular\}\{(l)(r+)\}\n(.*?)\\end\{tabular\}", text, flags=re.DOTALL)
    return [(len(left + right), body) for left, right, body in found]


def everything(classes=NASTY, count=3, num_seeds=1):
    """A content for which every layout has values, with a row that has none."""
    rows = [AT, replace(AT, weights="ema", label="AT + EMA"), replace(OURS, label="FAIR_TAT 100% #1"), TRADES]
    rows += [replace(TRADES, method=f"m{number}", label=f"m & {number}", short="") for number in range(count)]
    metrics = ("overall_accuracy", "worst_class_accuracy")
    places = [
        (evaluation, "", metric) for evaluation in ("clean", "pgd10", "autoattack", "square") for metric in metrics
    ]
    places += [("corruption", corruption, metric) for corruption in CORRUPTIONS for metric in metrics]
    entries = []
    for number, seed in product([0, *range(2, len(rows))], range(num_seeds)):
        value = (number + 1 + seed) / 100
        keys = {"method": rows[number].method, "weights": rows[number].weights, "seed": seed}
        entries += [
            entry(value, evaluation=evaluation, corruption=corruption, metric=metric, **keys)
            for evaluation, corruption, metric in places
        ]
        for evaluation in ("clean", "pgd10"):
            entries += of_classes(evaluation=evaluation, accuracies=dict.fromkeys(classes, value), **keys)
    reasons = {("demo", "at", "ema"): "averaging_begins at 100%"}
    return content(entries, rows, suites={"demo": "Tom & Jerry_50%"}, reasons=reasons)


def test_a_small_table_reads_as_written_here():
    entries = [*four("at", 0.83465, 0.673, None, None), *four("fair_tat", 0.8, None, None, None)]
    assert latex(table1(content(entries, suites={"demo": "Digits & more"}))) == (
        "% Generated; edits are lost. Needs \\usepackage{booktabs} and \\usepackage{graphicx}; "
        "non-Latin names, LuaLaTeX.\n"
        "\\begin{table}[tp]\n"
        "\\centering\n"
        "\\caption{Accuracy (\\%) without attack and under PGD-10, overall and of the worst class. 100 test images, 1 seed.}\n"
        "\\label{tab:table1-demo}\n"
        "\\footnotesize\n"
        "\\setlength{\\tabcolsep}{3pt}\n"
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        " & \\multicolumn{2}{c}{Digits \\& more} \\\\\n"
        "\\cmidrule(lr){2-3}\n"
        " & \\multicolumn{2}{c}{Clean} \\\\\n"
        "\\cmidrule(lr){2-3}\n"
        "Method & \\multicolumn{1}{c}{Overall} & \\multicolumn{1}{c}{\\shortstack{Worst\\\\Class}} \\\\\n"
        "\\midrule\n"
        "AT & \\underline{\\textbf{83.5}} & 67.3 \\\\\n"
        "FAIR-TAT $\\diamond$ & 80.0 & \\textendash{}\\rlap{\\textsuperscript{a}} \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}}\n"
        "\\par\\smallskip\n"
        "\\begin{minipage}{\\linewidth}\\raggedright\n"
        "Bold: the best of a base and the rows of ours beside it.\\par\n"
        "Underlined: the best of its column.\\par\n"
        "$\\diamond$: ours.\\par\n"
        "Not evaluated: Digits \\& more PGD-10.\\par\n"
        "\\textsuperscript{a}\\,not evaluated\\par\n"
        "\\end{minipage}\n"
        "\\end{table}\n"
    )


@pytest.mark.parametrize(
    ("character", "printed"),
    [
        ("&", r"\&"),
        ("%", r"\%"),
        ("$", r"\$"),
        ("#", r"\#"),
        ("_", r"\_"),
        ("{", r"\{"),
        ("}", r"\}"),
        ("~", r"\textasciitilde{}"),
        ("^", r"\textasciicircum{}"),
        ("\\", r"\textbackslash{}"),
        ("<", r"\textless{}"),
        ("|", r"\textbar{}"),
        ("±", r"$\pm$"),
        ("−", "$-$"),
        ("◇", r"$\diamond$"),
        ("λ", r"$\lambda$"),
        ("ε", r"$\varepsilon$"),
        ("Φ", r"$\Phi$"),
        ("Α", r"$\mathrm{A}$"),
        ("≥", r"$\geq$"),
        ("∞", r"$\infty$"),
        ("₂", r"$_2$"),
        ("é", "é"),
    ],
)
def test_special_characters_print_as_given(character, printed):
    assert escaped(f"a{character}b") == f"a{printed}b"


def test_every_greek_letter_is_mathematics():
    assert len(GREEK) == 49
    assert re.fullmatch(r"(\$(\\[a-zA-Z]+|\\mathrm\{[A-Z]\}|o)\$)+", escaped(GREEK))
    assert len({escaped(letter) for letter in GREEK}) == 49


def test_an_escape_is_not_escaped_again():
    assert escaped(r"\{_}") == r"\textbackslash{}\{\_\}"


@pytest.mark.parametrize(("text", "printed"), [("a--b", "a-{}-b"), ("---", "-{}-{}-"), (",,", ",{},"), ("a-b", "a-b")])
def test_hyphens_and_commas_do_not_become_other_characters(text, printed):
    assert escaped(text) == printed


def test_names_in_brackets_are_not_arguments_of_the_line_end_before():
    text = latex(classes_clean(content(of_classes("at", {"cat": 1, "[x]": 0.5, "*": 0}), (AT,))))
    assert not re.search(r"\\\\\s*[\[*]", text)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("num_seeds", [1, 2])
def test_all_rows_have_as_many_columns_as_their_tabular(layout, num_seeds):
    parts = tabulars(latex(layout(everything(count=8, num_seeds=num_seeds))))
    assert parts
    for columns, body in parts:
        assert set(rows_of(body)) == {columns}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_booktabs_rules_stand_once_each_in_every_tabular_and_braces_balance(layout):
    text = latex(layout(everything(count=8)))
    for _, body in tabulars(text):
        rules = re.findall(r"\\(toprule|midrule|bottomrule)", body)
        assert (rules[0], rules[-1], rules.count("toprule"), rules.count("bottomrule")) == (
            "toprule",
            "bottomrule",
            1,
            1,
        )
        assert "midrule" in rules
    plain = text.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}")
    assert "|" not in plain


def test_rules_below_spanning_headings_cover_their_columns():
    entries = [*four("at", 0.8, 0.5, 0.4, 0.1, suite="a"), *four("at", 0.8, 0.5, 0.4, 0.1, suite="b")]
    text = latex(table1(content(entries, (AT,), suites={"a": "A", "b": "B"})))
    assert r"\multicolumn{4}{c}{A} & \multicolumn{4}{c}{B} \\" in text
    assert r"\cmidrule(lr){2-5} \cmidrule(lr){6-9}" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5} \cmidrule(lr){6-7} \cmidrule(lr){8-9}" in text


def test_groups_are_parted_by_rules():
    text = latex(table1(content(four("at", 0.8, 0.5, 0.4, 0.1), (AT, TRADES))))
    _, body = tabulars(text)[0]
    assert body.count(r"\midrule") == 2


def test_spreads_are_printed_small_and_never_bold():
    text = latex(table1(content([*seeds([0.4, 0.5]), *seeds([0.6, 0.6], method="fair_tat")])))
    assert r"\underline{\textbf{60.0}} {\scriptsize$\pm$ 0.0}" in text


def test_a_table_longer_than_a_page_continues_with_caption_and_notes():
    classes = {f"class {number}": number / 200 for number in range(120)}
    text = latex(classes_clean(content([*of_classes("at", classes), *of_classes("fair_tat", classes)])))
    floats = text.split(r"\begin{table}")[1:]
    assert len(floats) == 3
    assert [float_.count("(continued)") for float_ in floats] == [0, 1, 1]
    assert all(r"$\diamond$: ours." in float_ for float_ in floats)
    assert text.count(r"\label{") == 1
    assert re.findall(r"^class (\d+) &", text, flags=re.MULTILINE) == [str(number) for number in range(120)]


def test_a_file_is_written_as_returned(tmp_path):
    table = table9(everything())
    write_latex(tmp_path / "table9.tex", table)
    assert (tmp_path / "table9.tex").read_bytes() == latex(table).encode()


def compiled(directory, encoding=""):
    """What pdflatex says of a document with tables.tex."""
    (directory / "document.tex").write_text(
        rf"\documentclass{{article}}{encoding}\usepackage{{booktabs}}\usepackage{{graphicx}}"
        r"\begin{document}\input{tables.tex}\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, errors="replace", check=False)
    assert result.returncode == 0, result.stdout[-2000:]
    return result.stdout


def printed(directory):
    """The words of the document."""
    subprocess.run(["pdftotext", "-layout", "document.pdf"], cwd=directory, check=True)
    return (directory / "document.txt").read_text()


@pytest.mark.slow
@needs_tex
@pytest.mark.parametrize("encoding", ["", r"\usepackage[T1]{fontenc}"])
def test_every_letter_and_symbol_compiles_in_captions_headings_labels_and_notes(tmp_path, encoding):
    entries = [
        entry(number / 1000, method=f"m{number}", evaluation=name, metric=metric)
        for number in range(len(GREEK + SYMBOLS))
        for name in ("clean", "pgd10")
        for metric in ("overall_accuracy", "worst_class_accuracy")
    ]
    rows = [Row(f"m{number}", "last", f"<{letter}>") for number, letter in enumerate(GREEK + SYMBOLS)]
    table = table1(content(entries, rows, suites={"demo": "λ and Φ"}))
    table = replace(table, caption=f"{GREEK} {SYMBOLS}", notes=(GREEK, SYMBOLS))
    write_latex(tmp_path / "tables.tex", table)
    assert "Missing character" not in compiled(tmp_path, encoding)
    text = printed(tmp_path)
    # Where a font has one shape for two letters, its name is that of the symbol or of the Latin letter.
    text = text.translate(str.maketrans({"\N{MICRO SIGN}": "μ", "\N{INCREMENT}": "Δ", "\N{OHM SIGN}": "Ω"}))
    latin = set("ΑΒΕΖΗΙΚΜΝΟΡΤΧο")
    assert set(GREEK) - latin <= set(re.findall(r"< *(\S) *>", text))
    assert set("ABEZHIKMNOPTXo") <= set(re.findall(r"< *(\S) *>", text))


@pytest.mark.slow
@needs_tex
@pytest.mark.parametrize("encoding", ["", r"\usepackage[T1]{fontenc}"])
def test_every_layout_compiles_and_prints_class_names_as_given(tmp_path, encoding):
    (tmp_path / "tables.tex").write_text("".join(latex(layout(everything())) for layout in LAYOUTS.values()))
    output = compiled(tmp_path, encoding)
    assert "Overfull" not in output
    text = printed(tmp_path)
    if encoding:
        assert all(name in text for name in NASTY if name.isascii() and "~" not in name)
