"""The layers of ResNet-D and ResNet-S compute eqs. (14), (15), (18), (31) and (33), and have the properties that the theorems use."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import stabzoo
import stabzoo_forward
from stabzoo_forward.layers import DLayer, PoolingLayer, PostLayer, SLayer, adjoint, centred, halved, wrapped

SEEDS = st.integers(0, 2**31 - 1)
EXAMPLES = settings(max_examples=25)


def randn(seed: int, *shape: int) -> torch.Tensor:
    """Normally distributed, float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def convolution(x: torch.Tensor, kernel: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """The periodic 3x3 convolution of x, pixel by pixel, with nothing but its definition."""
    out = torch.zeros(len(x), len(kernel), -(-x.shape[2] // stride), -(-x.shape[3] // stride), dtype=x.dtype)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            for a in range(3):
                for b in range(3):
                    pixel = x[:, :, (stride * i + a - 1) % x.shape[2], (stride * j + b - 1) % x.shape[3]]
                    out[:, :, i, j] += pixel @ kernel[:, :, a, b].T
    return out


@EXAMPLES
@given(SEEDS, st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_the_adjoint_is_the_adjoint(seed: int, height: int, width: int, cin: int, cout: int) -> None:
    """<A x, y> = <x, A^T y>, on every grid: down to one pixel, where all taps fall on it."""
    x, y, kernel = (
        randn(seed, 1, cin, height, width),
        randn(seed + 1, 1, cout, height, width),
        randn(seed + 2, cout, cin, 3, 3),
    )
    image = torch.nn.functional.conv2d(wrapped(x), kernel)
    torch.testing.assert_close(image, convolution(x, kernel))
    torch.testing.assert_close((image * y).sum(), (x * adjoint(y, kernel)).sum())


@given(st.integers(1, 9), st.integers(0, 9))
def test_zero_channels_are_placed_as_eq_31_says(channels: int, more: int) -> None:
    """Floor((d2 - d1) / 2) zero channels before, for even and odd differences; the norm is kept."""
    x, d = randn(channels, 2, channels, 3, 2), more // 2
    y = centred(x, channels + more)
    for i in range(1, channels + more + 1):  # counted from 1, as in (31)
        inside = d + 1 <= i <= d + channels
        assert torch.equal(y[:, i - 1], x[:, i - d - 1] if inside else torch.zeros_like(x[:, 0]))
    torch.testing.assert_close(y.norm(), x.norm())


def test_pooling_pads_an_odd_edge_with_zeros() -> None:
    """(33): a quarter of the sum of four pixels, also where two or three of them lie outside; ||P_2|| = 1/2."""
    y = halved(torch.ones(1, 1, 3, 5))
    assert torch.equal(y[0, 0], torch.tensor([[1.0, 1.0, 0.5], [0.5, 0.5, 0.25]]))
    x = randn(0, 4, 3, 8, 8)
    assert halved(x).norm() <= x.norm() / 2
    assert halved(torch.ones(1, 1, 4, 4)).norm() == torch.ones(1, 1, 4, 4).norm() / 2


@EXAMPLES
@given(SEEDS, st.sampled_from([(1, 1), (2, 3), (4, 4), (5, 2)]))
def test_the_layers_are_the_equations(seed: int, grid: tuple[int, int]) -> None:
    """Batch norms in evaluation mode at their start are the identity (up to eps): what is left is (14), (15), (18)."""
    torch.manual_seed(seed)
    y = randn(seed, 2, 3, *grid).relu()
    s = SLayer(3, normed=False, dtype=torch.float64)
    torch.nn.init.normal_(s.bias2)
    b1, b2 = s.conv.bias[:, None, None], s.bias2[:, None, None]
    expected = torch.relu(y - adjoint(torch.relu(convolution(y, s.conv.weight) + b1), s.conv.weight) + b2)
    torch.testing.assert_close(s(y), expected)
    d = DLayer(3, dtype=torch.float64).eval()
    d.norm1.eps = d.norm2.eps = 0.0
    expected = torch.relu(y - convolution(torch.relu(convolution(y, d.conv1.weight)), d.conv2.weight))
    torch.testing.assert_close(d(y), expected)
    pool = PoolingLayer(3, 7, normed=False, dtype=torch.float64)
    slope = torch.relu(convolution(y, pool.conv.weight, 2) + pool.conv.bias[:, None, None])
    torch.testing.assert_close(pool(y), torch.relu(centred(halved(y), 7) - slope))


def scaled(kernel: torch.Tensor, grid: tuple[int, int], norm: float) -> torch.Tensor:
    """A kernel of an exact operator norm."""
    return kernel * (norm / stabzoo.periodic_norms(kernel[None], grid)[0])


@EXAMPLES
@given(SEEDS, st.sampled_from([(1, 1), (2, 2), (3, 4), (6, 6)]), st.floats(0.1, 1.0))
def test_lemma_2(seed: int, grid: tuple[int, int], part: float) -> None:
    """||A|| <= sqrt(2): the layer brings no two states further apart, whatever the biases."""
    layer = SLayer(4, normed=False, dtype=torch.float64)
    with torch.no_grad():
        layer.conv.weight.copy_(scaled(randn(seed, 4, 4, 3, 3), grid, part * math.sqrt(2)))
        layer.conv.bias.copy_(randn(seed + 1, 4))
        layer.bias2.copy_(randn(seed + 2, 4))
        x = randn(seed + 3, 8, 4, *grid)
        y = (
            x
            + randn(seed + 4, 8, 4, *grid) * 10.0 ** torch.linspace(-4, 1, 8, dtype=torch.float64)[:, None, None, None]
        )
        after, before = ((a - b).flatten(1).norm(dim=1) for a, b in ((layer(x), layer(y)), (x, y)))
    assert (after <= before * (1 + 1e-9)).all()


def test_lemma_2_is_sharp() -> None:
    """Above sqrt(2) the layer expands: the bound is not larger than it must be."""
    layer = SLayer(1, normed=False, dtype=torch.float64)
    with torch.no_grad():
        layer.conv.weight.zero_()[0, 0, 1, 1] = 1.1 * math.sqrt(2)
        layer.bias2.fill_(100)  # keeps relu from clipping
        x, y = torch.full((1, 1, 1, 1), 2.0, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64)
        ratio = (layer(x) - layer(y)).abs() / (x - y).abs()
    assert ratio.item() == pytest.approx(2 * 1.1**2 - 1)


@EXAMPLES
@given(SEEDS)
def test_resnet_d_decays(seed: int) -> None:
    """A2 >= 0 and no shift: every entry of the state decreases, for any A1."""
    torch.manual_seed(seed)
    layer = DLayer(4, dtype=torch.float64).eval()
    with torch.no_grad():
        layer.conv2.weight.abs_()
        layer.norm1.running_mean.normal_()
        layer.norm2.running_var.uniform_(0.1, 3)
        y = randn(seed, 3, 4, 5, 5).relu() * 100
        assert (layer(y) <= y).all()


def test_half_of_the_channels_leave_a_pooling_layer_as_zeros() -> None:
    """relu(0 - relu(.)) = 0: what REFERENCE calls correction 8."""
    y = PoolingLayer(4, 8)(torch.randn(2, 4, 6, 6).relu())
    assert y[:, [0, 1, 6, 7]].abs().max() == 0 < y[:, 2:6].abs().max()


def test_the_post_activation_block() -> None:
    """Its shortcut has no parameters: every second pixel, zero channels."""
    layer = PostLayer(4, 8, 2)
    torch.nn.init.zeros_(layer.norm2.weight)
    x = torch.randn(2, 4, 5, 6)
    assert torch.equal(layer(x), centred(x[:, :, ::2, ::2], 8).relu())


@pytest.mark.parametrize("name", ["resnet_d", "resnet_s", "resnet_s_cert", "postresnet"])
def test_a_step_is_forward_backward_splitting(name: str) -> None:
    """Euler's coefficients, and a block that projects its step on y >= 0."""
    scheme = stabzoo.get_scheme(name)
    assert isinstance(scheme, stabzoo_forward.schemes.ForwardBackward)
    assert stabzoo.card(scheme).status == "strong"
    y = torch.randn(2, 3, 4, 4)
    assert torch.equal(scheme.block(torch.nn.Tanh())(y, [y]), (y + y.tanh()).relu())
