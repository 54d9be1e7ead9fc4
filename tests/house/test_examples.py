"""The examples are what ``stabzoo new-plugin`` writes, and are the methods that they are named after."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import stabzoo
from fixtures import ROOT
from fixtures.commands import Run
from stabzoo.testing.steps import TIGHT, check_computes

EXAMPLES = ROOT / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir())


@pytest.fixture(autouse=True)
def imported_for_one_test() -> Iterator[None]:
    """Others may give a plugin of theirs the name of an example."""
    before = set(sys.modules)
    yield
    for module in set(sys.modules) - before:
        if module.partition(".")[0] in {name.replace("-", "_") for name in NAMES}:
            del sys.modules[module]


def test_there_is_one_of_each_kind() -> None:
    """Explicit, implicit, a block of its own, and an evaluation with a study."""
    assert NAMES == ["stabzoo-bdf2", "stabzoo-dropped-pixels", "stabzoo-heun", "stabzoo-leapfrog"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_what_the_command_in_its_readme_writes(run: Run, tmp_path: Path, name: str) -> None:
    """File by file, to the letter."""
    readme = (EXAMPLES / name / "README.md").read_text()
    words = shlex.split(readme.partition("Written by `")[2].partition("`")[0])
    assert words[:2] == ["stabzoo", "new-plugin"]
    assert run(shlex.join([*words[1:], "--folder", str(tmp_path)])).status == 0
    made = {p.relative_to(tmp_path): p.read_text() for p in tmp_path.rglob("*") if p.is_file()}
    kept = {
        p.relative_to(EXAMPLES): p.read_text()
        for p in (EXAMPLES / name).rglob("*")
        if p.is_file() and not {"__pycache__", ".pytest_cache", "build", "dist"} & set(p.parts)
    }
    assert made == kept, "write it anew with the command"


def test_the_tests_of_an_example_are_short() -> None:
    """Five lines of code, that is all."""
    for name in NAMES:
        (file,) = (EXAMPLES / name / "tests").glob("*.py")
        code = [line for line in file.read_text().splitlines() if line.strip() and '"""' not in line]
        assert len(code) <= 5


@pytest.mark.parametrize(
    ("name", "order", "status", "formula"),
    [
        ("bdf2", 2, "strong", "y[n+1] = 4/3 y[n] - 1/3 y[n-1] + 2/3 h f[n+1]"),
        ("heun", 2, "strong", "y[n+1] = y[n] + h (1/2 k1 + 1/2 k2), k1 = f(y[n]), k2 = f(y[n] + h k1)"),
        ("leapfrog", 2, "weak", "y[n+1] = y[n-1] + 2 h f[n]"),
    ],
)
def test_an_example_is_the_method_it_is_named_after(
    monkeypatch: pytest.MonkeyPatch, name: str, order: int, status: str, formula: str
) -> None:
    """Order and stability, exactly; Heun's step is what it states, and its card is that of a Runge-Kutta method."""
    monkeypatch.syspath_prepend(str(EXAMPLES / f"stabzoo-{name}"))
    (scheme,) = importlib.import_module(f"stabzoo_{name}").stabzoo_discretizations()
    card = stabzoo.card(scheme())
    assert (card.order, card.status, str(card.method)) == (order, status, formula)
    if name == "heun":
        assert (card.method.kind, card.stability_function) == ("Runge-Kutta", "1 + z + 1/2 z^2")
    check_computes(scheme() if name != "bdf2" else scheme(solver=TIGHT))


@pytest.mark.parametrize(("form", "bottleneck", "norm"), [("cifar", True, "batch"), ("imagenet", False, "none")])
def test_a_step_that_reuses_f_fits_every_form(
    monkeypatch: pytest.MonkeyPatch, form: str, bottleneck: bool, norm: str
) -> None:
    """Where the feature maps change shape f(y) is no state: there the step is Euler's, elsewhere the scheme's."""
    monkeypatch.syspath_prepend(str(EXAMPLES / "stabzoo-heun"))
    (heun,) = importlib.import_module("stabzoo_heun").stabzoo_discretizations()
    stages = 3 if form == "cifar" else 4
    network = heun.network()(heun(), (2,) * stages, form=form, bottleneck=bottleneck, norm=norm, width=4).eval()
    kinds = [type(block.step).__name__ for block in network.blocks()]
    first = "MultistepStep" if bottleneck else "HeunStep"  # a bottleneck's first block has four times the channels
    assert kinds == [first, "HeunStep"] + ["MultistepStep", "HeunStep"] * (stages - 1)
    with torch.no_grad():
        assert torch.isfinite(network(torch.randn(2, 3, 32, 32))).all()
