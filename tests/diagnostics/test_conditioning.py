"""Condition numbers: the truth against numpy, the formula where it fails, and every kind of block."""

import json
import math
from typing import Any

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, relu

from fixtures.messages import raises
from stabzoo.diagnostics.conditioning.blocks import block_conditioning, module_conditioning
from stabzoo.diagnostics.conditioning.condition_number import condition_number


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def timm_block(width: int = 2, *, bottleneck: bool = False) -> nn.Module:
    """A residual block of timm's ResNet, with batch norms that scale."""
    from timm.models.resnet import BasicBlock, Bottleneck

    torch.manual_seed(0)
    block = Bottleneck(4 * width, width) if bottleneck else BasicBlock(width, width)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_var.uniform_(0.5, 1.5)
    return block


class Gate(nn.Module):
    """Squeeze and excitation, more or less: an activation that no module is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale by the mean."""
        return x * x.mean().sigmoid()


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))
@settings(max_examples=60)
def test_both_ways_agree_with_numpy(m: int, n: int, seed: int) -> None:
    """Wide, tall and square matrices, dense and matrix-free."""
    matrix = random(m, n, seed=seed)
    values = np.linalg.svd(matrix.numpy(), compute_uv=False)
    for limit, kind in ((2048, "exact"), (0, "converged")):
        if limit == 0 and min(m, n) < 3:
            continue  # Lanczos of dimension 1 is not an iteration
        found = condition_number(lambda x, a=matrix: a @ x, torch.zeros(n, dtype=torch.float64), dense_limit=limit)
        assert found.value.kind == kind
        assert found.value.value == pytest.approx(values[0] / values[-1], rel=1e-6)
        assert found.sigma_max.value == pytest.approx(values[0], rel=1e-9)
        assert max(found.residuals) <= 1e-4


@pytest.mark.parametrize("limit", [2048, 0])
def test_a_singular_jacobian_has_an_infinite_condition_number(limit: int) -> None:
    """Also one whose other singular values are harmless: a pseudo-inverse would not see it."""
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.5, 0.0], dtype=torch.float64))
    for a in (matrix, matrix[:, :4].T @ torch.diag(matrix.diag()), 0 * matrix):
        a = a.clone()
        a[-1] = 0
        found = condition_number(lambda x, a=a: a @ x, torch.zeros(5, dtype=torch.float64), dense_limit=limit)
        assert found.value.value == math.inf
        json.dumps(found.to_dict(), allow_nan=False)


def test_the_jacobian_is_that_at_x() -> None:
    """Of y^2, diag(2 y)."""
    found = condition_number(torch.square, torch.tensor([1.0, -4.0, 2.0], dtype=torch.float64))
    assert found.value.value == pytest.approx(4)
    assert found.shape == (3, 3)


def test_an_iteration_that_is_cut_short_says_so() -> None:
    """Then the value is below the true one, and is not called converged."""
    matrix = torch.diag(torch.logspace(-7, 0, 60, dtype=torch.float64))
    found = condition_number(lambda x: matrix @ x, torch.zeros(60, dtype=torch.float64), dense_limit=0, max_products=40)
    assert found.value.kind == "heuristic"
    assert found.value.value < 1e7
    assert "not converged" in found.value.note


@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_linear_map_of_a_timm_block(bottleneck: bool) -> None:
    """Against the matrices of its folded convolutions, column by column."""
    block = timm_block(bottleneck=bottleneck).eval()
    channels = 8 if bottleneck else 2
    found = block_conditioning(block, torch.zeros(1, channels, 4, 4))
    block.double().requires_grad_(False)
    eye = torch.eye(16 * channels, dtype=torch.float64).unflatten(1, (channels, 4, 4))
    branch = eye
    maxima = []
    for i in range(1, 4 if bottleneck else 3):
        conv, norm = getattr(block, f"conv{i}"), getattr(block, f"bn{i}")
        scale = (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None]
        size = torch.eye(conv.in_channels * 16, dtype=torch.float64).unflatten(1, (conv.in_channels, 4, 4))
        maxima.append(torch.linalg.svdvals((conv(size) * scale).flatten(1)))
        branch = conv(branch) * scale
    values = torch.linalg.svdvals((eye + branch).flatten(1))
    assert found.linear.value.value == pytest.approx(float(values[0] / values[-1]), rel=1e-8)
    above = math.prod(float(s[0]) for s in maxima)
    below = math.prod(float(s[-1]) for s in maxima)
    assert found.formula.value == pytest.approx((above + 1) / (below + 1), rel=1e-8)
    assert found.interval == pytest.approx(((above + 1) / (below + 1), above + 1), rel=1e-8)
    if not bottleneck:
        assert found.branch_bound.value == pytest.approx(above / below, rel=1e-4)
        assert found.branch_bound.kind == "certified_upper"
        values = torch.linalg.svdvals(branch.flatten(1))
        assert found.branch_bound.value >= float(values[0] / values[-1])
    else:
        assert found.branch_bound.value == math.inf


def test_the_formula_is_not_a_bound() -> None:
    """I + diag(-1, 1) has formula 1 and is singular; a small branch has a proved bound that holds."""
    block = timm_block(2)
    for norm in (block.bn1, block.bn2):
        nn.init.ones_(norm.weight)
        norm.running_var.fill_(1 - norm.eps)
    for conv in (block.conv1, block.conv2):
        nn.init.dirac_(conv.weight)
    block.conv2.weight.data[0] *= -1
    found = block_conditioning(block, torch.ones(1, 2, 3, 3))
    assert found.formula.value == pytest.approx(1)
    assert found.formula.kind == "heuristic"
    assert found.linear.value.value > 1e6
    assert found.block_bound.value == math.inf
    block.conv2.weight.data *= 0.5
    found = block_conditioning(block, torch.ones(1, 2, 3, 3))
    assert found.block_bound.value == pytest.approx(3, rel=1e-6)
    assert found.block_bound.kind == "certified_upper"


@pytest.mark.parametrize("name", ["preresnet20", "zerosnet20_opt", "lmresnet20", "preresnet18"])
def test_every_block_of_a_network(name: str) -> None:
    """JSON-safe; where the proved bound is finite it holds; flags and weights stay; changes of shape have no formula."""
    torch.manual_seed(0)
    model = timm.create_model(name, width=4).train()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    size = 16 if name.endswith("18") else 8
    found = module_conditioning(model, torch.randn(1, 3, size, size))
    assert [entry.name for entry in found] == [n for n, m in model.named_modules() if type(m).__name__ == "Block"]
    for entry in found:
        json.dumps(entry.to_dict(), allow_nan=False)
        if math.isfinite(entry.block_bound.value):
            assert entry.linear.value.value <= entry.block_bound.value
    assert math.isnan(next(e for e in found if e.name == "stages.1.blocks.0").formula.value)
    assert math.isfinite(found[1].formula.value)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@given(st.integers(1, 4), st.integers(4, 9), st.integers(2, 6), st.sampled_from([1, 2]), st.integers(0, 99))
@settings(max_examples=40)
def test_a_local_map_is_assembled_by_image_rows(channels: int, n: int, width: int, stride: int, seed: int) -> None:
    """Block QR against dense SVD: wide, tall and square, with masks; the residuals are those of the true Jacobian."""
    first, second = random(channels, 2, 3, 3, seed=seed), random(2, channels, 3, 3, seed=seed + 1)

    def function(x: torch.Tensor) -> torch.Tensor:
        return x[..., ::stride, ::stride] + conv2d(relu(conv2d(x, first, None, stride, 1)), second, padding=1)

    def widened(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([function(x), x[..., ::stride, ::stride].square()], 1)

    for f in (function, widened):
        x = random(1, 2, n, width, seed=seed)
        exact, found = condition_number(f, x), condition_number(f, x, dense_limit=0)
        assert (exact.value.kind, found.value.kind, found.shape) == ("exact", "converged", exact.shape)
        assert found.value.note.startswith("block QR")
        high = exact.sigma_max.value
        assert found.sigma_max.value == pytest.approx(high, rel=1e-10)
        assert found.sigma_min.value == pytest.approx(exact.sigma_min.value, abs=1e-12 * high)
        if exact.sigma_min.value > 1e-9 * high:
            assert max(found.residuals) <= 1e-4
            assert found.value.value == pytest.approx(exact.value.value, rel=1e-3)


def test_a_dead_image_row_makes_it_singular() -> None:
    """An output row, or an input row, that nothing connects: the condition number is infinite, not large."""
    x = random(1, 2, 6, 3)
    for mask in (torch.arange(6) != 2, torch.arange(6) != 5, torch.arange(6) > 6):
        found = condition_number(lambda x, m=mask: x.sin() * m[:, None], x, dense_limit=0)
        assert found.value.value == math.inf
        assert found.sigma_min.value == 0
    found = condition_number(lambda x: x[:, :1] * (torch.arange(6) != 2)[:, None], x, dense_limit=0)  # wide
    assert found.value.value == math.inf


@pytest.mark.slow
def test_the_ways_agree_on_a_block() -> None:
    """16 channels at 16x16 of a network: block QR beside matrix-free, whose Rayleigh quotients lie above."""
    torch.manual_seed(0)
    block = timm_block(16).eval()
    block.act2 = nn.Identity()  # else dead outputs make the Jacobian singular
    with torch.no_grad():
        for conv in (block.conv1, block.conv2):
            conv.weight.mul_(0.8)
    x = random(1, 16, 16, 16)
    banded = block_conditioning(block, x)
    free = block_conditioning(block, x, max_work=0, max_products=4000)
    for one, other in ((banded.linear, free.linear), (banded.jacobian, free.jacobian)):
        assert one.shape == (4096, 4096)
        assert one.value.kind == "converged"
        assert max(one.residuals) <= 1e-6
        assert one.sigma_max.value == pytest.approx(other.sigma_max.value, rel=1e-9)
        assert one.sigma_min.value <= other.sigma_min.value * (1 + 1e-6)
        if other.value.kind == "converged":
            assert one.value.value == pytest.approx(other.value.value, rel=1e-6)


class Cubed(torch.autograd.Function):
    """x^3 as a function that autograd may differentiate once."""

    generate_vmap_rule = False

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Cube."""
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """3 x^2 times the gradient."""
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


def test_functions_that_are_once_differentiable() -> None:
    """Rows of J are enough, dense and by image rows."""
    x = torch.arange(1.0, 25.0, dtype=torch.float64).reshape(1, 2, 4, 3)
    for limit in (2048, 0):
        found = condition_number(Cubed.apply, x, dense_limit=limit)
        assert found.value.value == pytest.approx(24**2)


def test_what_is_not_local_stays_matrix_free() -> None:
    """A map whose assembled Jacobian would cost too much, or that differs between calls' products."""
    x = random(1, 2, 6, 3)
    found = condition_number(lambda x: x + 0.1 * x.mean((1, 2, 3), keepdim=True), x, dense_limit=0, max_work=1e4)
    assert "products" in found.value.note
    assert found.value.kind == "converged"


def test_what_cannot_be_done_is_said() -> None:
    """One sentence each."""
    with raises(ValueError, "float64", "got (3,)", "torch.float32"):
        condition_number(torch.square, torch.ones(3))
    with raises(ValueError, "not finite at x"):
        condition_number(torch.log, torch.zeros(3, dtype=torch.float64))
    with raises(ValueError, "Jacobian", "not finite at x"):
        condition_number(torch.sqrt, torch.zeros(3, dtype=torch.float64))
    with raises(ValueError, "Linear", "condition_number"):
        block_conditioning(nn.Linear(3, 3), torch.ones(1, 3))
    with raises(ValueError, "one image", "2"):
        module_conditioning(timm.create_model("preresnet20"), torch.ones(2, 3, 8, 8))
    block = timm_block()
    block.se = Gate()
    with raises(ValueError, "not affine", "activation"):
        block_conditioning(block, torch.ones(1, 2, 3, 3))


def test_a_large_condition_number_has_small_residuals() -> None:
    """Rounding alone leaves eps cond, not eps cond^2: 1e8 converges."""
    scale = torch.logspace(-8, 0, 8, dtype=torch.float64)[:, None]
    first = random(2, 2, 3, 3) / 10
    x = random(1, 2, 8, 5)
    found = condition_number(lambda x: scale * (x + conv2d(x, first, padding=1)), x, dense_limit=0)
    exact = condition_number(lambda x: scale * (x + conv2d(x, first, padding=1)), x)
    assert found.value.kind == "converged"
    assert found.value.value > 1e7
    assert found.value.value == pytest.approx(exact.value.value, rel=1e-5)
    assert max(found.residuals) <= 1e-6
