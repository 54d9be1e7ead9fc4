"""What a solve did, sample by sample, and what the solves of a model did, block by block."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stabzoo.implicit.settings import SolverSettings

__all__ = ["BlockReport", "ConvergenceWarning", "SolveReport", "SolverError", "Status"]


class Status(IntEnum):
    """How the solve of one sample ended."""

    RUNNING = 0
    CONVERGED = 1  # ||r|| <= rtol ||b||, and rounding cannot have made it so
    MAX_EVALUATIONS = 2
    STAGNATED = 3  # the method stopped making progress
    FLOOR_LIMITED = 4  # the tolerance is below what rounding lets a residual be known to
    DIVERGED = 5  # residuals grew, or iterates went where rounding hides their residual
    NONFINITE = 6  # overflow or NaN
    NO_SOLUTION_NEAR = 7  # ||r|| has a minimum there that is not 0: to first order no solution is near


@dataclass(frozen=True)
class SolveReport:
    """One solve of a batch.

    Attributes:
        method: The method that ended it: that of the settings; of ``"auto"``, the last one that was needed.
        residual: ||r|| / ||b|| of the returned value, per sample (B,).
        floor: What rounding lets that ratio be known to, per sample (B,).
        status: `Status` per sample (B,).
        iterations: Iterations of the outermost loop.
        evaluations: Evaluations of f (of the adjoint: Jacobian products) by the solver.
        error_bound: ||y - y*|| / ||b|| is at most this, per sample (B,), where the one-sided Lipschitz constant of f is
            known.
    """

    method: str
    residual: Tensor
    floor: Tensor
    status: Tensor
    iterations: int
    evaluations: int
    error_bound: Tensor | None = None

    @property
    def failed(self) -> Tensor:
        """Which samples have not converged, (B,)."""
        return self.status != Status.CONVERGED

    @property
    def converged(self) -> bool:
        """Whether every sample has."""
        return not self.failed.any()

    def counts(self) -> dict[str, int]:
        """How many samples ended in which way: ``{"converged": 7, "stagnated": 1}``."""
        found = Counter(self.status.tolist())
        return {status.name.lower(): found[status] for status in Status if found[status]}

    def __str__(self) -> str:
        ends = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        worst = torch.nan_to_num(self.residual, nan=float("inf")).amax().item() if self.residual.numel() else 0.0
        return f"{self.method}: {ends}; relative residual up to {worst:.1e}, {self.evaluations} evaluations"


class ConvergenceWarning(UserWarning):
    """Samples of an implicit step did not converge."""


class SolverError(RuntimeError):
    """Samples of an implicit step have not converged.

    Attributes:
        report: The `SolveReport`.
        failed: Which samples (B,).
    """

    def __init__(self, message: str, report: SolveReport) -> None:
        super().__init__(message)
        self.report = report
        self.failed = report.failed


@dataclass
class BlockReport:
    """The solves of one block since it was built, or since `reset`.

    Attributes:
        name: The block's name in its model.
        forward: Its last solve.
        backward: The last solve of its adjoint equation.
        solves: Number of solves.
        samples: Number of equations, one per sample and solve.
        failures: How many of them ended how, if not converged.
        evaluations: Evaluations of f by the solver, of a batch each.
        backward_failures: The same as ``failures`` for the adjoint equation.
        products: Jacobian products by the solver of the adjoint equation.
        unchecked: Steps of a fixed number of iterations, of a batch each, whose equations nobody has judged: those of a
            compiled network, or of ``fixed_iterations``; as of the last call of `stabzoo.solver_report`.
        penalty_evaluations: Evaluations of f by `stabzoo.residual_penalty`.
    """

    name: str
    forward: SolveReport | None = None
    backward: SolveReport | None = None
    solves: int = 0
    samples: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    evaluations: int = 0
    backward_failures: Counter[str] = field(default_factory=Counter)
    products: int = 0
    unchecked: int = 0
    penalty_evaluations: int = 0
    warned: set[str] = field(default_factory=set, repr=False)

    def reset(self) -> None:
        """Forget the solves, and that a warning was given."""
        self.__init__(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Numbers alone, for a file."""
        last = {
            kind: report and {"method": report.method, "evaluations": report.evaluations, **report.counts()}
            for kind, report in (("forward", self.forward), ("backward", self.backward))
        }
        return {
            "name": self.name,
            "solves": self.solves,
            "samples": self.samples,
            "failures": dict(self.failures),
            "evaluations": self.evaluations,
            "backward_failures": dict(self.backward_failures),
            "products": self.products,
            "unchecked": self.unchecked,
            "penalty_evaluations": self.penalty_evaluations,
            "last": last,
        }

    def record(self, report: SolveReport, settings: SolverSettings, rtol: float, *, adjoint: bool = False) -> None:
        """Add a solve to ``rtol`` and signal its failures as the settings say; equation and adjoint warn once each.

        Raises:
            SolverError: with ``on_failure="raise"``, when a sample has not converged.
        """
        failed = {name: count for name, count in report.counts().items() if name != "converged"}
        if adjoint:
            self.backward = report
            self.products += report.evaluations
            self.backward_failures.update(failed)
        else:
            self.forward = report
            self.solves += 1
            self.samples += len(report.status)
            self.evaluations += report.evaluations
            self.failures.update(failed)
        if not failed or (settings.on_failure == "fallback" and not adjoint):
            return
        equation = ADJOINT if adjoint else EQUATION
        message = f"{self.name}: expected {equation} to be solved to rtol = {rtol:.0e}, got {report}; "
        message += advice(report, settings)
        if settings.on_failure == "raise":
            raise SolverError(message, report)
        if equation not in self.warned:
            self.warned.add(equation)
            warnings.warn(message, ConvergenceWarning, stacklevel=4)

    def silence(self) -> None:
        """Warn no more."""
        self.warned |= {EQUATION, ADJOINT}


EQUATION, ADJOINT = "the equation of the implicit step", "the adjoint equation of the implicit step"


def advice(report: SolveReport, settings: SolverSettings) -> str:
    """Why samples have not converged, and what to do."""
    status = report.status
    if (status == Status.NONFINITE).any():
        return "an overflow or a NaN: look at the block's input, weights and step size"
    if (near := status == Status.NO_SOLUTION_NEAR).any():
        return (
            f"no solution is near: the residual has a minimum of {report.residual[near].amin().item():.0e} ||b||, "
            "where I - w F' is singular; use a smaller step size or learning rate, the penalty R_fp (fixed_point), or "
            "a branch whose equations are proved to have one solution"
        )
    if (limited := status == Status.FLOOR_LIMITED).any():
        floor = report.residual[limited].amax().item()
        return f"rounding allows no less than about {floor:.0e}: use a larger rtol or a longer floating-point type"
    if (status == Status.MAX_EVALUATIONS).any():
        return f"allow more than max_evaluations = {settings.max_evaluations}, or a larger rtol"
    return "the equation may have no solution: use a smaller step size, or the method 'auto'"
