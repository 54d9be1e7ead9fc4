"""Blocks compute the methods that their schemes state: nonlinear f, float64, evaluation and training mode."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fixtures.messages import raises
from stabzoo import ExplicitMultistep, ExplicitRungeKutta, ImplicitMultistep, RungeKutta, card, get_scheme
from stabzoo.methods import StabilityFunction, method_of
from stabzoo.networks.past import returned
from stabzoo.networks.steps import RungeKuttaStep
from stabzoo.testing.checks import NotApplicable
from stabzoo.testing.steps import TIGHT, CurvedRotation, Reference, check_computes, states


class AM2(ImplicitMultistep):
    """Two-step Adams-Moulton."""

    name = "am2"
    alpha, beta, beta_next = (1, 0), ("2/3", "-1/12"), "5/12"


class Scaled(ImplicitMultistep):
    """Betas that sum to 3/2: the one-leg form divides by the sum."""

    name = "scaled"
    alpha, beta, beta_next = ("1/2", "1/2"), ("1/2", "1/4"), "3/4"


class Kutta(ExplicitRungeKutta):
    """Kutta's third-order method."""

    name = "kutta"
    a, b = ((), ("1/2",), (-1, 2)), ("1/6", "2/3", "1/6")


SCHEMES = [
    scheme(solver=TIGHT.model_copy(update={"fixed_iterations": iterations}), one_leg=one_leg)
    for scheme in (AM2, Scaled)
    for iterations in (None, 1, 2, 3)
    for one_leg in (False, True)
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: f"{s.name}-{s.solver.fixed_iterations}-{s.one_leg}")
def test_implicit_blocks(scheme: Any, training: bool) -> None:
    """Solved and truncated, multistep and one-leg, in both modes."""
    field = CurvedRotation(0.1)
    block = scheme.block(field).double().train(training)
    past = states(2)
    with torch.no_grad():
        new = returned(block(past[0].clone(), [*past, field(past[1])]))[0]
    assert new == pytest.approx(Reference.step(method_of(scheme), past, field), abs=1e-10)


def test_a_runge_kutta_block() -> None:
    """Stages of a tableau; in TorchScript, too; an implicit tableau is refused."""
    scheme = Kutta()
    check_computes(scheme)
    assert (card(scheme).order, card(scheme).method.kind) == (3, "Runge-Kutta")
    step = scheme.block(nn.Tanh()).eval()
    y = torch.linspace(-1, 1, 8).view(1, 2, 2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
        assert torch.equal(torch.jit.script(step)(y, [y]), step(y, [y]))
    with raises(ValueError, "explicit tableau"):
        RungeKuttaStep(nn.Tanh(), RungeKutta((("1/2",),), (1,)))


def test_a_runge_kutta_network() -> None:
    """Euler steps where the shape changes, Kutta's elsewhere; gradients reach all parameters."""
    network = Kutta.network()(Kutta(), (2, 2, 2), width=4)
    assert [type(block.step).__name__ for block in network.blocks()] == [
        "RungeKuttaStep", "RungeKuttaStep", "MultistepStep", "RungeKuttaStep", "MultistepStep", "RungeKuttaStep",
    ]  # fmt: skip
    network(torch.randn(2, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    assert network.stability_card().order == 3


@pytest.mark.parametrize("scheme", [Kutta(), *[s for s in SCHEMES if s.name == "am2"]], ids=lambda s: str(method_of(s)))
def test_the_order_is_measured(scheme: Any) -> None:
    """On a nonlinear equation one step from exact values errs by h^(p+1)."""
    errors = []
    for h in (0.02, 0.01):
        field = CurvedRotation(h)
        past = [field.solution(-j * h) for j in range(method_of(scheme).steps)]
        with torch.no_grad():
            new = returned(scheme.block(field).double().eval()(past[0], [*past, *(field(y) for y in past[1:])]))[0]
        errors.append((new - field.solution(h)).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(card(scheme).order + 1, abs=0.2)


def test_a_block_of_one_iteration_of_backward_euler() -> None:
    """f(y) = -5 y takes 1 to -4, not to 1/6: R(z) = 1 + z, as the card says."""
    scheme = get_scheme("theta", theta="1", solver={"fixed_iterations": 1})
    y = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    assert scheme.block(Times(-5)).eval()(y, [y]).item() == -4 == 1 - 5
    assert card(scheme).stability_function == "1 + z"


class Times(nn.Module):
    """f(y) = factor y."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return self.factor * scale * y


@pytest.mark.parametrize("theta", ["0", "1/3", "1/2", "1"])
@pytest.mark.parametrize("iterations", [None, 1, 3])
@pytest.mark.parametrize("one_leg", [False, True])
def test_r_is_what_a_block_multiplies_by(theta: str, iterations: int | None, one_leg: bool) -> None:
    """On y' = lambda y, whatever the kind."""
    solver = TIGHT.model_copy(update={"fixed_iterations": iterations})
    scheme: Any = get_scheme("theta", theta=theta, one_leg=one_leg, solver=solver)
    linear = method_of(scheme).linear
    y = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    for z in (-3.0, -0.5, 0.4):
        if isinstance(linear, StabilityFunction):
            expected = linear(z)
        else:
            expected = float((linear.alpha[0] + linear.beta[0] * Fraction(z)) / (1 - linear.beta_next * Fraction(z)))
        assert scheme.block(Times(z)).eval()(y, [y]).item() == pytest.approx(expected, abs=1e-11)


class Wrong(ExplicitMultistep):
    """Heun's step that states the midpoint rule: of the same order and with the same R."""

    name = "wrong"
    alpha, beta = (1,), (1,)

    def method(self) -> RungeKutta:
        """Not the step."""
        return RungeKutta(((), ("1/2",)), (0, 1))

    def block(self, f: nn.Module) -> nn.Module:
        """Heun's step."""
        return RungeKuttaStep(f, RungeKutta(((), (1,)), ("1/2", "1/2")))


def test_a_wrong_statement_is_found() -> None:
    """Although order and stability function are those of the statement; what states nothing is not compared."""
    with raises(AssertionError, "Runge-Kutta", "k2 = f(y[n] + 1/2 h k1)", "off by"):
        check_computes(Wrong())

    class Silent(Wrong):
        def block(self, f: nn.Module) -> nn.Module:
            return super().block(f)

    with raises(NotApplicable, "own step", "method()"):
        check_computes(Silent())
