"""Anderson acceleration, safe for stiff steps: mixing by the stiffness that the differences show."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stabzoo.implicit.report import Status
from stabzoo.implicit.solvers.batched import host, inner_products, workspace
from stabzoo.implicit.solvers.problem import Problem

__all__ = ["WINDOW", "anderson"]

WINDOW = 12
"""Number of differences kept: 5 do as well for mild real spectra; stiff and oscillatory f need more."""

FIRST_MIXING = 2 / 3
"""The mixing of the first iteration, before differences show a stiffness: the best for weight ||J|| = 1, L = 2.

A full step spans the same Krylov space, but goes further from where f is nearly linear: at norms from 0.9 it takes up
to five evaluations more (64 channels, norm 10, theta 1: 37 instead of 32).
"""

TURNED = 0.25
"""Cosine of the angle between dy and dr below which I - weight J turns more than it stretches: 1/L for oscillators."""

REGULARIZATION = {torch.float32: 1e-7, torch.float64: 1e-14}
"""Added to the Gram matrix of unit vectors: an absolute constant would average the history near the end."""


def anderson(problem: Problem, y: Tensor | None = None, *, patience: int | None = None) -> int:
    """Solve from ``y``, without it from the best iterate so far; returns the number of iterations.

        y+ = (y - DY g) + m (r - DR g),    g = argmin ||r - DR g||,    m = min(1, 2 / (1 + max ||dr|| / ||dy||))

    over the last `WINDOW` differences.  As dr = -(I - weight J) dy, the ratio estimates the norm of I - weight J: for a
    stiff f (symmetric J < 0) m is the best step of the damped iteration, without which the iterates of a step with
    weight ||J|| = 10 leave the region where f is nearly linear.

    A sample whose residual has not halved over ``patience`` evaluations has stagnated; with a ``y``, so has one whose
    first difference dr is nearly at right angles to dy.  There the spectrum of weight J is close to an imaginary
    interval, on which no mixing contracts, and with more unknowns than a window holds the differences do not span it.

    Sources: Walker, Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49 (2011); the mixing is
    that of Richardson's iteration on a spectrum in [1, L].
    """
    turns = patience is not None and y is not None
    y = problem.best.clone() if y is None else y
    batch, size = y.flatten(1).shape
    turns = turns and size > WINDOW
    window = workspace(y, batch, WINDOW, 2, size)  # dy and dr, in turn
    slopes = window[:, :, 1]
    regular = REGULARIZATION[y.dtype] * np.eye(WINDOW)
    gram, scale, stiffness = np.zeros((batch, WINDOW, WINDOW)), np.zeros((batch, WINDOW)), np.zeros((batch, WINDOW))
    overlap = np.zeros((batch, 0))
    sizes: list[Tensor] = []
    before_y = before_r = None
    iteration = 0
    while True:
        r = problem.residual(y)
        size = problem.judge(y, r)
        if patience:
            sizes = [*sizes[-patience:], size]
            if len(sizes) > patience:
                problem.end(size > 0.5 * sizes[0], Status.STAGNATED)
        if problem.finished:
            return iteration
        flat_y, flat_r = y.flatten(1), r.flatten(1)
        if before_y is None or before_r is None:
            new = torch.add(flat_y, flat_r, alpha=FIRST_MIXING)
        else:
            slot, kept = (iteration - 1) % WINDOW, min(iteration, WINDOW)
            torch.sub(flat_y, before_y, out=window[:, slot, 0])
            torch.sub(flat_r, before_r, out=window[:, slot, 1])
            moved, scale[:, slot] = host(torch.linalg.vector_norm(window[:, slot], dim=2)).T
            if turns and iteration == 1:
                cosine = -host((window[:, 0, 0] * window[:, 0, 1]).sum(1)) / (moved * scale[:, 0])
                problem.turned = problem.running & (np.abs(cosine) < TURNED)
                problem.end(problem.turned, Status.STAGNATED)
                if problem.finished:
                    return iteration
            stiffness[:, slot] = np.divide(scale[:, slot], moved, out=np.zeros(batch), where=moved > 0)
            # DR r before and after: their difference is the row DR dr of the Gram matrix, and costs no second product
            previous, overlap = overlap, host(inner_products(slopes[:, :kept], flat_r))
            known = previous.shape[1]
            gram[:, slot, :known] = gram[:, :known, slot] = overlap[:, :known] - previous
            gram[:, slot, slot] = scale[:, slot] ** 2
            unit = np.divide(1, scale, out=np.ones_like(scale), where=scale > 0)[:, :kept]
            system = unit[:, :, None] * gram[:, :kept, :kept] * unit[:, None, :] + regular[:kept, :kept]
            solution = torch.linalg.solve_ex(*map(torch.from_numpy, (system, (unit * overlap)[:, :, None])))[0]
            weights = unit * solution.numpy()[:, :, 0]
            mixing = np.minimum(2 / (1 + stiffness.max(1)), 1)[:, None]
            factors = torch.from_numpy(np.stack([weights, mixing * weights], 2).reshape(batch, 1, -1)).to(y)
            new = torch.addcmul(flat_y, torch.from_numpy(mixing).to(y), flat_r)[:, None]
            new.baddbmm_(factors, window[:, :kept].flatten(1, 2), alpha=-1)
        before_y, before_r = flat_y, flat_r
        y = problem.advance(y, new.view_as(y))
        iteration += 1
