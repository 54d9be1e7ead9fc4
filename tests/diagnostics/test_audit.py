"""The audit of a network: its learnt scheme, exactly, and its blocks as steps of Euler's method."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from fixtures.commands import Run
from fixtures.messages import says
from stabzoo.diagnostics.audit.euler import euler_steps
from stabzoo.diagnostics.audit.scheme import learnt_scheme
from stabzoo.methods.multistep import EULER
from stabzoo.networks.steps import LearnableStep
from stabzoo.stability import is_zero_stable, product_growth

pytestmark = pytest.mark.usefixtures("one_thread")


def network(name: str, **options: Any) -> Any:
    """Narrow, in evaluation mode."""
    torch.manual_seed(0)
    return timm.create_model(name, width=4, **options).eval()


def test_a_learnt_scheme_is_that_of_the_floats() -> None:
    """Coefficients and verdicts of the rational numbers stored, products through restarts as numpy multiplies them."""
    model = network("lmresnet20")
    steps = [block.step for block in model.blocks() if isinstance(block.step, LearnableStep)]
    for i, step in enumerate(steps):
        step.parameter.data.fill_(0.3 + 0.4 * i)  # from 0.3 to 2.3
    found = learnt_scheme(model)
    assert found is not None
    learnt = [block for block in found.blocks if block.numbers]
    assert [block.method.coefficients().alpha[0] for block in learnt] == [Fraction(s.parameter.item()) for s in steps]
    assert found.unstable == ("stages.2.blocks.2",)
    assert [block.card.status == "unstable" for block in learnt] == [not is_zero_stable(b.method) for b in learnt]
    assert [block.method for block in found.blocks if not block.numbers] == [EULER] * 3  # the start, and two restarts
    assert found.now.growth == product_growth(model.block_methods()) == model.stability_card()
    assert {b.initial for b in learnt} == {model.scheme.coefficients()}

    def companion(method: Any) -> np.ndarray:
        alpha = [float(a) for a in method.coefficients().alpha]
        return np.array([alpha + [0.0] * (2 - len(alpha)), [1.0, 0.0]])

    products = []
    for first in range(9):
        state = np.eye(2)
        for block in found.blocks[first:]:
            state = companion(block.method) @ state
            products.append(np.abs(state).sum(1).max())
    assert float(found.now.growth.norm) == pytest.approx(max(products))
    assert max(found.now.curve) == found.now.growth.norm
    assert found.stages()[0].growth.norm == 1  # k_n of 0.3 and 0.7: means


def test_networks_without_a_learnt_scheme() -> None:
    """One that trains nothing is read, too; of others there is none; a weight that is no number is named."""
    fixed = learnt_scheme(network("zerosnet20_opt"))
    assert fixed is not None
    assert not fixed.trains
    assert fixed.now.methods == fixed.at_start.methods
    midpoint = learnt_scheme(network("rk2_resnet20"))
    assert midpoint is not None
    assert midpoint.blocks[-1].method == midpoint.blocks[-1].initial != EULER
    assert learnt_scheme(timm.create_model("resnet10t")) is None
    broken = network("lmresnet20")
    broken.blocks()[1].step.parameter.data.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"stages\.0\.blocks\.1.*nan"):
        learnt_scheme(broken)


class Linear(nn.Module):
    """A residual block y + M y, in one pixel."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        self.conv.weight.data = matrix[:, :, None, None]

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """(B, 2, H, W), the same."""
        return y + self.conv(y)


def test_the_reading_of_a_linear_block() -> None:
    """Gain of the state, and a slope that power iteration brings to the norm of M; unknown blocks prove nothing."""
    matrix = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    model = nn.Sequential(Linear(matrix), Linear(torch.zeros(2, 2))).eval()
    x = torch.zeros(3, 2, 2, 2)
    x[:, 1] = 1.0
    first, second = euler_steps(model, x, 0.01 * x)
    assert first.reading == "difference"
    assert first.gain is not None
    assert first.steepest is not None
    assert first.lipschitz is not None
    assert first.gain.median.value == pytest.approx(0.5)
    assert first.steepest.value == pytest.approx(3, rel=1e-6)  # of a direction that no image has
    assert first.lipschitz.value == float("inf")
    assert "nothing is known" in first.lipschitz.note
    assert second.steepest is not None
    assert second.steepest.value == 0


@pytest.mark.parametrize("name", ["zerosnet20_tra", "implicit_resnet20", "resnet10t", "test_vit"])
def test_what_is_certified_is_above_what_is_found(name: str) -> None:
    """Of networks of this package and of timm; flags and weights are as before."""
    ours = "resnet20" in name or "zerosnet" in name
    model = network(name) if ours else timm.create_model(name).train()
    before, training = {k: v.clone() for k, v in model.state_dict().items()}, model.training
    pixels = 8 if ours else 160 if name == "test_vit" else 32
    x = torch.randn(2, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    steps = euler_steps(model, x, 0.1 * x)
    read = [step for step in steps if step.steepest]
    assert len(read) >= len(steps) - 1
    for step in read:
        assert step.steepest is not None
        assert step.lipschitz is not None
        assert step.steepest.value <= step.lipschitz.value
    if ours:
        assert all(step.reading == "branch" and step.lipschitz.value < 100 for step in read if step.lipschitz)
    assert model.training == training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_command(run: Run, tmp_path: Path) -> None:
    """Of a training's folder: terminal, JSON and page; the history has the same numbers."""
    folder = tmp_path / "run"
    common = "--size 8 --arg width=4 --set batch_size=512 --set epochs=1 --threads 1"
    assert run(f"train zerosnet20_tra {common} --folder {folder}").status == 0
    header, row = (line.split(",") for line in (folder / "history.csv").read_text().split())
    noted = dict(zip(header, row, strict=True))
    result = run(f"audit {folder} --images 8 --folder {tmp_path / 'report'}")
    assert (result.status, result.err) == (0, "")
    says(result.out, "zero-stable by itself", "The learnt scheme", "All blocks together", "step of Euler", "audit.html")
    found = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert float(noted["largest_product"]) == found["scheme"]["now"]["growth"]["approximately"]
    assert noted["unstable_blocks"] == "0"
    assert found["scheme"]["at_start"]["growth"]["norm"] == "3"  # |3/2| + |-1| + |1/2|
    assert found["checkpoint"] == str(folder)
    page = (tmp_path / "report" / "audit.html").read_text()
    assert page.count("data:image/png") == 3
    assert "history.csv" not in page


def test_a_diverged_network_keeps_its_coefficients() -> None:
    """What answers nothing is not measured; its coefficients are read, or what is wrong with them is said."""
    from stabzoo.data.labelled import load_labelled_images
    from stabzoo.data.spec import DIGITS
    from stabzoo.diagnostics.audit.audit import audit

    model = network("lmresnet20", in_chans=1)
    model.head.fc.weight.data.fill_(float("nan"))
    found = audit(model, load_labelled_images(DIGITS, Path("data"), 8), name="dead")
    assert found.failure is not None
    assert found.scheme is not None
    assert found.steps == ()
    assert json.dumps(found.to_dict(), allow_nan=False)
