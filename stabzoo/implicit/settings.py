"""How the equations of implicit steps are solved: one strict model, shared by schemes, studies and the solver."""

from typing import Literal

from pydantic import Field

from stabzoo.config import Strict

__all__ = ["SolverSettings"]


class SolverSettings(Strict):
    """How y = b + weight * f(y) is solved, and what happens where it is not.

    Attributes:
        method: ``"auto"`` is Anderson acceleration, then Newton-Krylov for the samples that it does not bring home.
            The others are run alone: ``"fixed_point"`` converges only where the spectral radius of weight * df/dy is
            below 1; ``"fletcher_reeves"``, ``"polak_ribiere"`` and ``"gradient_descent"`` minimise ||r||^2 / 2, and pay
            one vector-Jacobian product, counted as an evaluation, for each gradient.
        rtol: A sample has converged when ||b + weight * f(y) - y|| <= rtol * ||b||, in the type it is computed in.
        max_evaluations: Most evaluations of f in one solve, and most Jacobian products in its adjoint.
        on_failure: What to do when a sample has not converged: ``"warn"``, once per block; ``"raise"`` a
            `stabzoo.implicit.report.SolverError`; ``"fallback"``, take the explicit step for that sample (the weight of
            the new slope is given to f(y_n)), with its gradient; the report has the failure, no warning is given.
        backward: The adjoint equation's solver: ``"neumann"`` is the fixed-point iteration, ``"gmres"`` restarted
            GMRES; ``"auto"`` is the first beside ``method="fixed_point"``, as it converges where that does, and GMRES
            beside the others.  Where it fails ``"fallback"`` warns.
        backward_rtol: Relative tolerance of the adjoint equation; None is ``rtol``, as a gradient is no better than the
            point that it is taken at.
        fixed_iterations: Number of plain fixed-point iterations, without a test: the form that can be traced.  K of
            them are an explicit method with a polynomial stability function, whatever the scheme: A-stability is lost.
            None solves the equation; a traced model (compile, export, fx, TorchScript, meta device) takes
            `TRACED_ITERATIONS`.
    """

    method: Literal[
        "auto",
        "fixed_point",
        "anderson",
        "broyden",
        "fletcher_reeves",
        "polak_ribiere",
        "gradient_descent",
        "newton_krylov",
    ] = "auto"
    rtol: float = Field(default=1e-5, gt=0, lt=1)
    max_evaluations: int = Field(default=200, ge=1)
    on_failure: Literal["warn", "raise", "fallback"] = "warn"
    backward: Literal["auto", "neumann", "gmres"] = "auto"
    backward_rtol: float | None = Field(default=None, gt=0, lt=1)
    fixed_iterations: int | None = Field(default=None, ge=1)


TRACED_ITERATIONS = 10
"""Fixed-point iterations of a traced model whose settings leave ``fixed_iterations`` open."""
