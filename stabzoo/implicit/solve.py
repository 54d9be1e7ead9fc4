"""The equation y = b + weight * f(y), solved: the methods by name, and the chain ``"auto"``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from stabzoo.implicit.precision import full_precision
from stabzoo.implicit.report import SolveReport
from stabzoo.implicit.settings import SolverSettings
from stabzoo.implicit.solvers.anderson import anderson
from stabzoo.implicit.solvers.broyden import broyden
from stabzoo.implicit.solvers.descent import fletcher_reeves, gradient_descent, polak_ribiere
from stabzoo.implicit.solvers.fixed_point import fixed_point
from stabzoo.implicit.solvers.newton import newton_krylov
from stabzoo.implicit.solvers.problem import Problem

__all__ = ["METHODS", "solve"]

METHODS: dict[str, Callable[[Problem, Tensor], int]] = {
    "fixed_point": fixed_point,
    "anderson": anderson,
    "broyden": broyden,
    "fletcher_reeves": fletcher_reeves,
    "polak_ribiere": polak_ribiere,
    "gradient_descent": gradient_descent,
    "newton_krylov": newton_krylov,
}


@torch.no_grad()
@np.errstate(all="ignore")  # what overflows gets its verdict
def solve(
    function: Callable[[Tensor], Tensor],
    b: Tensor,
    weight: float,
    start: Tensor,
    settings: SolverSettings,
    *,
    mu: float | None = None,
) -> tuple[Tensor, SolveReport]:
    """Solve y = b + weight * f(y) for every sample of a batch, without a graph.

    Args:
        function: f, of (B, ...) -> (B, ...), sample by sample; it is not called under autocast, unless it enters that.
        b: (B, ...); the equation is solved in its type, float32 at least.
        weight: The weight of the new slope.
        start: (B, ...), where the iteration starts.
        settings: The method, the tolerance, the limit.
        mu: One-sided Lipschitz constant of f, (f(u) - f(v)) . (u - v) <= mu ||u - v||^2, if known.

    Returns:
        (y, report): of every sample the iterate of least residual, and what is known about it; no failure is raised.

    Raises:
        NotImplementedError: ``start`` is a dual number: an implicit step has no forward-mode derivatives.
    """
    if unpack_dual(start).tangent is not None:
        raise NotImplementedError(
            "expected reverse-mode derivatives of an implicit step, got a dual number; use backward()"
        )
    kind = torch.promote_types(b.dtype, torch.float32)
    b, start = b.to(kind), start.to(kind)
    problem = Problem(function, b, weight, settings.rtol, settings.max_evaluations)
    method = settings.method
    with full_precision(b):
        if method != "auto":
            iterations = METHODS[method](problem, start)
        else:
            method = "anderson"
            iterations = anderson(problem, start, gives_up=True)
            problem.reopen()
            if not problem.finished:
                method = "newton_krylov"
                iterations += newton_krylov(problem, problem.best.clone())
        return problem.best, problem.report(method, iterations, mu)
