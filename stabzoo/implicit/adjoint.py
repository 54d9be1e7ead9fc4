"""The adjoint equation v = g + weight J^T v: one graph of f, one linear solve, a tolerance relative to g."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stabzoo.implicit.report import SolveReport, Status
from stabzoo.implicit.settings import SolverSettings
from stabzoo.implicit.solvers.batched import host, lengths
from stabzoo.implicit.solvers.gmres import gmres
from stabzoo.implicit.solvers.problem import FLOOR

__all__ = ["solve_adjoint"]


@np.errstate(all="ignore")  # what overflows gets its verdict
def solve_adjoint(
    slope: Tensor, y: Tensor, g: Tensor, weight: float, settings: SolverSettings, rtol: float
) -> tuple[Tensor, SolveReport]:
    """Solve v = g + weight J^T v per sample, J = d slope / dy, to ||residual|| <= rtol ||g||.

    Every sample's gradient is divided by its largest entry first: the result does not depend on the scale of the loss.
    """
    shape, kind = g.shape, torch.promote_types(g.dtype, torch.float32)
    rhs = g.to(kind).flatten(1)
    largest = rhs.abs().amax(1)
    unit = torch.where(largest > 0, largest, 1)[:, None]
    rhs = rhs / unit  # under the same name, so that the unscaled copy is freed before the solve

    def pull(v: Tensor) -> Tensor:
        """J^T v of (B, n), zero where f does not depend on y."""
        if not slope.requires_grad:
            return torch.zeros_like(v)
        (pulled,) = torch.autograd.grad(
            slope, y, v.view(shape).to(slope.dtype), retain_graph=True, materialize_grads=True
        )
        return pulled.to(kind).flatten(1)

    with torch.no_grad():
        system = Adjoint(pull, rhs, weight, settings, rtol)
        if system.method == "neumann":
            system.neumann()
        else:
            system.gmres()
        v = (system.solution * unit).view(shape)
    return v, system.report()


class Adjoint:
    """The state of one solve: ``solution`` and its ``residual``, both (B, n)."""

    def __init__(
        self, pull: Callable[[Tensor], Tensor], rhs: Tensor, weight: float, settings: SolverSettings, rtol: float
    ) -> None:
        self.pull, self.rhs, self.weight, self.settings = pull, rhs, weight, settings
        self.size = host(lengths(rhs))
        self.tolerance = max(rtol, 10 * torch.finfo(rhs.dtype).eps) * self.size
        self.solution = torch.zeros_like(rhs)
        self.residual = rhs.clone()
        self.left = self.size
        self.products = self.iterations = 0
        plain = settings.backward == "neumann" or (settings.backward == "auto" and settings.method == "fixed_point")
        self.method = "neumann" if plain else "gmres"

    def apply(self, v: Tensor) -> Tensor:
        """Weight J^T v, one product."""
        self.products += 1
        pulled = self.pull(v)
        return pulled if self.weight == 1 else pulled * self.weight

    @property
    def open(self) -> NDArray[Any]:
        """Which samples have not met their tolerance, (B,)."""
        return (self.left > self.tolerance) & np.isfinite(self.left)

    @property
    def going(self) -> bool:
        """Whether there is something to do and it may be done."""
        return self.products < self.settings.max_evaluations and bool(self.open.any())

    def step(self) -> None:
        """One iteration of Neumann's series: v <- v + residual, for the open samples."""
        open_ = torch.from_numpy(self.open).to(self.rhs.device)[:, None]
        image = self.apply(self.residual)
        self.iterations += 1
        self.solution = torch.where(open_, self.solution + self.residual, self.solution)
        self.residual = torch.where(open_, image, self.residual)
        self.left = host(lengths(self.residual))

    def neumann(self) -> None:
        """Iterate the series."""
        limit = 1e6 * self.size
        while self.going and not (self.left > limit).all():
            self.step()

    def gmres(self) -> None:
        """Cycles of GMRES, each from the residual of the last."""
        while self.going:
            self.iterations += 1
            before = self.left
            target = np.where(self.open, self.tolerance, np.inf)
            solution, self.left, _ = gmres(
                self.apply, self.residual, target, self.settings.max_evaluations - self.products
            )
            self.solution += solution
            del solution
            if not self.going or (self.left > 0.9 * before)[self.open].all():
                return
            torch.sub(self.rhs, self.solution, out=self.residual).add_(self.apply(self.solution))
            self.left = host(lengths(self.residual))

    def report(self) -> SolveReport:
        """The verdict: residuals relative to ||g||."""
        status = np.full(len(self.left), int(Status.CONVERGED))
        limit = Status.MAX_EVALUATIONS if self.products >= self.settings.max_evaluations else Status.STAGNATED
        status = np.where(self.left > self.tolerance, int(limit), status)
        eps = torch.finfo(self.rhs.dtype).eps
        floor = FLOOR * eps * (host(lengths(self.solution)) + host(lengths(self.solution - self.rhs)))
        status = np.where((status == Status.STAGNATED) & (self.left <= 8 * floor), int(Status.FLOOR_LIMITED), status)
        status = np.where(self.left > 1e6 * self.size, int(Status.DIVERGED), status)
        status = np.where(np.isfinite(self.left), status, int(Status.NONFINITE))
        scale = np.where(self.size > 0, self.size, 1)
        residual, floor = (torch.from_numpy(x / scale).to(self.rhs) for x in (self.left, floor))
        ended = torch.from_numpy(status).to(self.rhs.device)
        return SolveReport(self.method, residual, floor, ended, self.iterations, self.products)
