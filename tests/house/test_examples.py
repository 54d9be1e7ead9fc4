"""The examples are what ``stabzoo new-plugin`` writes, and are the methods that they are named after."""

from __future__ import annotations

import importlib
import math
import shlex
from pathlib import Path

import pytest
import torch

import stabzoo
from fixtures import ROOT
from fixtures.commands import Run
from stabzoo.testing.steps import LinearField

EXAMPLES = ROOT / "examples"
NAMES = sorted(folder.name for folder in EXAMPLES.iterdir())


def test_there_is_one_of_each_kind() -> None:
    """Explicit, implicit, and a block of its own."""
    assert NAMES == ["stabzoo-bdf2", "stabzoo-heun", "stabzoo-leapfrog"]


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
    ("name", "order", "status"), [("bdf2", 2, "strong"), ("heun", 1, "strong"), ("leapfrog", 2, "weak")]
)
def test_an_example_is_the_method_it_is_named_after(
    monkeypatch: pytest.MonkeyPatch, name: str, order: int, status: str
) -> None:
    """Order and stability, exactly; Heun's step has order 2, one more than is proved of its coefficients."""
    monkeypatch.syspath_prepend(str(EXAMPLES / f"stabzoo-{name}"))
    (scheme,) = importlib.import_module(f"stabzoo_{name}").stabzoo_discretizations()
    card = stabzoo.card(scheme())
    assert (card.order, card.status) == (order, status)
    if name == "heun":
        errors = []
        for h in (0.1, 0.05):
            field = LinearField(h * torch.eye(1, dtype=torch.float64))
            y = torch.ones(1, 1, 1, 1, dtype=torch.float64)
            errors.append(abs(scheme().block(field)(y, [y])[0].item() - math.exp(h)))
        assert math.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.1)


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
