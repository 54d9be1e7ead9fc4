"""Broyden's good method, with limited memory."""

from __future__ import annotations

import torch
from torch import Tensor

from stabzoo.implicit.solvers.batched import combination, inner_products, lengths
from stabzoo.implicit.solvers.problem import Problem

__all__ = ["broyden"]

MEMORY = 10
"""Rank-one updates kept; when they are full the method restarts from the identity."""


def broyden(problem: Problem, y: Tensor) -> int:
    """Solve from ``y``; returns the number of iterations.

        y+ = y + s,  s = H r,    H <- H + (dy - H dr') (dy^T H) / (dy^T H dr'),    dr' = r - r+,  H = I at first

    Source: Kelley, Iterative methods for linear and nonlinear equations, chapter 7.
    """
    batch, size = y.flatten(1).shape
    left, right = y.new_zeros(batch, MEMORY, size), y.new_zeros(batch, MEMORY, size)  # H = I + sum left right^T
    r = problem.residual(y)
    problem.judge(y, r)
    iteration, kept = 0, 0
    step = r.flatten(1)
    while not problem.finished:
        new = problem.advance(y, y + step.view_as(y))
        before, moved = r.flatten(1), (new - y).flatten(1)
        y = new
        r = problem.residual(y)
        problem.judge(y, r)
        iteration += 1
        if kept == MEMORY:
            left.zero_()
            right.zero_()
            kept = 0
        change = before - r.flatten(1)
        image = change + combine(left, right, change)
        row = moved + combine(right, left, moved)  # dy^T H
        scale = (row * change).sum(1, keepdim=True)
        usable = scale.abs() > torch.finfo(y.dtype).eps * (lengths(row) * lengths(change))[:, None]
        left[:, kept] = torch.where(usable, (moved - image) / torch.where(usable, scale, 1), 0)
        right[:, kept] = row
        kept += 1
        flat = r.flatten(1)
        step = flat + combine(left, right, flat)
    return iteration


def combine(left: Tensor, right: Tensor, x: Tensor) -> Tensor:
    """sum_k left_k (right_k . x), of (B, K, n), (B, K, n) and (B, n)."""
    return combination(inner_products(right, x), left)
