"""Cheap proofs that norms of periodic convolutions lie below a level, several times cheaper than the norms.

Both round: they are proofs in exact arithmetic, and their results carry a bound for what rounding can have done.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["proved_bounds", "size_bounds", "tap_sums"]

POWER_STEPS = 5  # norms are estimated to some percent
MODERATE = 1e15  # squares of symbols of such weights do not overflow in single precision
TABLES = 32  # of cosines and sines that are kept: a network has one a stage


def tap_sums(weights: Tensor) -> Tensor:
    """Return sum_t ||K_t||_F >= ||A||_2 over the taps of weights (L, C', C, ...): (L,)."""
    return torch.linalg.vector_norm(weights.flatten(3) if weights.ndim > 3 else weights[..., None], dim=(1, 2)).sum(-1)


def size_bounds(weights: Tensor, squarings: int = 3) -> Tensor:
    """Return upper bounds of the norms, on any grid and for any stride, of weights (L, C', C, k, k): (L,).

    ||A|| <= k ||M|| with M the kernel as a matrix C' x C k k, and ||M||^2 = ||G|| <= ||G^p||_F^(1/p), G = M M^T,
    p = 2^squarings (Gram iteration). Twice the rounding of all terms is added.

    Source: Delattre, Barthelemy, Araujo, Allauzen, ICML 2023 (Gram iteration).
    """
    matrices = weights.flatten(2)
    gram = matrices @ matrices.mT
    log, n = gram.new_zeros(len(weights)), gram.shape[-1]
    tiny, eps = torch.finfo(gram.dtype).tiny, torch.finfo(gram.dtype).eps
    for i in range(squarings + 1):
        gram = gram if i == 0 else gram @ gram
        size = torch.linalg.vector_norm(gram, dim=(1, 2))
        log = log + size.log() / 2**i
        gram = gram / size.clamp(min=tiny)[:, None, None]
    taps = matrices.shape[2] // weights.shape[2]
    return (log / 2).exp() * (taps**0.5 * (1 + 2 * eps * n * (n + matrices.shape[2])))


def proved_bounds(weights: Tensor, grid: tuple[int, int], stride: int, level: float, margin: float = 1.0) -> Tensor:
    """Return bounds, up to rounding, of the norms of L convolutions: (L,), infinity where nothing was proved.

    The bound is ``level``, or, where an estimate e of the norm is larger already and ``margin`` > 1, it is margin e.

    F(w) is the symbol; for a stride s the blocks [F(w_1) .. F(w_ss)]/s of the frequencies that fall together on the
    coarse grid. t^2 I - F F* has a Cholesky factor at every w when, and up to rounding only when, ||A|| < t.

    Rounding moves the level by a relative 4 eps n^2 at most, n the smaller side of the blocks.

    Args:
        weights: (L, C', C, k1, k2), float32 or float64.
        grid: height and width of the input.
        stride: divides both.
        level: positive.
        margin: at least 1, which means no estimate.
    """
    layers, rows, columns, *sides = weights.shape
    table, count = phases(grid, stride, tuple(sides), weights.dtype)
    weights = weights / (level * stride)
    values = table.to(weights.device) @ weights.flatten(3).permute(0, 3, 1, 2).flatten(2)
    blocks = values.view(layers, 2, count, stride * stride, rows, columns).transpose(3, 4).flatten(4)
    symbol = torch.complex(blocks[:, 0], blocks[:, 1])
    gram = symbol @ symbol.mH if rows <= symbol.shape[-1] else symbol.mH @ symbol
    squares = weights.new_ones(layers)
    if margin > 1:
        estimates = largest_eigenvalues(gram)
        squares = (margin**2 * estimates).where(estimates > 1, 1)
    gram.neg_().diagonal(dim1=-2, dim2=-1).add_(squares[:, None, None])
    moderate = weights.flatten(1).abs().amax(1) < MODERATE  # LAPACK promises nothing of what has overflowed
    proved = (torch.linalg.cholesky_ex(gram).info == 0).all(1) & moderate
    return (level * squares.double().sqrt()).where(proved, math.inf)


def largest_eigenvalues(gram: Tensor) -> Tensor:
    """Estimate from below the largest eigenvalue of F positive semidefinite matrices, (L, F, n, n), each: (L,).

    Eigenvalues of 1e7 and more may overflow in single precision; the estimate is then infinity or NaN.
    """
    n = gram.shape[-1]
    vector = torch.arange(1, n + 1, device=gram.device, dtype=gram.real.dtype).square().cos().to(gram.dtype)[:, None]
    for _ in range(POWER_STEPS):
        vector = gram @ vector
    before, after = (torch.linalg.vector_norm(v, dim=(-2, -1)) for v in (vector, gram @ vector))
    return (after / before.clamp(min=torch.finfo(gram.real.dtype).tiny)).amax(1)


@lru_cache(TABLES)
def phases(grid: tuple[int, int], stride: int, sides: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, int]:
    """Return cos(w . t) and sin(w . t), (2 F s s, k1 k2), and F: at F frequencies of the coarse grid, s s of the fine.

    F(-w) is the conjugate of F(w): one of each pair.
    """
    n1, n2 = grid[0] // stride, grid[1] // stride
    coarse = [(i, j) for i in range(n1) for j in range(n2) if (i, j) <= (-i % n1, -j % n2)]
    fine = [(i + n1 * a, j + n2 * b) for i, j in coarse for a in range(stride) for b in range(stride)]
    step = torch.tensor([2 * math.pi / grid[0], 2 * math.pi / grid[1]], dtype=torch.float64)
    taps = torch.cartesian_prod(*(torch.arange(k, dtype=torch.float64) for k in sides)).view(-1, 2)
    angles = (torch.tensor(fine, dtype=torch.float64) * step) @ taps.T
    return torch.cat([angles.cos(), angles.sin()]).to(dtype), len(coarse)
