"""What makes a stage stale on the side of code: a hash of the syntax trees of exactly the modules it uses.

Comments, docstrings and formatting are dropped; DVC hashes data and numbers itself.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fairat.errors import UserError

FOLDERS = {"fairat": Path("pipeline"), "stages": Path()}
"""Where the project's packages lie, below the root of the repository."""

NOT_SCIENCE = frozenset(
    {
        "fairat.study",
        "fairat.console",
        "fairat.device",
        "fairat.errors",
        "fairat.files",
        "fairat.fingerprint",
        "fairat.methods.catalogue",
        "fairat.settings.architectures",
        "fairat.paths",
        "fairat.provenance",
        "fairat.settings.base",
        "fairat.tracking",
        "fairat.training.guard",
    }
)
"""Modules that cannot change a result: they name files, read settings (whose resolved values are hashed instead), report.

The catalogue is among them because a new line in it must not retrain the others; the modules it names are hashed for the
methods that use them.
"""


def fingerprint(modules: Iterable[str], settings: Mapping[str, Any], root: Path = Path()) -> dict[str, Any]:
    """What a stage depends on besides its files: the hash of every module it uses, and its resolved settings."""
    return {
        "code": {name: _tree_hash(_file(name, root)) for name in sorted(closure(modules, root))},
        "settings": dict(settings),
    }


def digest(content: bytes) -> str:
    """What runs and evidence remember of a fingerprint."""
    return hashlib.sha256(content).hexdigest()[:16]


def recorded(path: Path) -> str:
    """The digest of a fingerprint that `stages.fingerprint` wrote.

    Raises:
        UserError: it is not there.
    """
    try:
        return digest(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"There is no {path}. Write it with `python -m stages.fingerprint`, as `dvc repro` does."
        ) from None


def closure(modules: Iterable[str], root: Path = Path()) -> set[str]:
    """The modules and everything of the project that they import, wherever the import stands; without `NOT_SCIENCE`."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or any(name == left_out or name.startswith(left_out + ".") for left_out in NOT_SCIENCE):
            continue
        found.add(name)
        waiting += _imports(_file(name, root), root)
    return found


def _file(module: str, root: Path) -> Path:
    parts = module.split(".")
    path = root.joinpath(FOLDERS[parts[0]], *parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str, root: Path) -> bool:
    return name.split(".")[0] in FOLDERS and _file(name, root).is_file()


@cache
def _imports(path: Path, root: Path) -> tuple[str, ...]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import name` may mean a module of the package or something inside its __init__.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(name for name in names if _is_module(name, root))


@cache
def _tree_hash(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A bare string at the head of a body is its docstring; elsewhere it is a comment in disguise.
            node.body = [
                line
                for line in node.body
                if not (
                    isinstance(line, ast.Expr)
                    and isinstance(line.value, ast.Constant)
                    and isinstance(line.value.value, str)
                )
            ]
    return digest(ast.dump(tree).encode())
