"""What makes a stage stale on the side of code: a hash of the syntax trees of exactly the code that it uses.

A fingerprint starts at the stage's own module and at the classes and functions that a run names: the parts of its method,
the builder of its network, its evaluation. From there it follows imports. It does not follow a catalog, which offers what a
run chooses from: a dict of names in the `__init__` of a package, such as `KINDS`, or a union told apart by its `kind`, such as
`Architecture`. Neither the catalog counts nor the imports and classes that stand beside it for its sake alone, so a new entry
changes nothing; the entries that a run chooses are where its fingerprint starts.

Comments, docstrings and formatting are dropped; DVC hashes data and numbers itself.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fairat
from fairat.errors import Hint, UserError

FOLDERS = {"fairat": Path("pipeline"), "stages": Path()}
"""Where the project's packages lie, below the root of the repository."""

COMPUTING = fairat.ROOMS[fairat.ROOMS.index("seeds") : fairat.ROOMS.index("study")]
"""The rooms that make results, to which imports are followed.

Those before them name files and describe errors. Those after them read params.yaml, whose resolved values are hashed instead,
and talk to people; nothing that computes can import them. A room in which a fingerprint starts counts too.
"""


def fingerprint(starts: Iterable[str], settings: Mapping[str, Any], root: Path = Path()) -> dict[str, Any]:
    """What a stage depends on besides its files: where it starts, the hash of every module it uses, its resolved settings.

    Args:
        starts: dotted names of modules, and of classes and functions at their top level.
        settings: resolved.
        root: of the repository.
    """
    return {"starts": sorted(set(starts)), "code": closure(starts, root), "settings": dict(settings)}


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
        raise UserError(f"There is no {path}: the stage `fingerprint` writes it.", Hint.MAKE) from None


def closure(starts: Iterable[str], root: Path = Path()) -> dict[str, str]:
    """The hash of every module that is used, of as much of it as is used."""
    chosen: dict[str, set[str]] = {}
    for start in starts:
        module, name = (start, "") if _is_module(start, root) else start.rsplit(".", 1)
        chosen.setdefault(module, set()).add(name)
    rooms = {*COMPUTING, *map(_room, chosen)}
    found: dict[str, str] = {}
    waiting = list(chosen)
    while waiting:
        module = waiting.pop()
        if module not in found and _room(module) in rooms:
            found[module], imported = _used(module, root, frozenset(chosen.get(module, ())))
            waiting += imported
    return found


def _room(module: str) -> str:
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "fairat" else first


def _file(module: str, root: Path) -> Path:
    parts = module.split(".")
    path = root.joinpath(FOLDERS[parts[0]], *parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_module(name: str, root: Path) -> bool:
    return name.split(".")[0] in FOLDERS and _file(name, root).is_file()


@cache
def _used(module: str, root: Path, chosen: frozenset[str]) -> tuple[str, set[str]]:
    """The hash of a module and the modules that it imports, all without its catalogs but for the chosen entries."""
    path = _file(module, root)
    tree = _WithoutText().visit(ast.parse(path.read_text(encoding="utf-8")))
    catalogs = [node for node in tree.body if is_catalog(node, package=path.name == "__init__.py")]
    aside = _names(catalogs) - chosen
    body = [node for node in tree.body if node not in catalogs]
    # What is used beside the catalog counts, such as a class that is also the base of another entry.
    while aside and (used := aside & _names(node for node in body if getattr(node, "name", None) not in aside)):
        aside -= used
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) not in aside]
    tree.body = [node for node in body if getattr(node, "name", None) not in aside and getattr(node, "names", True)]
    return digest(ast.dump(tree).encode()), {name for name in _imports(tree) if _is_module(name, root)}


class _WithoutText(ast.NodeTransformer):
    """Drops bare strings: docstrings, and comments in disguise."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node


def is_catalog(node: ast.stmt, *, package: bool) -> bool:
    """Whether a statement at the top of a module, of a package's `__init__` or another, is a catalog."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if isinstance(value, ast.Dict):
        return package and _holds_names(value)
    return isinstance(value, ast.Subscript) and any(
        isinstance(part, ast.keyword) and part.arg == "discriminator" for part in ast.walk(value)
    )


def _holds_names(value: ast.expr | None) -> bool:
    """Whether a dict or tuple, however nested, has nothing but names for values."""
    match value:
        case ast.Dict(values=items) | ast.Tuple(elts=items):
            return all(map(_holds_names, items))
        case ast.Name() | ast.Attribute() | ast.Constant(value=None):
            return True
    return False


def _names(statements: Iterable[ast.AST]) -> set[str]:
    """What statements at the top of a module refer to; a local variable or argument of the same name is another thing."""
    names: set[str] = set()
    for statement in statements:
        parts = list(ast.walk(statement))
        local = {part.arg for part in parts if isinstance(part, ast.arg)}
        local |= {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        names |= {part.id for part in parts if isinstance(part, ast.Name)} - local
    return names


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import name` may mean a module of the package or something inside its __init__.
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
