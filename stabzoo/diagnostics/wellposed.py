"""Whether the equations of implicit steps have one solution each, proved block by block from the weights.

y = b + w f(y), w = beta_next, has exactly one solution for every b, whatever it is, if

- *contraction*: w L < 1, where ||f(u) - f(v)|| <= L ||u - v||. The fixed-point iteration then converges from any start;
- *monotone*: w mu < 1, where <f(u) - f(v), u - v> <= mu ||u - v||^2. No bound of L is needed: y - w f(y) is strongly
  monotone with modulus m = 1 - w mu (Browder, Minty). f(y) = -K^T phi(K y + c) with an increasing phi has mu <= 0: such
  an equation is well-posed for every step size.

Norms are Euclidean, per sample; f is in evaluation mode, with batch norms folded into the convolutions.

Where nothing is proved, the images show how near the end is. Along a solution y(w) the equation I - w f'(y) of its
derivative is singular where an eigenvalue of w f'(y) reaches 1: there solutions merge or are born, and the solve
diverges. So the largest real part of an eigenvalue of w f'(y) is measured at the solutions: below 1 the solution
found is isolated and continues the explicit one; past 1 it need not be the only one.

Sources: Hairer, Wanner, Solving ODEs II, IV.14; Winston, Kolter, Monotone operator equilibrium networks, NeurIPS 2020.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.genuine import frozen
from stabzoo.diagnostics.bounds.history import branch_constant
from stabzoo.diagnostics.bounds.parts import chain, sequence_bound
from stabzoo.diagnostics.capture import evaluating, run_hooked
from stabzoo.diagnostics.measurement import Measurement
from stabzoo.implicit.step import ImplicitStep, off_the_record, one_sided
from stabzoo.networks.branch import Branch

__all__ = ["HasLipschitz", "WellPosedness", "well_posedness"]


@runtime_checkable
class HasLipschitz(Protocol):
    """A slope f that computes its own constants, with the weights as they are."""

    def lipschitz(self) -> float:
        """L, rounded up."""
        ...

    def one_sided_bound(self) -> float:
        """mu, rounded up; at most L."""
        ...


@dataclass(frozen=True)
class WellPosedness:
    """What is proved of the equation of one step.

    Attributes:
        name: Of the step in its model.
        weight: w, the weight of the new slope.
        lipschitz: L of the slope; infinite, with the reason, where it is not known.
        one_sided: mu of the slope; L where its structure tells nothing better.
        abscissa: The largest real part of an eigenvalue of w f' at the solutions of some images, if it was asked for;
            None where a proof makes it smaller than 1.
    """

    name: str
    weight: float
    lipschitz: Measurement
    one_sided: Measurement
    abscissa: Measurement | None = None

    @property
    def proof(self) -> Literal["contraction", "monotone", "explicit"] | None:
        """What proves existence and uniqueness; None: nothing does."""
        if self.weight == 0:
            return "explicit"
        if abs(self.weight) * self.lipschitz.value < 1:
            return "contraction"
        return "monotone" if self.weight > 0 and self.weight * self.one_sided.value < 1 else None

    @property
    def modulus(self) -> float:
        """The m with ||y - y*|| <= ||r|| / m for the residual r of any y; 0 where nothing is proved."""
        if not self.proof:
            return 0.0
        return 1 - (self.weight * self.one_sided.value if self.weight > 0 else -self.weight * self.lipschitz.value)

    def iterations(self, rtol: float = 1e-5) -> int | None:
        """Iterations after which an error is below ``rtol`` times the first, from any start; None: nothing is proved.

        Contraction: the fixed-point iteration, factor q = w L.  Monotone: y <- y + a r with a = m / (1 + w L)^2, factor
        q = sqrt(1 - (m / (1 + w L))^2).
        """
        if self.proof in (None, "explicit"):
            return None if self.proof is None else 0
        size = abs(self.weight) * self.lipschitz.value
        if self.proof == "monotone" and not math.isfinite(size):
            return None
        factor = size if self.proof == "contraction" else math.sqrt(1 - (min(self.modulus, 1) / (1 + size)) ** 2)
        return 1 if factor == 0 else math.ceil(math.log(rtol) / math.log(factor)) if factor < 1 else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "name": self.name,
            "weight": self.weight,
            "lipschitz": self.lipschitz.to_dict(),
            "one_sided_lipschitz": self.one_sided.to_dict(),
            "proof": self.proof,
            "modulus": self.modulus,
            "iterations_to_1e-5": self.iterations(1e-5),
            "abscissa": self.abscissa and self.abscissa.to_dict(),
        }


@torch.no_grad()
def well_posedness(model: nn.Module, input_size: tuple[int, ...], images: Tensor | None = None) -> list[WellPosedness]:
    """What is proved of every implicit step of a model in evaluation mode, in their order; empty if it is explicit.

    Args:
        model: Its weights and training flags stay as they are; in training mode batch norms couple the samples.
        input_size: Of one input, (channels, height, width) of an image: constants are those on the grids it meets.
        images: (B, C, H, W) at whose solutions eigenvalues are measured where nothing is proved; a few are enough.
    """
    steps = {module: name for name, module in model.named_modules() if isinstance(module, ImplicitStep)}
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        shapes[module] = tuple(args[0].shape[1:])

    parameter = next(model.parameters(), torch.zeros(()))
    sample = torch.randn(1, *input_size, generator=torch.Generator().manual_seed(0)).to(parameter)
    with off_the_record(model), _unsolved(list(steps)):
        run_hooked(model, sample, [step.register_forward_pre_hook(note) for step in steps])
    with evaluating(model):
        proved = [(step, _prove(name, step, shapes[step])) for step, name in steps.items() if step in shapes]
    open_ = [step for step, found in proved if not found.proof]
    if images is None or not open_:
        return [found for _, found in proved]
    measured = _abscissas(model, open_, images)
    return [replace(found, abscissa=measured.get(step)) for step, found in proved]


def _abscissas(model: nn.Module, steps: list[ImplicitStep], images: Tensor) -> dict[ImplicitStep, Measurement]:
    """The largest real part of an eigenvalue of w f'(z) at the solutions z of ``images``, of each step."""
    solutions: dict[ImplicitStep, Tensor] = {}

    def keep(step: ImplicitStep, args: tuple[Any, ...], result: Tensor | list[Tensor]) -> None:
        new = (result if isinstance(result, Tensor) else result[0]).detach()
        if step.one_leg:
            b, a = step.combine([entry.detach() for entry in args[1]], None)
            new = b + (new - a) * (step.weight / step.sigma)
        solutions[step] = new

    with off_the_record(model):
        run_hooked(model, images, [step.register_forward_hook(keep) for step in steps])
    return {step: _abscissa(step, z) for step, z in solutions.items()}


def _abscissa(step: ImplicitStep, z: Tensor) -> Measurement:
    if not z.isfinite().all():
        return Measurement(math.inf, "exact", "the solution is not finite")
    f = copy.deepcopy(cast(nn.Module, step.f)).double().eval().requires_grad_(False)
    with torch.enable_grad():
        at = z.double().requires_grad_()
        slope = step.weight * f(at)
    if not slope.requires_grad:
        return Measurement(0.0, "exact", "a constant slope")

    def transposed(v: NDArray[np.float64]) -> NDArray[np.float64]:  # it has the eigenvalues of w f' itself
        weight = torch.from_numpy(np.ascontiguousarray(v)).to(z.device).reshape(slope.shape)
        (product,) = torch.autograd.grad(slope, at, weight, retain_graph=True)
        return product.flatten().cpu().numpy()

    size = at.numel()
    operator = LinearOperator((size, size), matvec=transposed, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).standard_normal(size)
    note = f"Arnoldi's largest at the solutions of {len(z)} images"
    values: Any
    try:
        values = eigs(operator, 1, which="LR", v0=start, tol=cast(Any, 1e-2), maxiter=20, return_eigenvectors=False)
    except ArpackNoConvergence as error:
        values = error.eigenvalues
    except (ArpackError, TypeError):  # a zero matrix; too small a one for ARPACK
        values = np.linalg.eigvals(np.stack([transposed(row) for row in np.eye(size)])) if size <= 64 else np.zeros(0)
    if not len(values):
        return Measurement(math.nan, "heuristic", f"{note}: not converged")
    return Measurement(float(np.max(values.real)), "converged", note)


@contextmanager
def _unsolved(steps: list[ImplicitStep]) -> Iterator[None]:
    """Steps take a fixed-point iteration inside: shapes are wanted, and no solve that may fail or be reported."""
    settings = [step.settings for step in steps]
    for step in steps:
        step.settings = step.settings.model_copy(update={"fixed_iterations": 1})
    try:
        yield
    finally:
        for step, before in zip(steps, settings, strict=True):
            step.settings = before


def _prove(name: str, step: ImplicitStep, shape: tuple[int, ...]) -> WellPosedness:
    weight, f = float(step.coefficients().beta_next), cast(nn.Module, step.f)
    if isinstance(f, HasLipschitz):
        upper = Measurement(f.lipschitz(), "certified_upper", "by its own structure")
        return WellPosedness(name, weight, upper, Measurement(f.one_sided_bound(), "certified_upper", upper.note))
    try:
        upper = _lipschitz(f, shape)
    except ValueError as error:
        upper = Measurement(math.inf, "certified_upper", str(error))
    reason = getattr(f, "one_sided_reason", "")
    if (mu := one_sided(f)) is not None and mu < upper.value:
        return WellPosedness(name, weight, upper, Measurement(mu, "certified_upper", reason or "by its own structure"))
    note = "; ".join(text for text in (reason, upper.note) if text)
    return WellPosedness(name, weight, upper, replace(upper, note=note))


def _lipschitz(f: nn.Module, shape: tuple[int, ...]) -> Measurement:
    if type(f) is Branch and len(shape) == 3:
        value, _ = branch_constant(f, (shape[1], shape[2]))
        return Measurement(value, "certified_upper", "product of its layers, batch norms folded in")
    bounds = sequence_bound([("f", frozen(f))], shape)
    value = chain(bounds)[0]
    reasons = "; ".join(reason for bound in bounds for reason in bound.refused)
    return Measurement(value, "certified_upper", reasons or "product of its layers")
