"""Docstrings are laid out as the site reads them: an exception per line of Raises, the lines that follow it indented."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fixtures import ROOT

MODULES = [path for top in ("stabzoo", "plugins") for path in sorted((ROOT / top).rglob("*.py"))]


def misplaced(docstring: str) -> list[str]:
    """Lines of Raises that the site would take for the name of an exception, or that hold two."""
    section = re.search(r"^Raises:\n((?: {4}.*\n?|\n)+)", docstring, flags=re.M)
    lines = section[1].splitlines() if section else []
    starts = re.compile(r" {4}[\w.]+: ")
    return [
        line for line in lines if re.search(r"\. \w+Error: ", line) or (line[4:5].strip() and not starts.match(line))
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_raised_is_listed_line_by_line(path: Path) -> None:
    """Of modules, classes and functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            assert misplaced(ast.get_docstring(node) or "") == []


def test_a_misplaced_line_is_found() -> None:
    """Two in a line, and a second line that is not indented."""
    assert misplaced("Do.\n\nRaises:\n    ValueError: here,\n        or there.\n    OSError: not.\n") == []
    assert (
        len(misplaced("Do.\n\nRaises:\n    ValueError: here, or\n    there.\n    OSError: no. KeyError: yes.\n")) == 2
    )
