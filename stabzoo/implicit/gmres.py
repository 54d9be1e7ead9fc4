"""Restarted GMRES for a batch of independent systems, each with a tolerance and an end of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stabzoo.implicit.batched import combination, inner_products, lengths, workspace

__all__ = ["DIMENSION", "Krylov", "gmres"]

DIMENSION = 20
"""Most basis vectors before a restart."""


CANCELLATION = 0.1
"""A vector that loses more than this of its length to the basis is orthogonalised again."""


class Krylov(NamedTuple):
    """What a cycle found: ``solution`` (B, n), the norm of the residual by the recurrence (B,), and products used."""

    solution: Tensor
    residual: Tensor
    products: int


def gmres(apply: Callable[[Tensor], Tensor], rhs: Tensor, tolerance: Tensor, limit: int) -> Krylov:
    """One cycle for (I - M) x = rhs: the least residual over the Krylov space, until it is at most ``tolerance`` (B,)
    in every sample, or ``limit`` products were used.

    ``apply`` maps v (B, n) to M v (B, n), sample by sample; a sample that has met its tolerance has its space closed,
    so that its solution does not depend on the others of the batch.

    Source: Saad, Iterative methods for sparse linear systems, section 6.5.
    """
    batch, size = rhs.shape
    dimension = min(DIMENSION, limit)
    # all of it at once, so that memory does not grow; (B, K, n) in which every vector of the batch is contiguous
    basis = workspace(rhs, DIMENSION + 1, batch, size).transpose(0, 1)
    hessenberg = torch.zeros(batch, dimension + 1, dimension, dtype=torch.float64, device=rhs.device)
    start = lengths(rhs)
    torch.div(rhs, torch.where(start > 0, start, 1)[:, None], out=basis[:, 0])
    residual = start
    alive = start.isfinite()
    products = 0
    while products < dimension and bool((opened := alive & (residual > tolerance)).any()):
        k = products
        w = apply(basis[:, k])
        products += 1
        h = inner_products(basis[:, : k + 1], w)
        w = torch.baddbmm(w[:, None], h[:, None], basis[:, : k + 1], alpha=-1)[:, 0]
        length = lengths(w)
        before = torch.hypot(lengths(h), length)  # of w, by Pythagoras
        lost = length < CANCELLATION * before
        if bool(lost.any()):
            again = torch.where(lost[:, None], inner_products(basis[:, : k + 1], w), 0)
            w = torch.baddbmm(w[:, None], again[:, None], basis[:, : k + 1], alpha=-1)[:, 0]
            length, h = lengths(w), h + again
        torch.div(w, torch.where(length > 0, length, 1)[:, None], out=basis[:, k + 1])
        # the matrix of I - M in the basis; a closed space gains a column that the right-hand side does not see
        hessenberg[:, : k + 1, k] = torch.where(opened[:, None], -h, 0)
        hessenberg[:, k, k] += opened
        hessenberg[:, k + 1, k] = torch.where(opened, -length, 1)
        q, r = torch.linalg.qr(hessenberg[:, : k + 2, : k + 1], mode="complete")
        usable = (r[:, k, k] != 0) & r[:, k, k].isfinite()
        residual = torch.where(opened & usable, start * q[:, 0, -1].abs().to(start.dtype), residual)
        if not bool(usable.all()):  # a breakdown: the space is complete
            alive = alive & usable
            hessenberg[:, : k + 1, k] = torch.where(usable[:, None], hessenberg[:, : k + 1, k], 0)
            hessenberg[:, k + 1, k] = torch.where(usable, hessenberg[:, k + 1, k], 1)
    if products == 0:
        return Krylov(torch.zeros_like(rhs), residual, 0)
    q, r = torch.linalg.qr(hessenberg[:, : products + 1, :products])
    weights = torch.linalg.solve_triangular(r, start[:, None, None] * q[:, :1].mT, upper=True)[:, :, 0]
    return Krylov(combination(weights.to(rhs.dtype), basis[:, :products]), residual, products)
