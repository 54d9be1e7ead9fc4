"""Newton-Krylov: inexact Newton steps, each by GMRES on finite differences, with a line search on ||r||."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stabzoo.implicit.report import Status
from stabzoo.implicit.solvers.batched import host
from stabzoo.implicit.solvers.gmres import gmres
from stabzoo.implicit.solvers.problem import Problem, norms, per_sample

__all__ = ["newton_krylov"]

HALVINGS = 6
"""Step lengths tried before a sample is given up: 1, 1/2, ..., 1/64."""


def newton_krylov(problem: Problem, y: Tensor, *, patience: int | NDArray[Any] | None = None) -> int:
    """Solve from ``y``; returns the number of Newton steps.

        (I - weight J) s ~ r by GMRES to ||r - (I - weight J) s|| <= eta ||r||,    y+ = y + t s

    J v is a difference of two values of f, one evaluation per Krylov vector; eta follows Eisenstat and Walker's second
    choice, no smaller than the last step needs.  t is halved, for each sample, until ||r|| decreases; a sample that no
    t helps has stagnated, and so has one whose residual halves more slowly than once in ``patience`` evaluations
    (of each sample its own, where it is an array).

    Source: Eisenstat, Walker, Choosing the forcing terms in an inexact Newton method, SIAM J. Sci. Comput. 17 (1996).
    """
    r = problem.residual(y)
    size = problem.judge(y, r)
    forcing = torch.full_like(size, 0.1)
    iteration = 0
    while not problem.finished:
        iteration += 1
        spent = problem.evaluations
        tolerance = np.maximum(host(forcing * size), 0.5 * problem.rtol * problem.scale)
        tolerance = np.where(problem.running, tolerance, np.inf)
        room = problem.limit - problem.evaluations - 1
        if room < 1:
            return iteration
        step = gmres(Jacobian(problem, y, r), r.flatten(1), tolerance, room).solution
        before = size
        y, r = search(problem, y, r, size, step.view_as(y))
        del step
        size = problem.judge(y, r)
        least = 1.0 if patience is None else 0.5 ** ((problem.evaluations - spent) / np.asarray(patience))
        problem.end(~(host(size) < least * host(before)), Status.STAGNATED)
        forcing = (0.9 * (size / before) ** 2).clamp(1e-3, 0.5)
    return iteration


def search(problem: Problem, y: Tensor, r: Tensor, size: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """The first y + t step, t = 1, 1/2, ..., that decreases ||r|| from ``size``, and its r; (y, r) where none does."""
    length = torch.ones_like(size)
    halvings = 0
    while True:
        new = problem.advance(y, y + per_sample(length, y) * step)
        new_r = problem.residual(new)
        new_size = norms(new_r)
        poor = problem.active & ~(new_size < (1 - 1e-4 * length) * size)
        if halvings == HALVINGS or problem.exhausted or not bool(poor.any()):
            break
        length = torch.where(poor, length / 2, length)
        halvings += 1
    poor = problem.active & ~(new_size < size)
    return torch.where(per_sample(poor, y), y, new), torch.where(per_sample(poor, r), r, new_r)


class Jacobian:
    """v -> weight J(y) v = v + (r(y + h v) - r(y)) / h."""

    def __init__(self, problem: Problem, y: Tensor, r: Tensor) -> None:
        self.problem, self.y, self.r = problem, y, r
        self.scale = problem.slope_eps**0.5 * (1 + norms(y)).view(-1, 1)

    def __call__(self, v: Tensor) -> Tensor:
        """(B, n) of unit norm -> (B, n)."""
        length = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        h = self.scale / torch.where(length > 0, length, 1)
        shifted = self.problem.residual(self.y + (h * v).view_as(self.y))
        return torch.add(v, shifted.sub_(self.r).flatten(1) / h)
