"""Restarted GMRES for a batch of independent systems, each with a tolerance and an end of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stabzoo.implicit.batched import combination, inner_products, lengths

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

    Source: Saad, Iterative methods for sparse linear systems, section 6.5 (Givens rotations).
    """
    batch, size = rhs.shape
    kind = {"dtype": torch.float64, "device": rhs.device}
    dimension = min(DIMENSION, limit)
    basis = rhs.new_empty(batch, DIMENSION + 1, size)  # all of it at once: memory does not grow
    triangle = torch.eye(dimension, **kind).repeat(batch, 1, 1)
    rotated = torch.zeros(batch, dimension + 1, **kind)
    cosines, sines = torch.zeros(batch, dimension, **kind), torch.zeros(batch, dimension, **kind)
    start = lengths(rhs)
    basis[:, 0] = rhs / torch.where(start > 0, start, 1)[:, None]
    rotated[:, 0] = start
    residual = start.double()
    alive = residual.isfinite()
    products = 0
    for k in range(dimension):
        open_ = alive & (residual > tolerance)
        if not bool(open_.any()):
            break
        w = apply(basis[:, k])
        products += 1
        before = lengths(w)
        h = inner_products(basis[:, : k + 1], w)
        w = torch.baddbmm(w[:, None], h[:, None], basis[:, : k + 1], alpha=-1)[:, 0]
        length = lengths(w)
        lost = length < CANCELLATION * before
        if bool(lost.any()):
            again = torch.where(lost[:, None], inner_products(basis[:, : k + 1], w), 0)
            w = torch.baddbmm(w[:, None], again[:, None], basis[:, : k + 1], alpha=-1)[:, 0]
            length, h = lengths(w), h + again
        torch.div(w, torch.where(length > 0, length, 1)[:, None], out=basis[:, k + 1])
        column = torch.zeros(batch, dimension + 1, **kind)
        column[:, : k + 1] = -h.double()
        column[:, k] += 1
        column[:, k + 1] = -length.double()
        for i in range(k):
            upper, lower = column[:, i].clone(), column[:, i + 1].clone()
            column[:, i] = cosines[:, i] * upper + sines[:, i] * lower
            column[:, i + 1] = cosines[:, i] * lower - sines[:, i] * upper
        radius = torch.hypot(column[:, k], column[:, k + 1])
        safe = torch.where(radius > 0, radius, 1)
        cosines[:, k], sines[:, k] = column[:, k] / safe, column[:, k + 1] / safe
        column[:, k] = radius
        usable = open_ & (radius > 0) & radius.isfinite()
        triangle[:, :, k] = torch.where(usable[:, None], column[:, :dimension], triangle[:, :, k])
        following = -sines[:, k] * rotated[:, k]
        rotated[:, k + 1] = torch.where(usable, following, 0)
        rotated[:, k] = torch.where(usable, cosines[:, k] * rotated[:, k], 0)
        residual = torch.where(usable, following.abs(), residual)
        alive &= usable | ~open_  # a breakdown: the space is complete
    found = slice(products)
    weights = torch.linalg.solve_triangular(triangle[:, found, found], rotated[:, found, None], upper=True)[:, :, 0]
    solution = combination(weights.to(rhs.dtype), basis[:, found])
    return Krylov(solution, residual.to(rhs.dtype), products)
