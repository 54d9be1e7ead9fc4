"""CPL, SLL, AOL and sandwich layers: their authors' formulas, and that no distance grows, whatever the weights."""

import math

import pytest
import timm
import torch
from torch import nn

from fixtures.messages import raises
from stabzoo import forward_bounds
from stabzoo.diagnostics.attack import sensitivity_attack
from stabzoo.errors import ConfigError
from stabzoo_lipschitz.bounds import convolution_bound, gradient_bound
from stabzoo_lipschitz.kernels import INSIDE, cayley, dominated, normalized
from stabzoo_lipschitz.layers import LAYERS

CHANNELS, GRID = 4, (5, 6)
MODELS = ("cpl_resnet11", "sll_resnet11", "aol_net11", "sandwich_net11")


def layer_of(name: str, scale: float = 1.0, grid: tuple[int, int] = GRID, seed: int = 0) -> nn.Module:
    """A layer with random weights of this size, in float64."""
    torch.manual_seed(seed)
    layer = LAYERS[name](CHANNELS, grid, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=scale if parameter.ndim > 1 else 1.0)
    return layer


def matrix(kernel: torch.Tensor) -> torch.Tensor:
    """The matrix of the periodic convolution with a kernel, (C' n, C n)."""
    basis = torch.eye(kernel.shape[1] * math.prod(GRID), dtype=torch.float64).view(-1, kernel.shape[1], *GRID)
    padded = nn.functional.pad(basis, [1, 1, 1, 1], mode="circular")
    return nn.functional.conv2d(padded, kernel).flatten(1).T


def at(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The layer at one flat state."""
    return layer(x.view(1, CHANNELS, *GRID)).flatten()


def spread(bias: torch.Tensor) -> torch.Tensor:
    """A bias at every pixel."""
    return bias.repeat_interleave(math.prod(GRID))


def states(count: int = 3) -> torch.Tensor:
    """Random flat states."""
    return torch.randn(
        count, CHANNELS * math.prod(GRID), dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    )


def test_cpl_is_the_step_of_its_paper() -> None:
    """Y - 2/||K||^2 K' relu(K y + b), with the norm of the whole matrix."""
    layer = layer_of("cpl", 3.0)
    k = matrix(layer.weight.detach())
    norm = torch.linalg.matrix_norm(k, 2)
    bias = spread(layer.bias.detach()) * norm / 2**0.5  # it is added to the scaled kernel
    for x in states():
        expected = x - 2 / norm**2 * k.T @ (k @ x + bias).relu()
        torch.testing.assert_close(
            at(layer, x), expected, rtol=1e-4, atol=1e-4
        )  # the kernel is scaled to within its bound


def test_sll_is_the_step_of_its_paper() -> None:
    """Y - 2 W T^-1 relu(W' y + b), with T from the whole matrix."""
    layer = layer_of("sll", 3.0)
    w, q = matrix(layer.weight.detach()).T, spread(layer.logs.detach()).exp()
    t = (w.T @ w).abs() @ q / q
    bias = spread(layer.bias.detach()) * (t / 2).sqrt()
    for x in states():
        expected = x - 2 * w @ ((w.T @ x + bias).relu() / t)
        torch.testing.assert_close(at(layer, x), expected, rtol=1e-4, atol=1e-4)


def test_aol_scales_as_its_paper_does() -> None:
    """P D with D_j = (sum_i |P' P|_ij)^(-1/2)."""
    layer = layer_of("aol", 3.0)
    p = matrix(layer.weight.detach())
    d = (p.T @ p).abs().sum(0).rsqrt()
    torch.testing.assert_close(matrix(layer.kernel().detach()), p * d * INSIDE, rtol=1e-9, atol=1e-12)


def test_a_sandwich_is_the_layer_of_its_paper() -> None:
    """Sqrt(2) A' Psi relu(sqrt(2) Psi^-1 B y + b), with a Cayley transform of whole matrices."""
    layer = layer_of("sandwich", 0.3)
    x, y = (matrix(half) for half in layer.weight.detach().chunk(2))
    one = torch.eye(len(x), dtype=torch.float64)
    z = x - x.T + y.T @ y
    inverse = torch.linalg.inv(one + z)
    a, b = (inverse @ (one - z)).T, (-2 * y @ inverse).T
    torch.testing.assert_close(a @ a.T + b @ b.T, one)
    psi, bias = spread(layer.logs.detach()).exp(), spread(layer.bias.detach())
    for state in states():
        expected = 2**0.5 * a.T @ (psi * (2**0.5 * b @ state / psi + bias).relu())
        torch.testing.assert_close(at(layer, state), expected)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", LAYERS)
def test_no_distance_grows(name: str, scale: float) -> None:
    """Jacobians have a norm of at most the bound, which is 1, and far pairs do not move apart either."""
    layer = layer_of(name, scale)
    bound = layer.bound(GRID)
    assert bound.refused == ()
    assert bound.sensitivity <= 1 + 1e-8
    norms = [
        float(torch.linalg.matrix_norm(torch.autograd.functional.jacobian(lambda z: at(layer, z), x), 2))
        for x in states()
    ]
    assert max(norms) <= bound.sensitivity
    first, second = 10 * states(20), 10 * states(40)[20:]
    with torch.no_grad():
        for x, y in zip(first, second, strict=True):
            assert (at(layer, x) - at(layer, y)).norm() <= bound.sensitivity * (x - y).norm()
            assert at(layer, x).norm() <= bound.growth * x.norm() + bound.offset
        zero = at(layer, torch.zeros_like(first[0]))
    assert zero.norm() <= bound.offset
    assert bound.offset == pytest.approx(float(zero.norm()), rel=1e-6) or name == "aol"  # maxmin moves the biases


def test_cpl_and_sandwich_layers_are_tight() -> None:
    """CPL attains -1 along its kernel's largest singular vector; a potential's flat side attains 1."""
    layer = layer_of("cpl")
    with torch.no_grad():
        layer.bias.fill_(1e6)  # every relu is open: I - A'A
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.jacobian(lambda z: at(layer, z), states(1)[0]))
    assert eigenvalues.min() == pytest.approx(-1, abs=1e-4)
    layer = layer_of("sandwich", 0.3)
    with torch.no_grad():
        layer.bias.fill_(1e6)
    norm = torch.linalg.matrix_norm(torch.autograd.functional.jacobian(lambda z: at(layer, z), states(1)[0]), 2)
    assert 0.5 < norm <= layer.bound(GRID).sensitivity


def test_the_bounds_know_kernels_that_are_too_large() -> None:
    """They are about the kernel that is convolved with, not about the scaling that ought to have made it."""
    kernel, bias = torch.randn(CHANNELS, CHANNELS, 3, 3, dtype=torch.float64), torch.zeros(CHANNELS)
    norm = float(torch.linalg.matrix_norm(matrix(kernel), 2))
    step = gradient_bound(kernel * 2 / norm, bias, GRID)
    assert step.sensitivity == pytest.approx(3)
    assert step.refused
    layer = convolution_bound(kernel * 2 / norm, bias, GRID)
    assert layer.sensitivity == pytest.approx(2)
    assert layer.refused


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("name", LAYERS)
def test_weights_of_any_size_are_scaled(name: str, size: float) -> None:
    """Nothing overflows in single precision, gradients are finite, and the bound stays."""
    layer = LAYERS[name](CHANNELS, (2, 2))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_().mul_(size if parameter.ndim > 1 and name != "sandwich" else min(size, 1.0))
    state = layer(torch.randn(2, CHANNELS, 2, 2))
    state.square().sum().backward()
    assert state.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert layer.bound((2, 2)).sensitivity <= 1 + 1e-6


def test_gradients_are_those_of_the_scaled_kernels() -> None:
    """By differences, through norms, diagonals and inverses."""
    torch.manual_seed(0)
    kernel = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    logs = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda k: normalized(k, 4, 6, 1.0), kernel)
    assert torch.autograd.gradcheck(lambda k, q: dominated(k, q, 1.0), (kernel, logs))
    assert torch.autograd.gradcheck(
        lambda k: torch.cat([torch.view_as_real(v.resolve_conj()) for v in cayley(k, 3, 4)]), kernel
    )


@pytest.mark.parametrize("model", MODELS)
def test_networks_are_certified_and_withstand_attacks(model: str) -> None:
    """The whole map is 1-Lipschitz after any step, and gradient ascent finds no pair beyond its bound."""
    torch.manual_seed(0)
    network = timm.create_model(model, width=4, img_size=8, in_chans=1, num_classes=3).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    network.post_step()
    bounds = forward_bounds(network, (1, 8, 8))
    assert bounds.refused == ()
    assert bounds.sensitivity.value <= 1 + 1e-8
    images = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    found = sensitivity_attack(network, images, rounds=1, power=4, ascent=4).sensitivity.value
    assert 0 < found <= bounds.sensitivity.value


def test_an_odd_number_of_channels_is_refused() -> None:
    """Maxmin takes channels in pairs."""
    with raises(ConfigError, "width", "even", "got 3"):
        timm.create_model("aol_net11", width=3)


@pytest.mark.parametrize("name", LAYERS)
def test_stochastic_depth_leaves_the_state(name: str) -> None:
    """In training, of each image alone; in evaluation mode nothing is dropped."""
    torch.manual_seed(0)
    layer = LAYERS[name](CHANNELS, GRID, 0.5)
    layer.reset_parameters()
    x = torch.randn(32, CHANNELS, *GRID)
    with torch.no_grad():
        still = [torch.equal(a, b) for a, b in zip(layer(x), x, strict=True)]
        assert 4 < sum(still) < 28
        with raises(ValueError, "stochastic depth"):
            layer.bound(GRID)
        moved = layer.eval()(x)
    torch.testing.assert_close(moved, x + layer.branch(x) if name in ("cpl", "sll") else layer.branch(x))
