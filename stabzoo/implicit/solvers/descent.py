"""Minimisation of ||r||^2 / 2, as the paper solves the equation: gradient descent and nonlinear conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stabzoo.implicit.report import Status
from stabzoo.implicit.solvers.problem import Problem, norms, per_sample

__all__ = ["fletcher_reeves", "gradient_descent", "polak_ribiere"]

HALVINGS = 20

NEAR = 10.0
"""Solutions further than this many times ||y|| + ||b|| are not near."""


def gradient_descent(problem: Problem, y: Tensor) -> int:
    """Steepest descent; returns the number of iterations."""
    return descend(problem, y, lambda new, old: torch.zeros(len(new), device=new.device, dtype=new.dtype))


def fletcher_reeves(problem: Problem, y: Tensor) -> int:
    """Conjugate gradients with beta = |g+|^2 / |g|^2; returns the number of iterations."""
    return descend(problem, y, lambda new, old: inner(new, new) / inner(old, old))


def polak_ribiere(problem: Problem, y: Tensor, *, gives_up: bool = False) -> int:
    """Conjugate gradients with beta = max(0, g+ . (g+ - g) / |g|^2); returns the number of iterations."""
    return descend(problem, y, lambda new, old: (inner(new, new - old) / inner(old, old)).clamp(min=0), gives_up)


def descend(problem: Problem, y: Tensor, conjugacy: Callable[[Tensor, Tensor], Tensor], gives_up: bool = False) -> int:
    """Minimise ||r||^2 / 2 along d <- -g + beta d, g = -(I - weight J)^T r.

    The step length is that of Gauss-Newton, r . q / |q|^2 with q = (I - weight J) d by a difference of values of f, and
    halved until ||r|| decreases; where the first length fails the direction is reset to -g.

    To first order a solution y + s has r . (I - weight J) s = ||r||^2, so that ||s|| >= ||r||^2 / ||g||.  With
    ``gives_up`` a sample ends where that is not near: ||r|| has a minimum there that is not 0, or has it at infinity.
    """
    r, gradient = problem.gradient(y)
    size = problem.judge(y, r)
    direction = -gradient
    iteration = 0
    while True:
        if gives_up:
            reach = torch.from_numpy(problem.scale).to(y) + norms(y)
            problem.end(size * size > NEAR * reach * norms(gradient), Status.NO_SOLUTION_NEAR)
        if problem.finished:
            return iteration
        iteration += 1
        h = problem.slope_eps**0.5 * (1 + norms(y)) / norms(direction).clamp(min=torch.finfo(y.dtype).tiny)
        image = (r - problem.residual(y + per_sample(h, y) * direction)) / per_sample(h, y)
        length = inner(r, image) / inner(image, image).clamp(min=torch.finfo(y.dtype).tiny)
        before, before_size, before_gradient = y, size, gradient
        for _ in range(HALVINGS):
            y = problem.advance(before, before + per_sample(length, y) * direction)
            r, gradient = problem.gradient(y)
            size = norms(r)
            poor = problem.active & ~(size < before_size)
            if problem.exhausted or not bool(poor.any()):
                break
            length = torch.where(poor, length / 2, length)
        problem.judge(y, r)
        problem.end(problem.active & ~(size < before_size), Status.STAGNATED)
        beta = torch.nan_to_num(conjugacy(gradient, before_gradient), 0.0, 0.0, 0.0)
        direction = per_sample(beta, y) * direction - gradient
        uphill = inner(direction, gradient) >= 0
        direction = torch.where(per_sample(uphill, y), -gradient, direction)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Inner product of each sample, (B,)."""
    return (a * b).flatten(1).sum(1)
