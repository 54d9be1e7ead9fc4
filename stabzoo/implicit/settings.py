"""How the equations of implicit steps are solved: one strict model, shared by schemes, studies and the solver."""

from typing import Literal, NamedTuple

from pydantic import Field

from stabzoo.config import Strict

__all__ = ["RTOL", "TRAINING_RTOL", "SolverSettings", "Tolerances"]

RTOL = 1e-5
"""Tolerance of an equation where the settings leave it open."""

TRAINING_RTOL = 1e-2
"""Most that it is in training, where it is tied to the noise of the gradient."""


class Tolerances(NamedTuple):
    """Of an equation, relative to ||b||, and of its adjoint, relative to ||dL/dy||."""

    forward: float
    backward: float


class SolverSettings(Strict):
    """How y = b + weight * f(y) is solved, and what happens on failure.

    Attributes:
        method: ``"auto"`` is Anderson acceleration, then Newton-Krylov for samples that do not converge.  The other
            methods run alone: ``"fixed_point"`` converges only where the spectral radius of weight * df/dy is
            below 1; ``"fletcher_reeves"``, ``"polak_ribiere"`` and ``"gradient_descent"`` minimise ||r||^2 / 2, and pay
            one vector-Jacobian product, counted as an evaluation, for each gradient.
        rtol: A sample has converged when ||b + weight * f(y) - y|| <= rtol * ||b||, in the type it is computed in.
            None is `RTOL`, and what the noise of the gradient allows while f is in training mode: see `resolved`.
        max_evaluations: Most evaluations of f in one solve, and most Jacobian products in its adjoint.
        on_failure: What to do when a sample has not converged: ``"warn"``, once per block; ``"raise"`` a
            ``SolverError``; ``"fallback"``, take the explicit step for that sample (f(y_n) gets the weight of the new
            slope), with its gradient; the report has the failure, without a warning.
        backward: Solver of the adjoint equation: ``"neumann"`` is the fixed-point iteration, ``"gmres"`` restarted
            GMRES; ``"auto"`` is the former with ``method="fixed_point"``, whose convergence implies its own, and GMRES
            with all others.  If it fails, ``"fallback"`` warns.
        backward_rtol: Tolerance of the adjoint equation v = g + weight J^T v, ||residual|| <= backward_rtol ||g|| for
            each sample; None is ``rtol``, as a gradient is no more accurate than the point at which it is taken.
        fixed_iterations: Number of plain fixed-point iterations, without a test; this form can be traced.  K of
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
    rtol: float | None = Field(default=None, gt=0, lt=1)
    max_evaluations: int = Field(default=200, ge=1)
    on_failure: Literal["warn", "raise", "fallback"] = "warn"
    backward: Literal["auto", "neumann", "gmres"] = "auto"
    backward_rtol: float | None = Field(default=None, gt=0, lt=1)
    fixed_iterations: int | None = Field(default=None, ge=1)

    def resolved(self, *, training: bool = False, batch: int = 1) -> Tolerances:
        """The tolerances of a solve of ``batch`` samples: what is given, or `RTOL`, or in training

            eta = min(`TRAINING_RTOL`, 0.1 / sqrt(B)).

        The gradient that a training takes is the mean of B samples' gradients, and misses the mean over all images by
        about 1 / sqrt(B) of their size: that noise no solver removes.  An error of eta in each sample's gradient
        changes the mean by at most eta of their size, if all errors agree, which is a tenth of the noise; errors that
        do not agree cancel as the noise does.

        Example:
            >>> SolverSettings().resolved(training=True, batch=400)
            Tolerances(forward=0.005, backward=0.005)
            >>> SolverSettings(rtol=1e-8).resolved(training=True, batch=400)
            Tolerances(forward=1e-08, backward=1e-08)
        """
        default = min(TRAINING_RTOL, 0.1 / max(batch, 1) ** 0.5) if training else RTOL
        return Tolerances(self.rtol or default, self.backward_rtol or self.rtol or default)


TRACED_ITERATIONS = 10
"""Fixed-point iterations of a traced model whose settings leave ``fixed_iterations`` open."""
