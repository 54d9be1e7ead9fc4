"""The contract with authors of plugins: hooks and public names are documented and tested, and plugins keep to them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import stabzoo
import stabzoo.testing
from fixtures import ROOT
from stabzoo import hookspecs
from stabzoo.testing import CHECKS

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "stabzoo_spec")]
PLUGINS = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]


def imported(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of all that a file imports, at its top or within functions; the name is empty for a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def test_there_is_a_hook() -> None:
    """The list is found, not empty by a slip."""
    assert HOOKS == ["stabzoo_discretizations", "stabzoo_branches", "stabzoo_evaluations"]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_documented_and_tested(hook: str) -> None:
    """It has a docstring and an annotation, stands in the tutorial, and tests implement it."""
    function = getattr(hookspecs, hook)
    assert inspect.getdoc(function)
    assert "return" in function.__annotations__
    assert f"`{hook}`" in TUTORIAL
    assert any(f"def {hook}" in path.read_text() for path in (ROOT / "tests").rglob("*.py"))


def test_public_names_are_documented() -> None:
    """Every one stands in the tutorial, and nothing else does as one."""
    section = TUTORIAL.partition("## What is public")[2]
    assert section
    ours, kit = section.split("From `stabzoo.testing`")
    named = set(re.findall(r"`(\w+)`", ours)) - {"stabzoo"}
    assert named == set(stabzoo._PUBLIC) | set(HOOKS)
    assert set(re.findall(r"`(\w+)`", kit)) == set(stabzoo.testing.__all__)


BUILDS_ON = {"stabzoo_lipschitz": "stabzoo_forward"}
"""A plugin whose layers stand in the network of another one, of the same distribution."""


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_and_examples_import_public_names_only(path: Path) -> None:
    """From `stabzoo` and `stabzoo.testing`, nothing below; and no other plugin but the one it builds on."""
    parts = path.relative_to(ROOT).parts
    package = next(part for part in parts[1:] if not part.startswith("stabzoo-"))
    for module, name in imported(path):
        top = module.split(".")[0]
        if module == "stabzoo":
            assert name == "" or name in stabzoo._PUBLIC, f"{name} is not public"
        elif module == "stabzoo.testing":
            assert parts[0] == "examples", "a plugin needs no tests to work"
            assert name in stabzoo.testing.__all__
        else:
            assert top != "stabzoo", f"{module} is not public"
            allowed = {package, BUILDS_ON.get(package)}
            assert not top.startswith("stabzoo_") or top in allowed, f"{path} imports another plugin, {module}"


def test_the_core_imports_no_plugin() -> None:
    """Not even by a name in a string: no module of the core speaks of one's package."""
    packages = [folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "__init__.py").is_file()]
    files = list((ROOT / "stabzoo").rglob("*.py"))
    assert len(packages) >= 5
    assert len(files) > 20
    for path in files:
        assert not {module for module, _ in imported(path) if module.startswith("stabzoo_")}, path
        strings = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
        }
        assert not strings & set(packages), path


def test_a_check_is_documented() -> None:
    """By one sentence at least, and its name says that it is one."""
    for check in CHECKS:
        assert check.name.startswith("check_")
        assert inspect.getdoc(check.function)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
