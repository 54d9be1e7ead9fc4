"""Newton-Krylov: inexact Newton steps, each by GMRES on finite differences, with a line search on ||r||."""

from __future__ import annotations

import torch
from torch import Tensor

from stabzoo.implicit.gmres import DIMENSION, gmres
from stabzoo.implicit.problem import Problem, norms, per_sample
from stabzoo.implicit.report import Status

__all__ = ["newton_krylov"]

HALVINGS = 6
"""Step lengths tried before a sample is given up: 1, 1/2, ..., 1/64."""


def newton_krylov(problem: Problem, y: Tensor) -> int:
    """Solve from ``y``; returns the number of Newton steps.

        (I - weight J) s ~ r by GMRES to ||r - (I - weight J) s|| <= eta ||r||,    y+ = y + t s

    J v is a difference of two values of f, one evaluation per Krylov vector; eta follows Eisenstat and Walker's second
    choice, no smaller than the last step needs.  t is halved, for each sample, until ||r|| decreases; a sample that no
    t helps has stagnated.

    Source: Eisenstat, Walker, Choosing the forcing terms in an inexact Newton method, SIAM J. Sci. Comput. 17 (1996).
    """
    r = problem.residual(y)
    size = problem.judge(y, r)
    forcing = torch.full_like(size, 0.1)
    iteration = 0
    while not problem.finished:
        iteration += 1
        tolerance = torch.maximum(forcing * size, 0.5 * problem.rtol * problem.scale)
        tolerance = torch.where(problem.active, tolerance, float("inf"))
        room = problem.limit - problem.evaluations - 1
        if room < 1:
            return iteration
        step = gmres(Jacobian(problem, y, r), r.flatten(1), tolerance, min(DIMENSION, room)).solution.view_as(y)
        before_y, before_size, before_r = y, size, r
        length = torch.ones_like(size)
        for _ in range(HALVINGS + 1):
            y = problem.advance(before_y, before_y + per_sample(length, y) * step)
            r = problem.residual(y)
            size = norms(r)
            poor = problem.active & ~(size < (1 - 1e-4 * length) * before_size)
            if problem.exhausted or not bool(poor.any()):
                break
            length = torch.where(poor, length / 2, length)
        poor = problem.active & ~(size < before_size)
        y = torch.where(per_sample(poor, y), before_y, y)
        r = torch.where(per_sample(poor, r), before_r, r)
        size = problem.judge(y, r)
        problem.end(poor & (size > 0), Status.STAGNATED)
        forcing = (0.9 * (size / before_size) ** 2).clamp(1e-3, 0.5)
    return iteration


class Jacobian:
    """v -> (I - weight J(y)) v = -(r(y + h v) - r(y)) / h."""

    def __init__(self, problem: Problem, y: Tensor, r: Tensor) -> None:
        self.problem, self.y, self.r = problem, y, r
        self.scale = problem.slope_eps**0.5 * (1 + norms(y)).view(-1, 1)

    def __call__(self, v: Tensor) -> Tensor:
        """(B, n) of unit norm -> (B, n)."""
        length = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        h = self.scale / torch.where(length > 0, length, 1)
        shifted = self.problem.residual(self.y + (h * v).view_as(self.y))
        return (self.r - shifted).flatten(1) / h
