"""docs/methods.md: what each method of params.yaml does, from the docstrings of its parts.

`python -m fairat.docs` writes it; a test fails when the file is not what this module makes of the docstrings.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

from fairat.files import whole_file
from fairat.methods import KINDS
from fairat.methods.method import Method
from fairat.methods.parts import ConstantMargin, EqualWeights, Part, Untargeted
from fairat.settings.averaging import Averaging
from fairat.study import load_study

METHODS = Path("docs/methods.md")
NEUTRAL = (Untargeted, ConstantMargin, EqualWeights)

HEAD = r"""# Methods

Every method of `params.yaml`: what it does, its equations, its parts with their settings, and where it was published.
`python -m fairat.docs` writes this file from the docstrings in `pipeline/fairat/methods/`: edit those. Where a paper and its
code disagree, [deviations.md](deviations.md) says what we do; [add_a_method.md](add_a_method.md) shows how to add your own.

## Notation

An image $x_i$ in $[0, 1]$ has the true class $y_i$, one of $K$; a batch has $B$ images. $f(x)$ are the logits, $p(x)$ their
softmax. A method gives every image a clean loss $\mathrm{nat}_i$, a robust loss $\mathrm{rob}_i$, or both, and every batch the
loss $L$. The ball of an image has the radius of its true class, which is $\varepsilon$ unless a margin says otherwise:

```math
\begin{aligned}
& \mathrm{CE}(x, y) = -\log p_y(x), \quad \mathrm{KL}(a \parallel b) = \sum_k a_k (\log a_k - \log b_k) \\
& \mathcal{B}(x_i, \varepsilon_i) = \{ x' \in [0, 1]^d : \Vert x' - x_i \Vert_\infty \leq \varepsilon_i \} \\
& \varepsilon_i = \varepsilon_{y_i}
\end{aligned}
```

The maxima and minima over a ball stand for $T$ steps of projected gradient ascent or descent, where $\Pi$ clips to the ball:

```math
x^{t+1}_i = \Pi_{\varepsilon_i}(x^t_i \pm \alpha \, \mathrm{sign} \nabla \ell(x^t_i)), \quad x'_i = x^T_i
```

Epochs count from 0; $t_i$ is the wrong class that a targeted attack on image $i$ aims at.

## Overview

An empty cell is the neutral choice: an untargeted attack, a constant margin, no class weights.
"""


@dataclass(frozen=True)
class Page:
    """One docstring, taken apart.

    Attributes:
        prose: what it says in words, one line.
        equations: LaTeX, each with the condition under which it holds, or "".
        source: the publication, or "".
        symbols: settings that an equation has a symbol for, and the symbol.
    """

    prose: str
    equations: tuple[tuple[str, str], ...]
    source: str
    symbols: tuple[tuple[str, str], ...]


def page_of(documented: type) -> Page:
    """Reads the docstring of a class: words, equations between double dollars, `Source:`, symbols under `Attributes:`."""
    text, _, attributes = cleandoc(documented.__doc__ or "").partition("\nAttributes:\n")
    text = re.sub(r" \(spec [^)]*\)", "", " ".join(text.split("\n")))
    equation = r"(?:\[(\w+)\] )?\$\$(.+?)\$\$"
    words, _, source = re.sub(equation, "", text).partition("Source:")
    return Page(
        prose=" ".join(words.split()),
        equations=tuple((condition, latex.strip()) for condition, latex in re.findall(equation, text)),
        source=" ".join(source.split()),
        symbols=tuple(re.findall(r"^ +(\w+): (\$[^$]+\$)", attributes, re.MULTILINE)),
    )


def pages_of(part: Part) -> Iterator[Page]:
    """The docstrings of a part: its own, after those of the classes it is built on in the same module."""
    for documented in reversed(type(part).__mro__):
        if documented.__module__ == type(part).__module__ and documented.__doc__:
            yield page_of(documented)


def holds(condition: str, method: Method) -> bool:
    """Whether an equation with that condition belongs to a method; no condition always holds."""
    conditions = {"", "targeted" if method.targets.targeted else "untargeted", getattr(method.objective, "fits", "")}
    if isinstance(method.class_weights, EqualWeights):
        conditions |= {"unweighted", "normalised" if getattr(method.objective, "normalise", False) else "original"}
    return condition in conditions


def methods_document(methods: Mapping[str, Method]) -> str:
    """docs/methods.md."""
    sections = [section(name, method) for name, method in methods.items()]
    return "\n\n".join([HEAD.strip(), overview(methods), "## One by one", *sections, weight_sets()]) + "\n"


def overview(methods: Mapping[str, Method]) -> str:
    """A row for each method: the kinds of its parts, nothing where a part is neutral."""
    rows = []
    for name, method in methods.items():
        parts = [getattr(method, slot) for slot in KINDS]
        kinds = ["" if isinstance(part, NEUTRAL) else f"`{part.kind}`" for part in parts]
        rows.append([method.label, f"`{name}`", *kinds])
    return table(["method", "in params.yaml", *map(spaced, KINDS)], rows)


def section(name: str, method: Method) -> str:
    """One method: a paragraph, its equations, its parts, how its training differs, its publications."""
    acting = {slot: getattr(method, slot) for slot in KINDS if not isinstance(getattr(method, slot), NEUTRAL)}
    pages = unique(page for part in acting.values() for page in pages_of(part))
    blocks = [
        f"### {method.label} (`{name}`)",
        " ".join(page.prose for page in pages),
        math(latex for page in pages for condition, latex in page.equations if holds(condition, method)),
        parts_table(acting),
        " ".join(training_notes(method)),
        "\n".join(f"- {source}" for source in unique(page.source for page in pages if page.source)),
    ]
    return "\n\n".join(block for block in blocks if block)


def parts_table(acting: Mapping[str, Part]) -> str:
    """A row for each part that acts: its kind, its settings with their symbols, its file."""
    rows = []
    for slot, part in acting.items():
        symbols = {name: f" {symbol}" for page in pages_of(part) for name, symbol in page.symbols}
        settings = part.model_dump(exclude={"kind"}).items()
        given = [f"{key}{symbols.get(key, '')}: {written(value)}" for key, value in settings if value is not None]
        file = f"pipeline/{type(part).__module__.replace('.', '/')}.py"
        rows.append([spaced(slot), f"`{part.kind}`", ", ".join(given), f"[{Path(file).name}](../{file})"])
    return table(["part", "kind", "settings", "file"], rows)


def training_notes(method: Method) -> Iterator[str]:
    """Where a method's training differs from its suite's."""
    if method.starts_from:
        yield f"Training starts from the last weights of `{method.starts_from}`."
    for what, changes in (("recipe", method.recipe), ("averaging", method.averaging)):
        if changes:
            yield f"Its own {what}: {'; '.join(f'{key}: {written(value)}' for key, value in changes.items())}."


def weight_sets() -> str:
    """What docs/methods.md says about averages of weights."""
    page = page_of(Averaging)
    equations = math(latex for _, latex in page.equations)
    return "\n\n".join(["## Weight sets: EMA and FAWA", page.prose, equations, f"- {page.source}"])


def math(equations: Iterable[str]) -> str:
    """Equations below each other, as GitHub renders them; nothing if there are none."""
    lines = " \\\\\n".join(f"& {latex}" for latex in equations)
    return f"```math\n\\begin{{aligned}}\n{lines}\n\\end{{aligned}}\n```" if lines else ""


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def written(value: Any) -> str:
    """A setting as YAML writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def spaced(name: str) -> str:
    """A name of params.yaml in words."""
    return name.replace("_", " ")


def unique(items: Iterable[Any]) -> list[Any]:
    """The items in their order, each once."""
    return list(dict.fromkeys(items))


if __name__ == "__main__":
    with whole_file(METHODS) as beside:
        beside.write_text(methods_document(load_study().methods))
