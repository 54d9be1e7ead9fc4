"""Implicit steps as torch modules: the block of a network whose scheme weighs the slope at the new state."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from stabzoo.implicit.differentiable import implicit_solution
from stabzoo.implicit.field import OTHER_MODE, Field, is_training
from stabzoo.implicit.layout import Layout
from stabzoo.implicit.precision import Autocast
from stabzoo.implicit.report import BlockReport, SolveReport
from stabzoo.implicit.settings import TRACED_ITERATIONS, SolverSettings
from stabzoo.implicit.solve import solve
from stabzoo.implicit.solvers.problem import per_sample
from stabzoo.implicit.transforms import is_transformed, plainly
from stabzoo.methods.multistep import LinearMultistep

__all__ = ["ImplicitStep", "off_the_record", "solver_report"]


class ImplicitStep(nn.Module):
    """One step of an implicit linear multistep scheme around ``f`` (arguments as in `stabzoo.Discretization.block`).

        y_{n+1} = b + beta_next f(y_{n+1}),    b = sum_j alpha_j y_{n-j} + sum_j beta_j f_{n-j}

    or, as the scheme's *one-leg* twin, which evaluates f once at a mean of the states, s = beta_next + sum_j beta_j:

        y_{n+1} = sum_j alpha_j y_{n-j} + s f( (beta_next y_{n+1} + sum_j beta_j y_{n-j}) / s )

    The two have the same stability function; of the theta method the first is B-stable only at theta = 1, the one-leg
    form for theta >= 1/2.  ``f`` keeps the shape of its argument.  With beta_next = 0 the step is the explicit one.

    In training mode f is one function throughout a step: batch statistics are those of f(y_n), measured and counted
    once, and random masks are drawn once (``stabzoo.implicit.field``).  A step that is traced (compile, export, fx,
    make_fx, TorchScript, meta tensors), or whose settings say so, is a fixed number of fixed-point iterations.

    Source: Hairer, Wanner, Solving ordinary differential equations II, sections V.1 and V.6; the implicit ResNet paper,
    eq. (3).
    """

    def __init__(
        self,
        f: nn.Module,
        method: LinearMultistep,
        settings: SolverSettings | None = None,
        name: str = "",
        *,
        one_leg: bool = False,
        returns_slope: bool = False,
    ) -> None:
        """Wrap ``f``; ``returns_slope``: return f_n even if this step needs no past slope.

        Raises:
            ValueError: ``one_leg`` of a scheme whose betas sum to 0.
        """
        super().__init__()
        self.f = f
        self.method = method
        self.settings = settings or SolverSettings()
        self.report = BlockReport(name or f"implicit step {method}")
        self.weight = float(method.beta_next)
        self.alpha = [float(alpha) for alpha in method.alpha]
        self.slopes = method.past_slopes
        self.beta = [float(beta) for beta in method.beta]
        self.one_leg = one_leg
        self.sigma = float(sum(method.sigma))
        if one_leg and self.sigma == 0:
            raise ValueError(f"one_leg: expected betas that do not sum to 0, got {method}; use the multistep form")
        self.returns_slope = returns_slope or (self.slopes > 0 and not one_leg)
        self.needs_f = self.returns_slope or (
            self.beta[0] != 0 and not one_leg
        )  # f(y_n) enters the step, or is handed on
        self.iterations = self.settings.fixed_iterations or TRACED_ITERATIONS
        # what compiled code counts; it has no other way
        self.unchecked = nn.Buffer(torch.zeros((), dtype=torch.int64), persistent=False)

    @torch.jit.unused
    def coefficients(self) -> LinearMultistep:
        """The exact coefficients of this step."""
        return self.method

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor | list[Tensor]:
        """``y`` (B, ...), ``history`` of the same shape -> y_next or ``[y_next, f]``, of that shape."""
        if torch.jit.is_scripting():
            return self.iterate(y, history)
        else:  # noqa: RET505 -- TorchScript compiles what follows a return, but not this branch
            return self.solve(y, history)

    def combine(self, history: list[Tensor], f: Tensor | None) -> tuple[Tensor, Tensor]:
        """(b, a): the equation is z = b + weight * f(z); the new state is z, or of the one-leg form `finish` (z, b, a).

        ``f`` is f_n where it is known; it is needed if beta_0 is not 0 and the form is not one-leg.
        """
        states = len(self.alpha)
        if self.one_leg:
            a = torch.zeros_like(history[0])
            for j, alpha in enumerate(self.alpha):
                a = torch.add(a, history[j], alpha=alpha)
            b = a * (self.weight / self.sigma)
            for j, beta in enumerate(self.beta):
                b = torch.add(b, history[j], alpha=beta / self.sigma)
            return b, a
        b = history[0] * self.alpha[0] if f is None or self.beta[0] == 0 else f * self.beta[0]
        for j, alpha in enumerate(self.alpha):
            if j > 0 or (f is not None and self.beta[0] != 0):
                b = torch.add(b, history[j], alpha=alpha)
        for j in range(self.slopes):
            b = torch.add(b, history[states + j], alpha=self.beta[j + 1])
        return b, b

    def finish(self, z: Tensor, b: Tensor, a: Tensor) -> Tensor:
        """The new state from the solution z = b + weight * f(z)."""
        return torch.add(a, z - b, alpha=self.sigma / self.weight) if self.one_leg else z

    def iterate(self, y: Tensor, history: list[Tensor]) -> Tensor | list[Tensor]:
        """The step as ``iterations`` plain fixed-point iterations from y_n, without a test: what can be traced."""
        f = self.f(y) if self.needs_f else None
        b, a = self.combine(history, f)
        if self.weight == 0:
            z = torch.add(a, self.f(b), alpha=self.sigma) if self.one_leg else b
        else:
            z = torch.add(b, self.f(y) if f is None else f, alpha=self.weight)
            for _ in range(self.iterations - 1):
                z = torch.add(b, self.f(z), alpha=self.weight)
            z = self.finish(z, b, a)
        if f is not None and self.returns_slope:
            return [z, f]
        return z

    @torch.jit.unused
    def solve(self, y: Tensor, history: list[Tensor]) -> Tensor | list[Tensor]:
        """The step with its equation solved and judged.

        Raises:
            NotImplementedError: a transform of ``torch.func`` or forward mode, and f is in training mode.
        """
        fixed = self.settings.fixed_iterations is not None or traced(y)
        if fixed and self.weight != 0:
            self.count(y)
        if self.weight == 0 or (fixed and not (self.f.training and isinstance(y, Tensor))):
            return self.iterate(y, history)
        if not fixed and any(map(is_transformed, (y, *history, *self.f.parameters(), *self.f.buffers()))):
            return self.transformed(y, history)
        field = Field(self.f)
        autocast = Autocast.around(y)
        kind = torch.promote_types(y.dtype, torch.float32)
        taken = kind if autocast.enabled else y.dtype  # a module in half precision takes half precision
        layout = Layout.of(y)
        given, y = y, layout.inward(y)
        f = layout.inward(field.measure(layout.outward(y))) if self.needs_f or field.training else None
        history = [(y if entry is given else layout.inward(entry)).to(kind) for entry in history]
        b, a = self.combine(history, None if f is None else f.to(kind))
        with torch.no_grad():
            start = y.to(kind) if f is None else torch.add(b, f.to(kind), alpha=self.weight)

        def function(z: Tensor, *tensors: Tensor) -> Tensor:
            z = layout.outward(z.to(taken))
            with autocast.region():
                return layout.inward(field.evaluate(z, *tensors) if tensors else field(z))

        if fixed:
            z = start if f is None else torch.add(b, f.to(kind), alpha=self.weight)
            for _ in range(self.iterations - 1 if f is not None else self.iterations):
                z = torch.add(b, function(z).to(kind), alpha=self.weight)
        else:
            rtol = self.settings.resolved(training=field.training, batch=len(y))
            z, report = solve(
                function, b.detach(), self.weight, start, self.settings, rtol=rtol.forward, mu=one_sided(self.f)
            )
            tensors = field.tensors
            if torch.is_grad_enabled() and (b.requires_grad or any(t.requires_grad for t in tensors)):
                on_adjoint = functools.partial(self.record_adjoint, rtol=rtol.backward)
                z = implicit_solution(function, b, self.weight, z, tensors, self.settings, rtol.backward, on_adjoint)
            self.report.record(report, self.settings, rtol.forward)
            if self.settings.on_failure == "fallback" and not report.converged:
                slope = function(y.to(kind), *field.tensors) if f is None else f
                explicit = torch.add(b, slope.to(kind), alpha=self.weight)
                z = torch.where(per_sample(report.failed, z), explicit, z)
        new = layout.as_given(layout.outward(self.finish(z, b, a).to(taken)))
        return [new, layout.as_given(layout.outward(f))] if f is not None and self.returns_slope else new

    @torch.jit.unused
    def transformed(self, y: Tensor, history: list[Tensor]) -> Tensor | list[Tensor]:
        """The step under ``torch.func`` transforms or in forward mode: solved on what is underneath.

        Raises:
            NotImplementedError: f is in training mode, where a step also changes buffers and draws masks.
        """
        if is_training(self.f):
            raise NotImplementedError(
                f"{self.report.name}: expected an implicit step in evaluation mode under a torch.func transform or in "
                "forward mode, got training mode, in which a solve changes running statistics and draws masks; call "
                "eval(), or use backward() or torch.autograd.grad"
            )
        held = dict(self.named_parameters()) | dict(self.named_buffers())

        def step(y: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            if is_training(self.f):  # since then: derivatives may be taken later
                raise RuntimeError(OTHER_MODE)
            past, own = list(given[: len(history)]), given[len(history) :]
            new = functional_call(self, dict(zip(held, own, strict=True)), (y, past))
            return tuple(new) if isinstance(new, list) else (new,)

        new, *slope = plainly(step, y, *history, *held.values())
        return [new, *slope] if slope else new

    @torch.jit.unused
    def count(self, y: Tensor) -> None:
        """Count a step whose equation nobody judges, if it is done, and not written down to be done elsewhere."""
        if torch.compiler.is_exporting() or torch.jit.is_tracing() or not isinstance(y, Tensor) or y.is_meta:
            return
        if torch.compiler.is_compiling():
            self.unchecked.add_(1)
        else:
            self.report.unchecked += 1

    @torch.jit.unused
    def record_adjoint(self, report: SolveReport, rtol: float) -> None:
        """Note how an adjoint equation was solved."""
        self.report.record(report, self.settings, rtol, adjoint=True)


def traced(y: Tensor) -> bool:
    """Whether the computation is being written down, or has no values."""
    return (
        isinstance(y, torch.fx.Proxy)
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or get_proxy_mode() is not None
        or y.device.type == "meta"
    )


def one_sided(f: nn.Module) -> float | None:
    """The one-sided Lipschitz constant that ``f`` tells, as its attribute ``one_sided_lipschitz``."""
    return getattr(f, "one_sided_lipschitz", None)


def solver_report(model: nn.Module) -> list[BlockReport]:
    """Reports on the solves of a model's implicit steps, in the order of the steps; empty for an explicit network."""
    steps = [module for module in model.modules() if isinstance(module, ImplicitStep)]
    for step in steps:
        if not step.unchecked.is_meta:
            step.report.unchecked += int(step.unchecked)
            step.unchecked.zero_()
    return [step.report for step in steps]


@contextmanager
def off_the_record(model: nn.Module) -> Iterator[None]:
    """Inside, solves are counted in no report of the model, and those that fail neither warn nor raise."""
    steps = [module for module in model.modules() if isinstance(module, ImplicitStep)]
    before = [(step.report, step.settings, step.unchecked.clone()) for step in steps]
    for step in steps:
        step.report = BlockReport(step.report.name)
        step.report.silence()
        if step.settings.on_failure == "raise":
            step.settings = step.settings.model_copy(update={"on_failure": "warn"})
    try:
        yield
    finally:
        for step, (report, settings, unchecked) in zip(steps, before, strict=True):
            step.report, step.settings = report, settings
            step.unchecked.copy_(unchecked)
