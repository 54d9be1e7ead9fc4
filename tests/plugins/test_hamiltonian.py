"""Midpoint, Verlet and Hamiltonian blocks run backwards, and those that are symplectic maps are, to rounding."""

from typing import Any

import pytest
import torch
from torch import Tensor

import stabzoo
from stabzoo_hamiltonian.gradient import Gradient

CHANNELS, SIDE = 4, 3


@pytest.fixture(autouse=True)
def _in_float64() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def network(scheme: str, **options: Any) -> Any:
    """Three stages of three blocks, in evaluation mode."""
    scheme_of = stabzoo.get_scheme(scheme)
    return type(scheme_of).network()(scheme_of, layers=(3, 3, 3), width=CHANNELS, **options).eval()


def gradient() -> Gradient:
    """A slope with some units on and some off."""
    f = Gradient(CHANNELS, CHANNELS, 0.3)
    torch.nn.init.normal_(f.conv.bias)
    return f


def defect(step: Any, states: int = 1) -> float:
    """How far J' Omega J is from Omega, J the Jacobian of a step at a random state: of (y, z), or of (y_n, y_{n-1})."""
    size = states * CHANNELS * SIDE**2

    def flat(x: Tensor) -> Tensor:
        history = list(x.reshape(states, 1, CHANNELS, SIDE, SIDE))
        new = step(history[0], history)[0]
        return torch.cat([new.flatten(), *(state.flatten() for state in history[:-1])])

    jacobian = torch.autograd.functional.jacobian(flat, torch.randn(size))
    omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(size // 2))
    assert (jacobian - torch.eye(size)).abs().max() > 0.01  # it does something
    return (jacobian.T @ omega @ jacobian - omega).abs().max().item()


def test_a_hamiltonian_block_is_symplectic() -> None:
    """Whatever its weights, biases and step size; a coupling of other slopes is not, which is what RevNet has."""
    for h in ("1/10", "3/2"):
        place = network("hamiltonian").blocks()[1].step
        step = stabzoo.get_scheme("hamiltonian", h=h).block(torch.nn.Identity(), _place())
        for part in (step.f, step.g, place.f, place.g):
            torch.nn.init.normal_(part.conv.bias)
        assert defect(step) < 1e-12
        assert defect(place) < 1e-12
    assert defect(network("revnet").blocks()[1].step) > 1e-3


def test_verlets_step_is_symplectic_around_a_gradient() -> None:
    """In dy_n ^ dy_{n-1}; around another slope it is not, and the midpoint rule turns the sign of the form."""
    verlet, midpoint = (stabzoo.get_scheme(name).block(gradient()).eval() for name in ("verlet", "midpoint"))
    assert defect(verlet, states=2) < 1e-12
    assert defect(network("verlet").blocks()[1].step, states=2) > 1e-3
    assert defect(midpoint, states=2) == pytest.approx(2, abs=1e-12)


def test_a_slope_is_a_gradient() -> None:
    """Its Jacobian is symmetric, and it is the derivative of h |relu(K y + b)|^2 / 2."""
    f = gradient()
    y = torch.randn(1, CHANNELS, SIDE, SIDE, requires_grad=True)
    potential = 0.3 * torch.relu(f.conv(y)).square().sum() / 2
    (expected,) = torch.autograd.grad(potential, y)
    torch.testing.assert_close(f(y), expected)
    torch.testing.assert_close(f(y, -2.0), -2 * expected)


@pytest.mark.parametrize("scheme", ["midpoint", "verlet", "hamiltonian", "revnet", "irevnet"])
def test_blocks_run_backwards(scheme: str) -> None:
    """All that keep the shape: what enters a stage of nine blocks is recovered from what leaves it."""
    model = network(scheme)
    history = [model.stem(torch.randn(2, 3, 8, 8))]
    with torch.no_grad():
        for block in model.blocks():
            new = block(history)
            if new[0].shape == history[0].shape:
                assert block.invertible
                for old, expected in zip(block.inverse(new), history, strict=True):
                    torch.testing.assert_close(old, expected, rtol=1e-12, atol=1e-12)
            history = new
    assert sum(block.invertible for block in model.blocks()) == 7


def test_a_long_hamiltonian_network_neither_grows_nor_forgets() -> None:
    """After 200 blocks of one kernel at a stable step size the state is of the size it was, and is recovered to 1e-9."""
    step = stabzoo.get_scheme("hamiltonian").block(torch.nn.Identity(), _place())
    with torch.no_grad():
        start = state = torch.randn(1, CHANNELS, SIDE, SIDE)
        for _ in range(200):
            state = step(state, [state])[0]
        assert state.norm() < 10 * start.norm()
        for _ in range(200):
            state = step.inverse(state, [])
    torch.testing.assert_close(state, start, rtol=1e-9, atol=1e-9)


def _place() -> Any:
    from stabzoo.networks.places import lone_place

    return lone_place(torch.nn.Conv2d(CHANNELS, CHANNELS, 1), CHANNELS, 1)
