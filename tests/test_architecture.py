"""Imports run downward only: the layers of the house, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cellnet

PACKAGE = Path(cellnet.__file__).parent
# Lowest first. A room may import rooms before it, and itself.
ORDER = [
    "_version", "errors", "registry", "labels", "cards", "files", "tensors", "pages",
    "download", "images", "augment",
    "datasets", "balancing",
    "backbones", "losses", "models",
    "inference", "evaluation", "training",
    "hub", "experiments", "export", "serving", "testing",
    "cli", "__main__",
]  # fmt: skip
FORBIDDEN = {("balancing", "models")}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[str]:
    """Rooms that a file imports at run time, anywhere in it; imports for type checkers do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_checkers = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if node in for_checkers:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules = [node.module or ""]
            if node.module == "cellnet":
                modules = [f"cellnet.{alias.name}" for alias in node.names if alias.name != "__version__"]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        yield from (m.split(".")[1] for m in modules if m.startswith("cellnet."))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_run_downward(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        assert list(imports_of(path)) == ["_version"]
        return
    room = room_of(path)
    for target in imports_of(path):
        assert ORDER.index(target) <= ORDER.index(room), f"{room} must not import {target}"
        assert (room, target) not in FORBIDDEN


def test_every_room_has_a_place() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms <= set(ORDER)


def test_imports_by_name_stand_in_one_place() -> None:
    """A string given to import_module escapes the test above: only these two may."""
    users = {path.relative_to(PACKAGE).as_posix() for path in FILES if "import_module" in path.read_text("utf-8")}
    assert users == {"__init__.py", "models/verbs.py"}
