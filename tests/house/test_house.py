"""The house rules: one list of public names, one list of plugins, a README that is true; for imports see test_meta.py."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import stabzoo
from fixtures import ROOT
from fixtures.pages.schemes import schemes_markdown
from stabzoo.registry.catalogue import catalogue

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    tomllib = pytest.importorskip("tomli")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()


def test_the_public_names_exist_and_are_listed_once() -> None:
    """`stabzoo.__all__`, the lazy table, and what it promises."""
    assert set(stabzoo._PUBLIC) <= set(stabzoo.__all__)
    for name in stabzoo._PUBLIC:
        assert getattr(stabzoo, name).__doc__ or name in ("Rational", "hookimpl"), name
    promised = """LinearMultistep ExplicitMultistep Discretization hookimpl card is_zero_stable verify_certificate sweep get_scheme
        list_schemes list_models checkpoint_filter_fn refresh"""
    assert set(promised.split()) <= set(stabzoo._PUBLIC)


def test_one_list_of_plugins() -> None:
    """Folders, wheel packages, entry points and sections of registry.yaml agree."""
    folders = {p.name for p in (ROOT / "plugins").iterdir() if (p / "__init__.py").is_file()}
    points = PROJECT["project"]["entry-points"]["stabzoo"]
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert folders == set(points.values()) == {Path(p).name for p in packages} - {"stabzoo"}
    assert set(points) == set(yaml.safe_load((ROOT / "registry.yaml").read_text()))
    assert PROJECT["project"]["version"] == stabzoo.__version__


def test_every_module_is_imported_without_a_warning() -> None:
    """In a process of its own, where nothing has been imported before."""
    code = """if True:
        import importlib, pkgutil, sys, warnings
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="matplotlib|pyparsing")  # as pyproject.toml does
        for package in sys.argv[1:]:
            for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
                if not module.name.endswith("__main__"):
                    importlib.import_module(module.name)
    """
    packages = ["stabzoo", *PROJECT["project"]["entry-points"]["stabzoo"].values()]
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, *packages], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_quick_part_names_tests_that_exist() -> None:
    """`tests/quick.txt`, which is run with other versions of Python and of the dependencies."""
    lines = [line for line in (ROOT / "tests" / "quick.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))
    for line in lines:
        file, _, test = line.partition("::")
        assert f"def {test.partition('[')[0]}" in (ROOT / file).read_text(), line
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert folders == {line.split("/")[1] for line in lines}  # every subject at least once


def modules_with_examples() -> list[str]:
    """Modules of stabzoo and its plugins whose docstrings have examples."""
    packages = ["stabzoo", *PROJECT["project"]["entry-points"]["stabzoo"].values()]
    names = [m.name for p in packages for m in pkgutil.walk_packages([str(top(p) / p)], f"{p}.")]
    return [n for n in [*packages, *names] if ">>>" in source(n)]


def top(name: str) -> Path:
    """The folder that a module of the checkout is imported from."""
    return ROOT / "plugins" if name.startswith("stabzoo_") else ROOT


def source(name: str) -> str:
    """The text of a module of the checkout."""
    path = top(name) / Path(*name.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


@pytest.mark.parametrize("name", modules_with_examples())
def test_docstring_examples_run(name: str) -> None:
    """Every example gives what it shows, and none stands where it would not be run."""
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted == len(re.findall(r"^ *>>> ", source(name), flags=re.M))
    assert result.failed == 0


def block(language: str, containing: str) -> str:
    """The README's code block of a language that contains a text."""
    found = [b for b in re.findall(rf"```{language}\n(.*?)```", README, flags=re.S) if containing in b]
    assert len(found) == 1, f"{len(found)} {language} blocks contain {containing!r}"
    return found[0]


def test_the_readmes_plugin_works(install: Callable[..., Path]) -> None:
    """The five-line example, as printed, is listed and proved."""
    install(code=block("python", "class Leapfrog"), registry=block("yaml", "leapfrog20"))
    assert stabzoo.card(stabzoo.get_scheme("leapfrog")).status == "weak"
    assert catalogue().models["leapfrog20"][1].depth == 20


def test_the_readme_counts_the_models() -> None:
    """As `stabzoo list` does."""
    assert f" {len(stabzoo.list_models())} models in CIFAR and ImageNet form" in README


def test_the_table_of_schemes_is_the_generated_one() -> None:
    """Print `fixtures.pages.schemes.schemes_markdown()` between the markers."""
    page = (ROOT / "docs" / "schemes.md").read_text()
    written = re.search(r"<!-- schemes -->\n(.*?)\n<!-- /schemes -->", page, flags=re.S)
    assert written
    assert written[1].strip() == schemes_markdown().strip()
