"""QR of a block banded matrix, block column by block column, and the norm of R^{-1}.

A = Q R with Householder reflections on the block rows that begin at the same block column; Q is not kept. As
A' A = R' R,

    sigma_min(A) = 1 / ||R^{-1}||_2,

found by Lanczos on R^{-1} R^{-T}, to about eps cond(A): A' A is never formed.

Source: reduction of banded least squares problems by rows: Björck, Numerical Methods for Least Squares Problems (1996),
section 6.2.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["inverse_gram", "inverse_norm", "triangular_rows"]


def triangular_rows(lines: list[dict[int, Tensor]], size: int) -> list[Tensor]:
    """Return the block rows of R from the diagonal on.

    Args:
        lines: The block rows of A, each {block column: (any height, size)}; block columns left out are zero.
        size: Width of a block column.

    Returns:
        (size, size * blocks within the band) for each block column.
    """
    waiting = sorted((line for line in lines if line), key=min)
    columns = max(max(line) for line in waiting) + 1 if waiting else 0
    remainder, factor = torch.zeros(0, 0, dtype=torch.float64), list[Tensor]()
    for i in itertools.count():
        if i >= columns and not remainder.numel():
            return factor
        taken = list(itertools.takewhile(lambda line: min(line) == i, waiting))  # noqa: B023
        waiting = waiting[len(taken) :]
        end = max([i + remainder.shape[1] // size, i + 1, *(max(line) + 1 for line in taken)])
        stacked = [torch.nn.functional.pad(remainder, (0, (end - i) * size - remainder.shape[1]))]
        for line in taken:
            height = len(next(iter(line.values())))
            empty = torch.zeros(height, size, dtype=torch.float64)
            stacked.append(torch.cat([line.get(j, empty) for j in range(i, end)], 1))
        top, remainder = _eliminated(torch.cat(stacked), size)
        factor.append(top)
    raise AssertionError


def _eliminated(matrix: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Reduce the first `size` columns to a triangle; return its rows and what is left of the others."""
    reflections, scales = torch.geqrf(matrix[:, :size])
    rest = matrix[:, size:]
    if rest.numel():
        rest = torch.ormqr(reflections, scales, rest, left=True, transpose=True)
    top = torch.cat([reflections[:size].triu(), rest[:size]], 1)
    top = torch.nn.functional.pad(top, (0, 0, 0, max(0, size - len(top))))
    rest = rest[size:]
    if len(rest) > rest.shape[1]:  # a tall matrix: the remainder must not grow
        rest = torch.linalg.qr(rest, mode="r").R
    return top, rest


def inverse_gram(factor: list[Tensor], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return R^{-1} R^{-T} v, (A' A)^{-1} v."""
    right = torch.from_numpy(np.ascontiguousarray(vector)).reshape(-1, len(factor[0]))
    return _solve(factor, _solve_transposed(factor, right)).flatten().numpy()


def inverse_norm(factor: list[Tensor]) -> tuple[float, NDArray[np.float64]]:
    """Return ||R^{-1}||_2 and A's right singular vector of 1 / ||R^{-1}||; no pivot of R may be zero."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    dimension = len(factor) * len(factor[0])

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        return inverse_gram(factor, vector)

    if dimension <= 32:
        matrix = np.stack([product(e) for e in np.eye(dimension)])
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    else:
        inverse = LinearOperator((dimension, dimension), product, dtype=np.float64)  # pyright: ignore
        start = np.random.default_rng(0).standard_normal(dimension)
        values, vectors = eigsh(inverse, 1, which="LA", v0=start, tol=1e-13)  # pyright: ignore
    return float(values[-1] ** 0.5), vectors[:, -1]


def _solve_transposed(factor: list[Tensor], right: Tensor) -> Tensor:
    """Solve R' x = b for b (blocks, size)."""
    x, size = right.clone(), right.shape[1]
    for i, row in enumerate(factor):
        x[i] = torch.linalg.solve_triangular(row[:, :size].T, x[i, :, None], upper=False)[:, 0]
        reach = row.shape[1] // size
        x[i + 1 : i + reach] -= (x[i] @ row[:, size:]).view(-1, size)
    return x


def _solve(factor: list[Tensor], right: Tensor) -> Tensor:
    """Solve R x = b for b (blocks, size)."""
    x, size = right.clone(), right.shape[1]
    for i, row in reversed(list(enumerate(factor))):
        reach = row.shape[1] // size
        known = row[:, size:] @ x[i + 1 : i + reach].flatten()
        x[i] = torch.linalg.solve_triangular(row[:, :size], (x[i] - known)[:, None], upper=True)[:, 0]
    return x
