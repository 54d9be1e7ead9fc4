"""The smallest singular value of a zero-padded convolution: block QR in the order of image rows, inverse Lanczos on R.

It lies far below that of the periodic convolution and no bound relates the two. T (or T', if T has fewer rows than
columns) is block banded, T = Q R with Householder reflections on a few image rows at a time, and

    sigma_min(T)^2 = 1 / lambda_max(R^{-1} R^{-T}).

T' T is never formed, so sigma_min is found to about eps cond(T), not eps cond(T)^2. The value is converged, not proved.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from stabzoo.diagnostics.measurement import Measurement
from stabzoo.diagnostics.operators import ConvOperator
from stabzoo.diagnostics.zero_padding import row_matrix

__all__ = ["MAX_BLOCK", "smallest_singular_value"]

MAX_BLOCK = 1024
"""Largest n2 c of one image row. The cost is about 20 n1 (n2 c)^3 operations."""


@torch.no_grad()
def smallest_singular_value(operator: ConvOperator) -> Measurement:
    """Return sigma_min, the least of all min(rows, columns) singular values, of a zero-padded convolution.

    Raises:
        ValueError: The padding is not with zeros, or an image row has more than `MAX_BLOCK` entries.
    """
    if operator.mode != "zeros" and any(itertools.chain(*operator.padding)):
        raise ValueError(f"expected zero padding, got {operator.mode!r}")
    values = [_smallest_of_block(operator.group(g)) for g in range(operator.groups)]
    return Measurement(min(values), "converged", "block QR, inverse Lanczos")


def _smallest_of_block(operator: ConvOperator) -> float:
    from scipy.sparse.linalg import LinearOperator, eigsh

    rows, columns = operator.dimensions
    lines, size = _lines(operator, transposed=rows < columns)
    if size > MAX_BLOCK:
        raise ValueError(
            f"an image row of the {operator.grid[0]}x{operator.grid[1]} grid has {size} entries: expected at most "
            f"{MAX_BLOCK} (block QR would take too long); ask for a smaller input"
        )
    factor = _triangular_rows(lines, size)
    dimension = min(rows, columns)
    if len(factor) * size < dimension or any(not row[:, :size].diagonal().all() for row in factor):
        return 0.0  # pixels that no tap reads, or a singular R

    def product(vector: np.ndarray) -> np.ndarray:
        return _solve(factor, _solve_transposed(factor, torch.from_numpy(vector).reshape(-1, size))).flatten().numpy()

    if dimension <= 32:
        matrix = np.stack([product(e) for e in np.eye(dimension)])
        return float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[-1] ** -0.5)
    inverse = LinearOperator((dimension, dimension), product, dtype=np.float64)  # pyright: ignore
    start = np.random.default_rng(0).standard_normal(dimension)
    values = eigsh(inverse, 1, which="LA", v0=start, tol=1e-13, return_eigenvectors=False)  # pyright: ignore
    return float(values[0] ** -0.5)


def _lines(operator: ConvOperator, transposed: bool) -> tuple[list[dict[int, Tensor]], int]:
    """Return the block rows of T or T', as {block column: matrix}, and the width of a block column."""
    matrices = [row_matrix(operator, a) for a in range(operator.weight.shape[2])]
    outputs, inputs = operator.output_grid[0], operator.grid[0]
    lines: list[dict[int, Tensor]] = [{} for _ in range(inputs if transposed else outputs)]
    for y, (a, matrix) in itertools.product(range(outputs), enumerate(matrices)):
        r = operator.stride[0] * y + operator.dilation[0] * a - operator.padding[0][0]
        if 0 <= r < inputs:
            lines[r if transposed else y][y if transposed else r] = matrix.T if transposed else matrix
    return lines, matrices[0].shape[0 if transposed else 1]


def _triangular_rows(lines: list[dict[int, Tensor]], size: int) -> list[Tensor]:
    """Return the block rows of R from the diagonal on: (size, size * blocks within the band)."""
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
        r = torch.linalg.qr(torch.cat(stacked), mode="r").R
        top = torch.nn.functional.pad(r[:size], (0, 0, 0, max(0, size - len(r))))
        factor.append(top)
        remainder = r[size:, size:]
    raise AssertionError


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
