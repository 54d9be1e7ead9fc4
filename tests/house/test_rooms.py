"""The layout of the house: what docs/design.md says of rooms and floors is so, and rooms said to be free of torch are."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    tomllib = pytest.importorskip("tomli")

PACKAGE = ROOT / "stabzoo"
LINTED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
FLOORS = [floor.split(" | ") for floor in LINTED["contracts"][0]["layers"]]
TORCH_FREE = [
    "methods", "errors", "terminal", "files", "stability", "designing", "discretization", "config", "families", "hookspecs", "metric", "registry",
    "scaffold", "schemes", "claims",
]  # fmt: skip
"""Rooms that import no torch, whichever of their modules is imported; functions that build blocks import it."""

SPECS = [
    "data.spec",
    "evaluation.spec",
    "evaluation.l2",
    "training.spec",
    "study.spec",
    "study.measures",
    "study.store.store",
    "cli.commands",
]
"""Modules in other rooms that import none either."""

MOST_FILES = 12


def purpose(room: str) -> str:
    """The first sentence of its docstring, on one line."""
    path = PACKAGE / room / "__init__.py" if (PACKAGE / room).is_dir() else PACKAGE / f"{room}.py"
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def rooms_markdown() -> str:
    """The table of docs/design.md, the top floor first."""
    lines = ["| floor | room | what it is | imports torch |", "|---|---|---|---|"]
    for i, floor in enumerate(FLOORS):
        for room in floor:
            name = f"`{room}/`" if (PACKAGE / room).is_dir() else f"`{room}.py`"
            torch = "no" if room in TORCH_FREE else "yes"
            lines.append(f"| {len(FLOORS) - i} | {name} | {purpose(room)} | {torch} |")
    return "\n".join(lines)


def test_the_table_of_rooms_is_the_generated_one() -> None:
    """Floors are those that lint-imports checks, sentences those of the docstrings: print(rooms_markdown())."""
    page = (ROOT / "docs" / "design.md").read_text()
    written = page.partition("<!-- rooms -->\n")[2].partition("\n<!-- /rooms -->")[0]
    assert written == rooms_markdown()


def test_every_room_is_on_a_floor() -> None:
    """No more than nine floors; every room says in one sentence what it is for."""
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    placed = [room for floor in FLOORS for room in floor]
    assert sorted(placed) == sorted(rooms - {"__init__", "__main__"})
    assert len(FLOORS) <= 9
    for folder in PACKAGE.rglob("__init__.py"):
        room = str(folder.parent.relative_to(PACKAGE))
        assert purpose(room).endswith("."), room


@pytest.mark.parametrize("top", ["stabzoo", "plugins", "tests"])
def test_no_room_is_crowded(top: str) -> None:
    """A folder has at most twelve modules of one level, so that they can be named."""
    for folder in {path.parent for path in (ROOT / top).rglob("*.py")}:
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_FILES, f"{folder}: {len(modules)} modules"


def test_rooms_without_torch() -> None:
    """A fresh interpreter imports every module of them, and neither torch nor timm."""
    names = [f"stabzoo.{name}" for name in SPECS]
    for room in TORCH_FREE:
        files = (PACKAGE / room).rglob("*.py") if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]
        names += [module(path) for path in files]
    code = (
        "import importlib, sys\n"
        f"for name in {sorted(names)}:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'timm', 'torchvision'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def module(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TEXTS = [
    *(path for top in ("stabzoo", "plugins", "docs", "benchmarks", "tests") for path in (ROOT / top).rglob("*.*")),
    *ROOT.glob("*.md"),
]
FILE = re.compile(r"\b(?:stabzoo|plugins|tests|benchmarks|docs|examples)/[\w/-]+\.(?:py|md|yaml|json|toml)\b")


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_what_is_spoken_of_is_there() -> None:
    """Docstrings and pages name modules, functions and files of the checkout that exist: a move changes them too."""
    names: dict[str, Path] = {}
    for path in TEXTS:
        if path.suffix in (".py", ".md", ".j2", ".yaml") and "golden" not in path.parts:
            text = path.read_text(encoding="utf-8")
            names |= dict.fromkeys(re.findall(r"`(stabzoo(?:_[a-z]+)?(?:\.\w+)+)`", text), path)
            missing = [file for file in FILE.findall(text) if not (ROOT / file).exists()]
            assert not missing, f"{path} speaks of {missing}"
    assert len(names) > 20
    for name, path in names.items():
        assert exists(name), f"{path} speaks of {name}"
