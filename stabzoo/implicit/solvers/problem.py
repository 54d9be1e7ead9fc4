"""The equations of one batch: residuals are counted, judged sample by sample, and the best iterate is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stabzoo.implicit.report import SolveReport, Status
from stabzoo.implicit.solvers.batched import host, lengths

__all__ = ["Problem", "norms", "unit_roundoff"]

FLOOR = 0.25
"""Rounding errors spread evenly over an interval of eps have the standard deviation 0.29 eps; a little less."""

PATIENCE = 20
"""Residuals in a row that are no better than the best by a percent, after which a sample has stagnated."""

EXPLOSION = 1e6
"""A residual this many times the first has diverged."""

FAR = 2.0
"""An iterate longer than FAR ||b|| / sqrt(eps) has diverged: rounding hides its residual below sqrt(eps) ||b||."""


def norms(x: Tensor) -> Tensor:
    """Euclidean norm of each sample, (B,)."""
    return lengths(x.flatten(1))


def per_sample(mask: Tensor, x: Tensor) -> Tensor:
    """``mask`` (B,) in a shape that broadcasts with ``x`` (B, ...)."""
    return mask.view(-1, *[1] * (x.dim() - 1))


def unit_roundoff(value: Tensor) -> float:
    """The spacing of floating-point numbers at 1 in the type that the values of ``f`` have."""
    return torch.finfo(value.dtype).eps


class Problem:
    """y = b + weight * f(y) for every sample of a batch.

    A solver asks for `residual` of an iterate and hands both to `judge`; samples that have ended are no longer
    ``running``, and their value must not change (`advance` sees to it).

    Attributes:
        b: (B, ...), of float32 or float64.
        weight: The weight of the new slope.
        best: The iterate of least residual of every sample, (B, ...).
        status: `Status` of every sample, (B,), like all that is decided sample by sample in numpy.
        evaluations: How often f was evaluated.
        turned: Which samples have shown that the slope mostly turns the state, (B,): Krylov spaces suit them.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], b: Tensor, weight: float, rtol: float, limit: int) -> None:
        self.function, self.b, self.weight, self.rtol, self.limit = function, b, weight, rtol, limit
        self.scale = host(norms(b))
        self.status = np.where(np.isfinite(self.scale), int(Status.RUNNING), int(Status.NONFINITE))
        self.best = b.clone()
        self.best_norm = np.full_like(self.scale, np.inf)
        self.first_norm: NDArray[Any] | None = None
        self.waited = np.zeros_like(self.status)
        self.turned = np.zeros_like(self.scale, dtype=bool)
        self.evaluations = 0
        self.noise = np.zeros_like(self.scale)
        self.eps = unit_roundoff(b)
        self.slope_eps = self.eps

    @property
    def running(self) -> NDArray[Any]:
        """Which samples are still being solved, (B,)."""
        return self.status == int(Status.RUNNING)

    @property
    def given_up(self) -> NDArray[Any]:
        """Which samples a method has given up that another may solve, (B,)."""
        failed = (self.status >= Status.STAGNATED) & (self.status != Status.FLOOR_LIMITED)
        return failed & (self.status != Status.NO_SOLUTION_NEAR) & np.isfinite(self.scale)

    @property
    def active(self) -> Tensor:
        """``running`` on the device of b, (B,)."""
        return torch.from_numpy(self.running).to(self.b.device)

    @property
    def finished(self) -> bool:
        """Whether no sample is left, or no evaluation."""
        return self.exhausted or not self.running.any()

    @property
    def exhausted(self) -> bool:
        """Whether all evaluations have been used."""
        return self.evaluations >= self.limit

    def residual(self, y: Tensor) -> Tensor:
        """The residual r = b + weight * f(y) - y, one evaluation."""
        self.evaluations += 1
        slope = self.function(y)
        self.slope_eps = max(self.eps, unit_roundoff(slope))
        return torch.add(self.b, slope.to(self.b.dtype), alpha=self.weight).sub_(y)

    def gradient(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(r, gradient of ||r||^2 / 2), two evaluations: of f and of a vector-Jacobian product."""
        with torch.enable_grad():
            point = y.detach().requires_grad_()
            slope = self.function(point)
        self.slope_eps = max(self.eps, unit_roundoff(slope))
        r = torch.add(self.b, slope.detach().to(self.b.dtype), alpha=self.weight).sub_(y)
        self.evaluations += 2
        if not slope.requires_grad:  # f is constant
            return r, -r
        (pulled,) = torch.autograd.grad(slope, point, r.to(slope.dtype), materialize_grads=True)
        return r, torch.sub(r, pulled, alpha=self.weight).neg_()

    def judge(self, y: Tensor, r: Tensor) -> Tensor:
        """Compare the residual ``r`` of ``y`` with the tolerance; returns ||r|| (B,)."""
        length = norms(r)
        size, active = host(length), self.running
        if self.first_norm is None:
            self.first_norm = size
            if (empty := self.scale == 0).any():  # b = 0: the first slope is as independent of the iterates as b is
                self.scale = np.where(empty, host(norms(r + y)), self.scale)
        far = active & (host(norms(y)) * self.slope_eps**0.5 > FAR * self.scale) & (self.scale > 0)
        active = active & ~far
        better = active & (size < self.best_norm)
        progress = size < 0.99 * self.best_norm
        if better.all():
            self.best.copy_(y)
        elif better.any():
            torch.where(per_sample(torch.from_numpy(better).to(y.device), y), y, self.best, out=self.best)
        self.best_norm = np.where(better, size, self.best_norm)
        self.waited = np.where(progress, 0, self.waited + 1)

        reached = active & (size <= self.rtol * self.scale)
        slow = active & (self.waited > 2)
        if (reached | slow).any():
            floor = self.floor(y, r)
            self.end(reached & (floor <= self.rtol), Status.CONVERGED)
            limited = (floor > self.rtol) & (floor < self.slope_eps**0.5)
            self.end(limited & (reached | (slow & (size <= 8 * floor * self.scale))), Status.FLOOR_LIMITED)
        self.end(self.waited > PATIENCE, Status.STAGNATED)
        self.end(far | (size > EXPLOSION * self.first_norm), Status.DIVERGED)
        self.end(~np.isfinite(size), Status.NONFINITE)
        return length

    def floor(self, y: Tensor, r: Tensor) -> NDArray[Any]:
        """What rounding lets ||r|| / ||b|| be known to, (B,): `FLOOR` eps (||y|| + weight ||f(y)||) / ||b||."""
        slope = torch.sub(r, self.b).add_(y)  # weight * f(y)
        size = self.eps * host(norms(y)) + self.slope_eps * host(norms(slope))
        return np.where(self.scale > 0, FLOOR * size / np.where(self.scale > 0, self.scale, 1), 0)

    def end(self, which: NDArray[Any] | Tensor, status: Status) -> None:
        """Give up or accept those of the active samples that are in ``which`` (B,)."""
        chosen = which.cpu().numpy() if isinstance(which, Tensor) else which
        if chosen.any():
            self.status = np.where(chosen & self.running, int(status), self.status)

    def name_floor(self) -> None:
        """Call stagnated samples floor-limited where rounding y changes the residual by as much as it has left.

        That is measured, by two evaluations: rounding y moves it by eps ||y||, the residual by up to ||I - weight J||
        times that, which `floor` does not know.
        """
        stuck = self.status == int(Status.STAGNATED)
        if not stuck.any() or self.limit - self.evaluations < 2:
            return
        signs = torch.randint(2, self.b.shape[1:], generator=torch.Generator().manual_seed(0)) * 2 - 1
        nudged = self.best * (1 + self.slope_eps * signs.to(self.b))
        change = host(norms(self.residual(self.best).sub_(self.residual(nudged))))
        self.noise = np.where(stuck, change, 0)
        self.status = np.where(stuck & (self.best_norm <= change), int(Status.FLOOR_LIMITED), self.status)

    def reopen(self) -> None:
        """Let another method continue with the samples that were given up, from their best iterates."""
        self.status = np.where(self.given_up, int(Status.RUNNING), self.status)
        self.waited = np.zeros_like(self.waited)

    def advance(self, y: Tensor, new: Tensor) -> Tensor:
        """``new`` for the samples that are active, ``y`` for the others; written to ``new``."""
        return new if self.running.all() else torch.where(per_sample(self.active, y), new, y, out=new)

    def report(self, method: str, iterations: int, mu: float | None = None) -> SolveReport:
        """The verdict; ``mu`` is the one-sided Lipschitz constant of f: ||y - y*|| <= ||r|| / (1 - weight mu)."""
        self.end(self.running, Status.MAX_EVALUATIONS)
        spread = FLOOR * self.slope_eps * norms(self.best - self.b) + FLOOR * self.eps * norms(self.best)
        scale, best_norm = (torch.from_numpy(x).to(spread) for x in (self.scale, self.best_norm))
        residual = best_norm / scale.clamp(min=torch.finfo(scale.dtype).tiny)
        bound = None if mu is None or self.weight * mu >= 1 else residual / (1 - self.weight * mu)
        return SolveReport(
            method=method,
            residual=residual,
            floor=torch.maximum(spread, FLOOR * torch.from_numpy(self.noise).to(spread)) / scale,
            status=torch.from_numpy(self.status).to(spread.device),
            iterations=iterations,
            evaluations=self.evaluations,
            error_bound=bound,
        )
