"""The plan of the house, read from the imports: a room imports only from rooms above it."""

import ast
import re
from pathlib import Path

import fairat
import pytest

ROOT = Path("pipeline/fairat")
ROOMS = fairat.ROOMS
OF_PERSONS = {"console", "tools"}
"""Rooms that speak with a person: they alone may name a command of DVC."""


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The rooms that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "fairat":
            names = [f"fairat.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("fairat.")}
    return found


FILES = [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def test_every_room_has_its_place_and_every_place_a_room() -> None:
    assert {room_of(path) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_from_rooms_above_its_own(path: Path) -> None:
    room = room_of(path)
    above = {*ROOMS[: ROOMS.index(room) + 1]}
    assert imports_of(path) <= above, f"{path} imports {sorted(imports_of(path) - above)} from below"


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) not in OF_PERSONS], ids=str)
def test_a_library_room_names_no_command_of_dvc(path: Path) -> None:
    assert re.findall(r"dvc (?:repro|gc|exp|commit|metrics)|python -m stages", path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", [*FILES, *sorted(Path("stages").glob("*.py"))], ids=str)
def test_a_file_is_read_and_written_as_utf8(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr in ("read_text", "write_text") or (node.func.attr == "open" and _is_text(node)):
            assert any(word.arg == "encoding" for word in node.keywords), f"{path}:{node.lineno}"


def _is_text(call: ast.Call) -> bool:
    """Whether a call of `path.open` opens text; those of images and archives are others."""
    assert isinstance(call.func, ast.Attribute)
    if isinstance(call.func.value, ast.Name) and call.func.value.id in ("Image", "os", "tarfile", "archive"):
        return False
    return not (call.args and isinstance(call.args[0], ast.Constant) and "b" in str(call.args[0].value))
