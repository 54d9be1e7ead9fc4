"""Anderson acceleration, safe for stiff steps: mixing by the stiffness that the differences show."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from stabzoo.implicit.problem import Problem
from stabzoo.implicit.report import Status

__all__ = ["WINDOW", "anderson"]

WINDOW = 5
"""Number of differences kept."""

REGULARIZATION = {torch.float32: 1e-7, torch.float64: 1e-14}
"""Added to a Gram matrix of unit diagonal, so relative: an absolute constant would average the history near the end."""


def anderson(problem: Problem, y: Tensor, *, patience: float = float("inf")) -> int:
    """Solve from ``y``; returns the number of iterations.

        y+ = (y - DY g) + m (r - DR g),    g = argmin ||r - DR g||,    m = min(1, 2 / (1 + max ||dr|| / ||dy||))

    over the last `WINDOW` differences.  As dr = -(I - weight J) dy, the ratio estimates the norm of I - weight J: for a
    stiff f (symmetric J < 0) m is the best step of the damped iteration, without which the iterates of a step with
    weight ||J|| = 10 leave the region where f is nearly linear.

    A sample whose rate predicts more than ``patience`` further evaluations is given up.

    Sources: Walker, Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49 (2011); the mixing is
    that of Richardson's iteration on a spectrum in [1, L].
    """
    batch, size = len(y), y[0].numel()
    steps, slopes = y.new_zeros(batch, WINDOW, size), y.new_zeros(batch, WINDOW, size)  # dy, dr over ||dr||
    gram = torch.eye(WINDOW, dtype=torch.float64, device=y.device).repeat(batch, 1, 1)
    regular = REGULARIZATION[y.dtype] * torch.eye(WINDOW, dtype=torch.float64, device=y.device)
    stiffness = y.new_zeros(batch, WINDOW)
    sizes: list[Tensor] = []
    before_y = before_r = None
    iteration = 0
    while True:
        r = problem.residual(y)
        sizes = [*sizes[-WINDOW:], problem.judge(y, r)]
        if iteration > WINDOW:
            give_up(problem, sizes, patience)
        if problem.finished:
            return iteration
        flat_y, flat_r = y.flatten(1), r.flatten(1)
        if before_y is None or before_r is None:
            new = flat_y + flat_r
        else:
            slot = (iteration - 1) % WINDOW
            torch.sub(flat_r, before_r, out=slopes[:, slot])
            torch.sub(flat_y, before_y, out=steps[:, slot])
            scale = torch.linalg.vector_norm(slopes[:, slot], dim=1, keepdim=True)
            scale = torch.where(scale > 0, scale, 1)
            slopes[:, slot] /= scale
            steps[:, slot] /= scale
            moved = torch.linalg.vector_norm(steps[:, slot], dim=1)
            stiffness[:, slot] = torch.where(moved > 0, 1 / moved, 0)
            products = torch.bmm(slopes, torch.stack((slopes[:, slot], flat_r), dim=2)).double()
            gram[:, slot, :] = gram[:, :, slot] = products[:, :, 0]
            weights, _ = torch.linalg.solve_ex(gram + regular, products[:, :, 1:])
            weights = weights.to(y.dtype)
            mixing = (2 / (1 + stiffness.amax(1))).clamp(max=1)[:, None]
            new = torch.baddbmm(flat_y[:, :, None], steps.mT, weights, alpha=-1)[:, :, 0]
            new += mixing * torch.baddbmm(flat_r[:, :, None], slopes.mT, weights, alpha=-1)[:, :, 0]
        before_y, before_r = flat_y, flat_r
        y = problem.advance(y, new.view_as(y))
        iteration += 1


def give_up(problem: Problem, sizes: list[Tensor], patience: float) -> None:
    """End the samples whose last residuals predict more than ``patience`` further evaluations."""
    if patience == float("inf"):
        return
    rate = (sizes[-1] / sizes[0]).log() / (len(sizes) - 1)
    needed = (problem.rtol * problem.scale / sizes[-1]).log() / rate.clamp(max=-1 / patience * log(10))
    problem.end(needed > patience, Status.STAGNATED)
