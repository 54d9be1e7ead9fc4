"""Midpoint, Verlet and Hamiltonian blocks run backwards, and those that are symplectic maps are, to rounding."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor

import stabzoo
from stabzoo.methods import method_of
from stabzoo.networks.branch import pulled_back
from stabzoo.networks.past import advanced, returned

CHANNELS, SIDE = 4, 3


@pytest.fixture(autouse=True)
def _in_float64() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def network(scheme: str, branch: str = "parabolic", **options: Any) -> Any:
    """Three stages of three blocks, in evaluation mode, with shifts that put some units on and some off."""
    made = stabzoo.get_scheme(scheme)
    model = type(made).network()(made, layers=(3, 3, 3), width=CHANNELS, branch=branch, **options).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("shift"):
            torch.nn.init.normal_(parameter)
    return model


def defect(step: Any, states: int = 1) -> float:
    """How far J' Omega J is from Omega, J the Jacobian of a step at a random state: of (y, z), or of (y_n, y_{n-1})."""
    size = states * CHANNELS * SIDE**2

    def flat(x: Tensor) -> Tensor:
        history = list(x.reshape(states, 1, CHANNELS, SIDE, SIDE))
        new = returned(step(history[0], history))[0]
        return torch.cat([new.flatten(), *(state.flatten() for state in history[:-1])])

    jacobian = torch.autograd.functional.jacobian(flat, torch.randn(size))
    omega = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(size // 2))
    assert (jacobian - torch.eye(size)).abs().max() > 0.01  # it does something
    return (jacobian.T @ omega @ jacobian - omega).abs().max().item()


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_a_hamiltonian_block_is_symplectic(norm: str, act: str) -> None:
    """Whatever its weights; around branches that are no gradients it is not, and neither is RevNet's."""
    step = network("hamiltonian", norm=norm, act=act).blocks()[1].step
    with torch.no_grad():
        for part in (step.f.f, step.g):
            part.conv.weight.mul_(3)
    assert defect(step) < 1e-11
    for scheme in ("hamiltonian", "revnet"):
        assert defect(network(scheme, "plain").blocks()[1].step) > 1e-3


def test_verlets_step_is_symplectic_around_a_gradient() -> None:
    """In dy_n ^ dy_{n-1}; around another slope it is not, and the midpoint rule turns the sign of the form."""
    assert defect(network("verlet").blocks()[1].step, states=2) < 1e-12
    assert defect(network("verlet", "plain").blocks()[1].step, states=2) > 1e-3
    assert defect(network("midpoint").blocks()[1].step, states=2) == pytest.approx(2, abs=1e-12)


def test_the_models_have_the_branches_of_the_paper() -> None:
    """Antisymmetric without damping, and K' s(K y + b) with the signs of an oscillation."""
    midpoint, verlet, hamiltonian = (
        timm.create_model(f"{name}20", width=CHANNELS).eval() for name in ("midpoint", "verlet", "hamiltonian")
    )
    y = torch.randn(1, CHANNELS, SIDE, SIDE)
    f: Any = midpoint.blocks()[1].step.f
    torch.testing.assert_close(f(y), torch.relu(f.norm(f.conv(y) - pulled_back(f.conv, y)) + f.shift))
    assert defect(verlet.blocks()[1].step, states=2) < 1e-12
    step: Any = hamiltonian.blocks()[1].step
    assert defect(step) < 1e-12
    z = y[:, : CHANNELS // 2]
    assert (step.f(z) * z).sum() > 0 > (step.g(z) * z).sum()  # without shifts (f(z), z) = |s(K z)|^2


@pytest.mark.parametrize("scheme", ["midpoint", "verlet", "hamiltonian", "revnet", "irevnet"])
def test_blocks_run_backwards(scheme: str) -> None:
    """All that keep the shape: what enters a stage of nine blocks is recovered from what leaves it."""
    model = network(scheme)
    history = [model.stem(torch.randn(2, 3, 8, 8))]
    with torch.no_grad():
        for block in model.blocks():
            new = advanced(block, history)
            if new[0].shape == history[0].shape:
                assert block.invertible
                for old, expected in zip(block.inverse(new), history, strict=True):
                    torch.testing.assert_close(old, expected, rtol=1e-12, atol=1e-12)
            history = new
    assert sum(block.invertible for block in model.blocks()) == 7


def test_a_long_hamiltonian_network_does_not_blow_up_and_forgets_nothing() -> None:
    """200 blocks of one kernel: what is not bounded drifts (both potentials have flat sides), and all is recovered."""
    step = network("hamiltonian", norm="none").blocks()[1].step
    with torch.no_grad():
        for part in (step.f.f, step.g):
            part.conv.weight.mul_(0.3)
        start = state = torch.randn(1, CHANNELS, SIDE, SIDE)
        for _ in range(200):
            state = step(state, [state])
        assert (state - start).norm() > 0.1 * start.norm()
        assert state.norm() < 200 * start.norm()
        for _ in range(200):
            state = step.inverse(state, [])
    torch.testing.assert_close(state, start, rtol=1e-9, atol=1e-9)


def test_what_is_claimed_of_the_methods() -> None:
    """Of y and z at one time the Hamiltonian block is of order 1; Verlet's is a method for y'' = f(y)."""
    hamiltonian, verlet = (method_of(stabzoo.get_scheme(name)) for name in ("hamiltonian", "verlet"))
    assert (hamiltonian.order, verlet.order) == (1, 2)
    assert stabzoo.card(stabzoo.get_scheme("hamiltonian")).is_symplectic is True
    assert stabzoo.card(verlet.coefficients()).status == "unstable"
