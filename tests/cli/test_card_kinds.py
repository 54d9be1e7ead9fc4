"""The commands say what kind of method a block computes, and what is not decided of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import Run
from fixtures.messages import refuses, says

Install = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("only_guests_are_tried")

HEUN = """
    from stabzoo import ExplicitRungeKutta, ExplicitMultistep, hookimpl

    class Heun(ExplicitRungeKutta):
        name = "heun_rk"
        a, b = ((), (1,)), ("1/2", "1/2")

    class Own(ExplicitMultistep):
        name = "own"
        alpha, beta = (1,), (1,)

        def block(self, f): ...

    @hookimpl
    def stabzoo_discretizations():
        return [Heun, Own]
"""
REGISTRY = """
    kinds:
      schemes:
        heun_rk: {order: 2, stability: strong, a_stable: false}
        own: {order: not decided, stability: strong}
"""


def row(out: str, label: str) -> str:
    """The text of one row of a card."""
    (line,) = [line for line in out.splitlines() if line.startswith(f"{label}  ")]
    return line.removeprefix(label).strip()


def test_show_of_a_one_leg_scheme(run: Run) -> None:
    """Kind, formula, and the multistep method's stability."""
    out = run("show theta --set one_leg=true").out
    assert "\n  y[n+1] = y[n] + h f(1/2 y[n+1] + 1/2 y[n])\n" in out
    assert [row(out, label) for label in ("kind", "order", "A-stable")] == ["one-leg", "2", "yes"]
    says(row(out, "error constant"), "no multiple of y^(3)")


def test_show_of_a_truncated_solve(run: Run) -> None:
    """The settings of the solver are JSON; what comes of them is no A-stable method."""
    out = run("""show backward_euler --set 'solver={"fixed_iterations": 1}'""").out
    assert "\n  y[n+1] = y[n] + h f[n+1], 1 fixed-point iteration from y[n]\n" in out
    found = [row(out, label) for label in ("kind", "A-stable", "L-stable", "stability function", "SSP coefficient")]
    assert found == ["truncated solve", "no", "no", "R(z) = 1 + z", "not decided"]
    refuses(run("""show theta --set 'solver={"fixed_iterations": 1'"""), "--set solver=", "JSON object", "rtol")


def test_kinds_in_every_command(run: Run, install: Install, tmp_path: Path) -> None:
    """A Runge-Kutta method has an order and R(z); a step that nobody has stated has neither, in words and in JSON."""
    install("kinds", HEUN, REGISTRY)
    out = run("show heun_rk").out
    assert "\n  y[n+1] = y[n] + h (1/2 k1 + 1/2 k2), k1 = f(y[n]), k2 = f(y[n] + h k1)\n" in out
    assert [row(out, label) for label in ("kind", "order", "stability function")] == [
        "Runge-Kutta", "2", "R(z) = 1 + z + 1/2 z^2",
    ]  # fmt: skip
    out = run("show own").out
    undecided = ("order", "convergent", "error constant", "real interval", "imaginary interval", "A-stable", "L-stable",
                 "stability function", "SSP coefficient")  # fmt: skip
    assert {row(out, label) for label in undecided} == {"not decided"}
    says(row(out, "zero stability"), "strong", "of the stated coefficients", "own step")
    assert "registry.yaml" not in out
    shown = json.loads(run("show own --json").out)
    assert (shown["card"]["kind"], shown["card"]["order"], shown["formula"]) == (
        "own step", "not decided", shown["card"]["formula"],
    )  # fmt: skip
    listed = {entry["name"]: entry for entry in json.loads(run("list --json own heun_rk").out)["schemes"]}
    assert (listed["own"]["order"], listed["own"]["is_A_stable"]) == ("not decided", "not decided")
    assert (listed["heun_rk"]["kind"], listed["heun_rk"]["order"]) == ("Runge-Kutta", 2)
    assert "not decided" in run("list own").out
    checked = run("check")
    assert checked.status == 0
    assert "order not decided, strong" in checked.out
    for name in ("own", "heun_rk"):
        plot = tmp_path / f"{name}.png"
        assert run(f"show {name} --plot {plot}").status == 0
        assert plot.stat().st_size > 10_000


@pytest.mark.parametrize("name", ["resnet_d", "stable_resnet_d18"])
def test_show_of_a_splitting(run: Run, name: str) -> None:
    """The projection is in the formula, and in what is not decided."""
    out = run(f"show {name}").out
    assert "\n  y[n+1] = max(0, y[n] + h f[n])\n" in out
    assert [row(out, label) for label in ("kind", "order", "A-stable")] == ["splitting", "1", "not decided"]
