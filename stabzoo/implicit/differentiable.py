"""The solution of y = b + weight * f(y) as a differentiable function, by the implicit function theorem.

    v = g + weight J^T v,    dL/db = v,    dL/dp = weight (df/dp)^T v,    g = dL/dy,  J = df/dy at the solution

Nothing of the iteration is kept: the backward pass evaluates f once more, with a graph, and solves one linear system.
Source: the implicit function theorem; Bai, Kolter, Koltun, Deep equilibrium models, NeurIPS 2019.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stabzoo.implicit.adjoint import solve_adjoint
from stabzoo.implicit.precision import full_precision
from stabzoo.implicit.report import SolveReport
from stabzoo.implicit.settings import SolverSettings
from stabzoo.implicit.transforms import apart, is_transformed, plainly, refuse_legacy_batches

__all__ = ["implicit_solution"]


class Equation(NamedTuple):
    """z = b + weight * function(z, *tensors), and what its differentiation needs to know."""

    function: Callable[..., Tensor]
    weight: float
    settings: SolverSettings
    rtol: float
    on_adjoint: Callable[[SolveReport], None]


def implicit_solution(
    function: Callable[..., Tensor],
    b: Tensor,
    weight: float,
    solution: Tensor,
    tensors: Sequence[Tensor],
    settings: SolverSettings,
    rtol: float | None = None,
    on_adjoint: Callable[[SolveReport], None] = lambda report: None,
) -> Tensor:
    """Return ``solution``, as a differentiable function of ``b`` and ``tensors``, to any order.

    Args:
        function: f(y, *tensors), of (B, ...) -> (B, ...).
        b: (B, ...).
        weight: The weight of f(y).
        solution: (B, ...), what `stabzoo.implicit.solve.solve` found.
        tensors: What f depends on beside y; gradients reach these and ``b``, and nothing else.
        settings: Method of the adjoint equation, and most products.
        rtol: Its tolerance; that of the settings if it is not given.
        on_adjoint: Told how the adjoint equation was solved, at every backward pass.
    """
    rtol = settings.resolved().backward if rtol is None else rtol
    return _Solution.apply(Equation(function, weight, settings, rtol, on_adjoint), solution, b, *tensors)


class _Solution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, equation: Equation, solution: Tensor, b: Tensor, *tensors: Tensor) -> Tensor:
        ctx.equation, ctx.kind = equation, b.dtype
        y = solution.detach()
        ctx.save_for_backward(y, *tensors)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        refuse_legacy_batches(g)
        saved = ctx.saved_tensors
        wanted = [i for i, s in enumerate(saved) if s.requires_grad and i > 0]
        if is_transformed(g):
            v, *found = plainly(functools.partial(_derivatives, ctx.equation, wanted, True), g, *saved)
        else:
            v, *found = _derivatives(ctx.equation, wanted, False, g, *saved)
        derivatives = dict(zip(wanted, found, strict=True))
        return None, None, v.to(ctx.kind), *(derivatives.get(i) for i in range(1, len(saved)))


def _derivatives(equation: Equation, wanted: Sequence[int], zeros: bool, g: Tensor, *saved: Tensor) -> tuple[Any, ...]:
    """(v, dL/dp for those ``wanted``) from g and ``saved``, the solution and the tensors p.

    What f does not depend on has no derivative, or with ``zeros`` one of zeros.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad(), full_precision(g):
        y, *tensors = apart(saved, [0, *wanted], create_graph)
        slope = equation.function(y, *tensors)
        v, report = solve_adjoint(slope, y, g.detach(), equation.weight, equation.settings, equation.rtol)
        equation.on_adjoint(report)
        if create_graph:
            v = implicit_solution(
                _pulled_back(equation.function, len(tensors)),
                g,
                equation.weight,
                v,
                (y, *tensors),
                equation.settings,
                equation.rtol,
                equation.on_adjoint,
            )
        leaves = [tensors[i - 1] for i in wanted]
        if not leaves or not slope.requires_grad:
            return v, *(torch.zeros_like(leaf) if zeros else None for leaf in leaves)
        weighted = (equation.weight * v).to(slope.dtype)
        return v, *torch.autograd.grad(
            slope, leaves, weighted, create_graph=create_graph, allow_unused=True, materialize_grads=zeros
        )


def _pulled_back(function: Callable[..., Tensor], count: int) -> Callable[..., Tensor]:
    """(v, y, *tensors) -> J^T v, differentiable in all of them."""

    def pull(v: Tensor, y: Tensor, *tensors: Tensor) -> Tensor:
        with torch.enable_grad():
            point = y.view_as(y) if y.requires_grad else y.detach().requires_grad_()
            slope = function(point, *tensors)
            (pulled,) = torch.autograd.grad(slope, point, v.to(slope.dtype), create_graph=True, materialize_grads=True)
        return pulled

    return pull
