"""The equation y = b + weight * f(y), solved: the methods by name, and the chain ``"auto"``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from stabzoo.implicit.precision import full_precision
from stabzoo.implicit.report import SolveReport, Status
from stabzoo.implicit.settings import SolverSettings
from stabzoo.implicit.solvers.anderson import anderson
from stabzoo.implicit.solvers.broyden import broyden
from stabzoo.implicit.solvers.descent import fletcher_reeves, gradient_descent, polak_ribiere
from stabzoo.implicit.solvers.fixed_point import fixed_point
from stabzoo.implicit.solvers.newton import newton_krylov
from stabzoo.implicit.solvers.problem import Problem
from stabzoo.implicit.transforms import is_transformed

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
    rtol: float | None = None,
    mu: float | None = None,
) -> tuple[Tensor, SolveReport]:
    """Solve y = b + weight * f(y) for every sample of a batch, without a graph.

    Args:
        function: f, of (B, ...) -> (B, ...), sample by sample; it is not called under autocast, unless it enters that.
        b: (B, ...); the equation is solved in its type, float32 at least.
        weight: The weight of the new slope.
        start: (B, ...), where the iteration starts.
        settings: The method, the tolerance, the limit.
        rtol: The tolerance; that of the settings if it is not given.
        mu: One-sided Lipschitz constant of f, (f(u) - f(v)) . (u - v) <= mu ||u - v||^2, if known.

    Returns:
        (y, report): of every sample the iterate of least residual, and what is known about it; no failure is raised.

    Raises:
        NotImplementedError: ``b`` or ``start`` is under a transform of ``torch.func``, or a dual number.
    """
    if is_transformed(b) or is_transformed(start):
        raise NotImplementedError(
            "expected plain tensors, got some that torch.func or forward mode has transformed; use the step around the "
            "equation, stabzoo.implicit.step.ImplicitStep, which takes them"
        )
    kind = torch.promote_types(b.dtype, torch.float32)
    b, start = b.to(kind), start.to(kind)
    rtol = settings.resolved().forward if rtol is None else rtol
    problem = Problem(function, b, weight, rtol, settings.max_evaluations)
    method = settings.method
    with full_precision(b):
        if method == "auto":
            method, iterations = in_turn(problem, start)
        else:
            iterations = METHODS[method](problem, start)
            problem.name_floor()
        return problem.best, problem.report(method, iterations, mu)


PATIENCE = 12
"""Evaluations over which a residual must halve at first, while there is another method to turn to."""

TURNING = 5
"""Newton's patience is this many times as large where the slope mostly turns the state, and Anderson is no help."""

SEARCH = 60
"""Evaluations spent on the samples that every method has given up, to tell whether a solution is near."""


def in_turn(problem: Problem, y: Tensor) -> tuple[str, int]:
    """The chain ``"auto"``: (the method that ended it, iterations).

    Anderson acceleration and Newton-Krylov take turns, each for the samples that the other has given up and from their
    best iterates, with twice the patience in every round, for as long as a round takes a tenth off a residual. Samples
    whose slope mostly turns the state leave Anderson after two evaluations.
    """
    iterations, patience, before = anderson(problem, y, patience=PATIENCE), PATIENCE, np.inf
    while True:
        problem.reopen()
        if problem.finished:
            return "anderson", iterations
        slow = np.where(problem.turned, TURNING * patience, patience)
        iterations += newton_krylov(problem, problem.best.clone(), patience=slow)
        problem.name_floor()
        if problem.exhausted or not (problem.given_up & (problem.best_norm < 0.9 * before)).any():
            return "newton_krylov", iterations + search_for_a_minimum(problem)
        problem.reopen()
        before, patience = problem.best_norm, 2 * patience
        iterations += anderson(problem, patience=patience)


def search_for_a_minimum(problem: Problem) -> int:
    """Descend ||r|| where nothing else has helped: to a solution, or to a minimum that is none.

    Returns the number of iterations.  What is not decided then has stagnated.
    """
    if problem.exhausted or not problem.given_up.any():
        return 0
    if torch.is_inference_mode_enabled():  # its tensors have no gradients
        return 0
    ended, limit = problem.status, problem.limit
    problem.reopen()
    problem.limit = min(limit, problem.evaluations + SEARCH)
    iterations = polak_ribiere(problem, problem.best.clone(), gives_up=True)
    undecided = problem.running | (problem.status == int(Status.STAGNATED))
    problem.status = np.where(undecided, ended, problem.status)
    problem.limit = limit
    return iterations
