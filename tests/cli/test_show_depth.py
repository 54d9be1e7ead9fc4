"""The effective depth where cards are shown: of a model's own blocks, else of 27."""

from __future__ import annotations

import json
import shlex

import pytest
import timm

from fixtures.commands import Run
from stabzoo.methods.multistep import EULER
from stabzoo.stability import effective_depth


@pytest.mark.parametrize("line", ["analyze --alpha 1 --beta 1", "show euler"])
def test_of_27_blocks_where_no_network_is_named(run: Run, line: str) -> None:
    """As text to five digits, and exactly."""
    found = effective_depth([EULER] * 27).to_dict()
    assert json.loads(run(f"{line} --json").out)["effective_depth"] == found
    (row,) = [text for text in run(line).out.splitlines() if text.startswith("effective depth")]
    assert shlex.split(row)[2:6] == ["105.07", "of", "27", "blocks:"]


@pytest.mark.parametrize("name", ["zerosnet20_opt", "lmresnet20_shared"])
def test_of_a_models_own_blocks(run: Run, name: str) -> None:
    """Its Euler starts and restarts included."""
    methods = [block.step.coefficients() for block in timm.create_model(name, device="meta").blocks()]
    assert json.loads(run(f"show {name} --json").out)["effective_depth"] == effective_depth(methods).to_dict()


@pytest.mark.parametrize("name", ["hamiltonian20", "stable_resnet_s11_cert", "implicit_resnet20", "fractional"])
def test_not_decided(run: Run, name: str) -> None:
    """Of what is no explicit multistep, Runge-Kutta or general linear method, or states nothing."""
    assert json.loads(run(f"show {name} --json").out)["effective_depth"] == "not decided"


def test_runge_kutta_networks_count_their_stages(run: Run) -> None:
    """Euler's blocks stand where shapes change, one evaluation each."""
    found = json.loads(run("show rk2_resnet20 --json").out)["effective_depth"]
    assert found["blocks"] == 9
    assert found["forward"]["participation"] == "9"
