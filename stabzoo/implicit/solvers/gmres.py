"""Restarted GMRES for a batch of independent systems, each with a tolerance and an end of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stabzoo.implicit.solvers.batched import combination, host, inner_products, lengths, workspace

__all__ = ["DIMENSION", "Krylov", "gmres"]

DIMENSION = 20
"""Most basis vectors before a restart."""


CANCELLATION = 0.1
"""A vector that loses more than this of its length to the basis is orthogonalised again."""

HUGE = 1e150
"""Stands for infinity where a space holds the solution: finite, for zeros are multiplied with it."""


class Krylov(NamedTuple):
    """What a cycle found: ``solution`` (B, n), the norm of the residual by the recurrence (B,), and products used."""

    solution: Tensor
    residual: NDArray[Any]
    products: int


def gmres(apply: Callable[[Tensor], Tensor], rhs: Tensor, tolerance: NDArray[Any], limit: int) -> Krylov:
    """One cycle for (I - M) x = rhs: the least residual over the Krylov space, until it is at most ``tolerance`` (B,)
    in every sample, or ``limit`` products were used.

    ``apply`` maps v (B, n) to M v (B, n), sample by sample; a sample that has met its tolerance has its space closed,
    so that its solution does not depend on the others of the batch.

    With null the vector for which null H = 0 and null_0 = 1, the least residual is ||rhs|| / ||null||.

    Source: Saad, Iterative methods for sparse linear systems, section 6.5.
    """
    batch, size = rhs.shape
    dimension = min(DIMENSION, limit)
    # all of it at once, so that memory does not grow; (B, K, n) in which every vector of the batch is contiguous
    basis = workspace(rhs, DIMENSION + 1, batch, size).transpose(0, 1)
    hessenberg, null = np.zeros((batch, dimension + 1, dimension)), np.eye(1, dimension + 1).repeat(batch, 0)
    start = host(lengths(rhs))
    normalize(rhs, start, basis[:, 0])
    residual = start
    alive = np.isfinite(start)
    products = 0
    while products < dimension and (opened := alive & (residual > tolerance)).any():
        k = products
        w = apply(basis[:, k])
        products += 1
        overlap = inner_products(basis[:, : k + 1], w)
        w = torch.baddbmm(w[:, None], overlap[:, None], basis[:, : k + 1], alpha=-1)[:, 0]
        length, h = host(lengths(w)), host(overlap)
        lost = length < CANCELLATION * np.hypot(np.linalg.norm(h, axis=1), length)  # the length of w before
        if lost.any():
            selected = torch.from_numpy(lost).to(rhs.device)[:, None]
            again = torch.where(selected, inner_products(basis[:, : k + 1], w), 0)
            w = torch.baddbmm(w[:, None], again[:, None], basis[:, : k + 1], alpha=-1)[:, 0]
            length, h = host(lengths(w)), h + host(again)
        normalize(w, length, basis[:, k + 1])
        # the matrix of I - M in the basis; a closed space gains a column that the right-hand side does not see
        hessenberg[:, : k + 1, k] = np.where(opened[:, None], -h, 0)
        hessenberg[:, k, k] += opened
        hessenberg[:, k + 1, k] = np.where(opened, -length, 1)
        # what the new column determines of the left null vector; NaN at a breakdown: the space is complete
        seen = np.einsum("bi,bi->b", null[:, : k + 1], hessenberg[:, : k + 1, k])
        component = -seen / hessenberg[:, k + 1, k]
        usable = np.isfinite(seen) & ~np.isnan(component)
        null[:, k + 1] = np.where(usable, np.clip(component, -HUGE, HUGE), 0)
        residual = np.where(opened & usable, start / np.linalg.norm(null[:, : k + 2], axis=1), residual)
        if not usable.all():
            alive = alive & usable
            hessenberg[:, : k + 1, k] = np.where(usable[:, None], hessenberg[:, : k + 1, k], 0)
            hessenberg[:, k + 1, k] = np.where(usable, hessenberg[:, k + 1, k], 1)
    if products == 0:
        return Krylov(torch.zeros_like(rhs), residual, 0)
    q, r = (torch.from_numpy(x) for x in np.linalg.qr(hessenberg[:, : products + 1, :products]))
    reduced = torch.from_numpy(start)[:, None, None] * q[:, :1].mT
    weights = torch.linalg.solve_triangular(r, reduced, upper=True)[:, :, 0]
    return Krylov(combination(weights.to(rhs), basis[:, :products]), residual, products)


def normalize(x: Tensor, length: NDArray[Any], out: Tensor) -> None:
    """Write x / length to ``out``, x itself where the length is 0."""
    torch.div(x, torch.from_numpy(np.where(length > 0, length, 1)).to(x)[:, None], out=out)
