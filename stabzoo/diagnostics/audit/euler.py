"""Any residual network read as steps of Euler's method, y_{n+1} = y_n + f_n(y_n): how large, and how steep each f_n is.

What f_n is, differs:

- ``branch``: the module that a step of this package wraps, or the layers beside the shortcut of a block that is known;
- ``difference``: block(y) - y, of any other block that keeps the shape of its input.

A block of another kind, such as one that changes the shape and is not known, has no such reading.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.functional import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from stabzoo.diagnostics.bounds.genuine import unprovable
from stabzoo.diagnostics.bounds.history import branch_constant
from stabzoo.diagnostics.bounds.parts import chain, sequence_bound
from stabzoo.diagnostics.bounds.rules.composition import residual
from stabzoo.diagnostics.capture import evaluating, in_parts, residual_blocks, run_hooked
from stabzoo.diagnostics.growth import Spread
from stabzoo.diagnostics.measurement import Measurement

__all__ = ["EulerStep", "euler_steps"]

STEPS = 8  # power iterations on the Jacobian at one image; more lower nothing and raise a lower bound a little
LOOKED_AT = 64  # images

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EulerStep:
    """One block.

    Attributes:
        name: Of the block.
        reading: ``branch``, ``difference``, or why there is none.
        gain: ||f(y)|| / ||y|| at the states of the images.
        steepest: The largest ||f(x) - f(y)|| / ||x - y|| found, of clean and perturbed images and of the Jacobian at
            the first one, in float64: the Lipschitz constant is no smaller.
        lipschitz: It is no larger; infinite where nothing is proved, with the reason.
    """

    name: str
    reading: str
    gain: Spread | None = None
    steepest: Measurement | None = None
    lipschitz: Measurement | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        parts = {"gain": self.gain, "steepest": self.steepest, "lipschitz": self.lipschitz}
        return {
            "name": self.name,
            "reading": self.reading,
            **{name: part and part.to_dict() for name, part in parts.items()},
        }


def euler_steps(model: nn.Module, x: Tensor, noise: Tensor) -> list[EulerStep]:
    """Read every block of ``model``, in evaluation mode, at the states of the images ``x`` and of ``x + noise``.

    Raises:
        ValueError: the model has no blocks (see `residual_blocks`), or there are no images.
    """
    if not len(x):
        raise ValueError("x: expected at least one image, got none")
    modules = dict(model.named_modules())
    found: list[EulerStep] = []
    pairs = torch.cat([in_parts(x)[0][:LOOKED_AT], in_parts(x + noise)[0][:LOOKED_AT]])
    names = residual_blocks(model)
    states = _states(model, pairs, {name: _site(modules[name]) for name in names})
    refused = unprovable(model)
    with evaluating(model):
        for name in names:
            found.append(_read(name, modules[name], states.get(name), refused))
    return found


def _site(block: nn.Module) -> nn.Module:
    """The module whose argument f is evaluated at."""
    f = getattr(getattr(block, "step", None), "f", None)
    return f if isinstance(f, nn.Module) else block


def _states(model: nn.Module, pairs: Tensor, sites: dict[str, nn.Module]) -> dict[str, tuple[Tensor, Any]]:
    """The argument of each site the first time that it is called, and what it returns."""
    found: dict[str, tuple[Tensor, Any]] = {}

    arguments: dict[str, Tensor] = {}

    def before(name: str, _: nn.Module, args: Any) -> None:
        if name not in arguments and args and isinstance(args[0], Tensor):
            arguments[name] = args[0].detach().clone()  # the block may work in place

    def after(name: str, _: nn.Module, args: Any, result: Any) -> None:
        if name in arguments and name not in found:
            found[name] = arguments[name], result

    handles = []
    for name, site in sites.items():
        handles.append(site.register_forward_pre_hook(partial(before, name)))
        handles.append(site.register_forward_hook(partial(after, name)))
    run_hooked(model, pairs, handles)
    return found


def _read(name: str, block: nn.Module, state: tuple[Tensor, Any] | None, refused: str) -> EulerStep:
    if state is None:
        return EulerStep(name, "none: it takes no state, or is not called")
    y, result = state
    shape = tuple(y.shape[1:])
    site, exact = _site(block), copy.deepcopy(block).double()
    reading, bound = "branch", Measurement(math.inf, "certified_upper", refused)
    function: Function
    if site is not block:
        function = _site(exact)
        if not refused:
            bound = _certified(lambda: branch_constant(site, (shape[1], shape[2]))[0] if len(shape) == 3 else math.inf)
    else:
        try:
            parts, in_double = residual(block), residual(exact)
        except ValueError:
            parts = in_double = None
        if parts is not None and in_double is not None:
            layers = parts.branch
            function = _composed([layer for _, layer in in_double.branch])
            if not refused:
                bound = _certified(lambda: _whole(layers, shape, 0.0))
        elif isinstance(result, Tensor) and result.shape == y.shape:
            reading = "difference"
            function = lambda z: exact(z.clone()) - z  # noqa: E731
            if not refused:
                bound = _certified(lambda: _whole([("", block)], shape, 1.0))
        else:
            return EulerStep(name, "none: it changes the shape of its state, or is not known")
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the attention that can be differentiated twice
            return _measured(name, reading, function, y.double(), bound)
    except (RuntimeError, TypeError) as error:  # a foreign block may need more than its state
        return EulerStep(name, f"none: {str(error).splitlines()[0]}")


def _composed(layers: list[nn.Module]) -> Function:
    def function(y: Tensor) -> Tensor:
        z = y.clone()  # an activation may work in place
        for layer in layers:
            z = layer(z)
        return z

    return function


def _whole(layers: list[tuple[str, nn.Module]], shape: tuple[int, ...], beside: float) -> float:
    """Lipschitz constant of layers one after the other, and of what is subtracted from them.

    Raises:
        ValueError: nothing is proved of one of them.
    """
    bounds = sequence_bound(layers, shape)
    for bound in bounds:
        if not math.isfinite(bound.sensitivity):
            raise ValueError("; ".join(bound.refused))
    return chain(bounds)[0] + beside


def _certified(constant: Callable[[], float]) -> Measurement:
    try:
        return Measurement(constant(), "certified_upper")
    except (ValueError, ArithmeticError) as error:
        return Measurement(math.inf, "certified_upper", str(error))


def _measured(name: str, reading: str, function: Function, y: Tensor, bound: Measurement) -> EulerStep:
    with torch.no_grad():
        value = function(y.clone())
        clean, other = y.flatten(1).chunk(2)
        f_clean, f_other = value.flatten(1).chunk(2)
        norm = torch.linalg.vector_norm
        gain = Spread.of(norm(f_clean, dim=1) / norm(clean, dim=1))
        apart = norm(other - clean, dim=1)
        slopes = norm(f_other - f_clean, dim=1)[apart > 0] / apart[apart > 0]
    slope = float(slopes.max()) if len(slopes) else 0.0
    steepest = max(slope, _jacobian_norm(function, y[:1]))
    return EulerStep(name, reading, gain, Measurement(steepest, "certified_lower"), bound)


def _jacobian_norm(function: Function, y: Tensor) -> float:
    """||J||, from below, of the Jacobian at one state: power iterations on J^T J."""
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(y.shape, generator=generator).to(y)
    largest = 0.0
    for _ in range(STEPS):
        u = u / torch.linalg.vector_norm(u)
        _, image = jvp(lambda z: function(z.clone()), y, u)
        largest = max(largest, float(torch.linalg.vector_norm(image)))
        _, u = vjp(lambda z: function(z.clone()), y, image)
        if not bool(torch.linalg.vector_norm(u) > 0):
            break
    return largest
