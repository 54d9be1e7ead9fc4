"""Anderson acceleration, safe for stiff steps: mixing by the stiffness that the differences show."""

from __future__ import annotations

import torch
from torch import Tensor

from stabzoo.implicit.batched import combination, inner_products, lengths
from stabzoo.implicit.problem import Problem
from stabzoo.implicit.report import Status

__all__ = ["WINDOW", "anderson"]

WINDOW = 8
"""Number of differences kept: 5 do as well for real spectra; oscillatory f (imaginary spectra) need more."""

PATIENCE = 20
"""Evaluations over which a residual must halve, where there is another method to turn to."""

REGULARIZATION = {torch.float32: 1e-7, torch.float64: 1e-14}
"""Added to a Gram matrix of unit diagonal, so relative: an absolute constant would average the history near the end."""


def anderson(problem: Problem, y: Tensor, *, gives_up: bool = False) -> int:
    """Solve from ``y``; returns the number of iterations.

        y+ = (y - DY g) + m (r - DR g),    g = argmin ||r - DR g||,    m = min(1, 2 / (1 + max ||dr|| / ||dy||))

    over the last `WINDOW` differences.  As dr = -(I - weight J) dy, the ratio estimates the norm of I - weight J: for a
    stiff f (symmetric J < 0) m is the best step of the damped iteration, without which the iterates of a step with
    weight ||J|| = 10 leave the region where f is nearly linear.

    With ``gives_up`` a sample whose residual has not halved over `PATIENCE` evaluations has stagnated.

    Sources: Walker, Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49 (2011); the mixing is
    that of Richardson's iteration on a spectrum in [1, L].
    """
    batch, size = y.flatten(1).shape
    steps, slopes = y.new_empty(batch, WINDOW, size), y.new_empty(batch, WINDOW, size)  # dy, dr over ||dr||
    gram = torch.eye(WINDOW, dtype=torch.float64, device=y.device).repeat(batch, 1, 1)
    regular = REGULARIZATION[y.dtype] * torch.eye(WINDOW, dtype=torch.float64, device=y.device)
    stiffness = y.new_zeros(batch, WINDOW)
    sizes: list[Tensor] = []
    before_y = before_r = None
    iteration = 0
    while True:
        r = problem.residual(y)
        sizes = [*sizes[-PATIENCE:], problem.judge(y, r)]
        if gives_up:
            give_up(problem, sizes)
        if problem.finished:
            return iteration
        flat_y, flat_r = y.flatten(1), r.flatten(1)
        if before_y is None or before_r is None:
            new = flat_y + flat_r
        else:
            slot, kept = (iteration - 1) % WINDOW, min(iteration, WINDOW)
            change, moved = flat_r - before_r, flat_y - before_y
            scale = lengths(change)[:, None]
            scale = torch.where(scale > 0, scale, 1)
            torch.div(change, scale, out=change)
            slopes[:, slot] = change
            torch.div(moved, scale, out=steps[:, slot])
            length = lengths(moved)
            stiffness[:, slot] = torch.where(length > 0, scale[:, 0] / length, 0)
            gram[:, slot, :kept] = gram[:, :kept, slot] = inner_products(slopes[:, :kept], change).double()
            system = gram[:, :kept, :kept] + regular[:kept, :kept]
            overlap = inner_products(slopes[:, :kept], flat_r).double()
            weights = torch.linalg.solve_ex(system, overlap[:, :, None])[0][:, :, 0].to(y.dtype)
            mixing = (2 / (1 + stiffness.amax(1))).clamp(max=1)[:, None]
            new = flat_y - combination(weights, steps[:, :kept])
            new += mixing * (flat_r - combination(weights, slopes[:, :kept]))
        before_y, before_r = flat_y, flat_r
        y = problem.advance(y, new.view_as(y))
        iteration += 1


def give_up(problem: Problem, sizes: list[Tensor]) -> None:
    """End the samples whose residual has not halved over `PATIENCE` evaluations."""
    if len(sizes) > PATIENCE:
        problem.end(sizes[-1] > 0.5 * sizes[0], Status.STAGNATED)
