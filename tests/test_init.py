"""The root package: lazy, complete, and quick to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cellnet


def test_import_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "timm", "PIL", "rich")
    code = f"import sys, cellnet; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_loading_a_model_imports_nothing_that_only_training_and_judging_need() -> None:
    unneeded = ("sklearn", "imblearn", "matplotlib", "accelerate", "scipy.stats", "scipy.cluster")
    code = f"import sys, cellnet.hub; print([m for m in {unneeded} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_resolves_and_is_listed() -> None:
    for name in cellnet.__all__:
        assert getattr(cellnet, name) is not None
    assert set(cellnet.__all__) <= set(dir(cellnet))


def test_type_checkers_and_the_interpreter_see_the_same_names() -> None:
    tree = ast.parse(Path(cellnet.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: statement.module.removeprefix("cellnet.")
        for statement in block.body
        if isinstance(statement, ast.ImportFrom) and statement.module
        for alias in statement.names
    }
    assert seen == cellnet._HOME
    assert set(cellnet.__all__) == {*seen, "__version__"}


def test_parts_need_no_import_of_their_own() -> None:
    code = "import cellnet; cellnet.hub.record, cellnet.experiments.load_protocol, cellnet.inference.familiar_up_to"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(dir(cellnet)) >= cellnet._PARTS


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'load_modle'"):
        _ = cellnet.load_modle  # type: ignore[attr-defined]
