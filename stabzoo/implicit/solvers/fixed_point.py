"""The plain fixed-point iteration y <- b + weight * f(y)."""

from __future__ import annotations

from torch import Tensor

from stabzoo.implicit.solvers.problem import Problem

__all__ = ["fixed_point"]


def fixed_point(problem: Problem, y: Tensor) -> int:
    """Iterate from ``y``; returns the number of iterations.  Converges if the spectral radius of weight J is < 1."""
    iteration = 0
    while True:
        r = problem.residual(y)
        problem.judge(y, r)
        if problem.finished:
            return iteration
        y = problem.advance(y, r.add_(y))
        iteration += 1
