"""Residual layers as their limit in continuous time: Theorems 1 to 4 of Zhang and Schaeffer, beside the layers' own.

A run of layers x+ = relu(x - A2 relu(A1 x + b1) + b2) on one grid is read as the differential inclusion

    -x'(t) - A2(t) relu(A1(t) x + b1(t)) + b2(t)  in  the subdifferential of the indicator of x >= 0,             (2)

whose weights stand still for a time of 1 in each layer, so that integrals are sums. Of its solutions it is proved that

- they exist and are unique, as the weights are finite                                                    (Theorem 1);
- ||x(t) - y(t)|| <= exp(sum ||A1|| ||A2||) ||x(0) - y(0)||, and ||x(t)|| grows by no more than the same factor and an
  offset from the biases                                                                        (Theorem 2, (7), (8));
- ||x(t)|| <= ||x(0)|| + sum ||relu(b2)|| where every A2 >= 0                                         (Theorem 3, (10));
- ||x(t) - y(t)|| <= ||x(0) - y(0)||, and ||x(t)|| <= ||x(0)|| + sum ||relu(b2 - A^T relu(b1))||, where A2 = A1^T = A^T
                                                                                          (Theorem 4, (12), (13)).

In (7) the paper has ||A2|| ||b1|| + ||relu(b2)|| under the integral; its proof gives the smaller
||relu(b2 - A2 relu(b1))|| as well, which is what stands here (and is (12)'s where A2 = A1^T).

None of it is a statement about the network, which takes steps of length 1. As 1 + a <= exp(a), Theorem 2's factors are
bounds of the layers, too, and so are Theorem 3's. Theorem 4's 1 is one only where a step is short enough,
||A||^2 <= 2: what is proved of the layers themselves stands beside it.

Source: Zhang and Schaeffer, Forward stability of ResNet and its variants, JMIV 2020, section 2 and appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.joint import Kernel, ReluStep
from stabzoo.diagnostics.bounds.network import ForwardBounds
from stabzoo.diagnostics.bounds.parts import chain
from stabzoo.diagnostics.bounds.step_bound import StepBound
from stabzoo.diagnostics.capture import evaluating
from stabzoo.diagnostics.spectra.periodic import periodic_norms

__all__ = ["ContinuousBounds", "Size", "continuous_bounds"]

_UP = 1 + 1e-10  # rounding outwards


@dataclass(frozen=True)
class Size:
    """||x(t)|| <= growth ||x(0)|| + offset."""

    growth: float
    offset: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe: infinite numbers are strings."""
        return {k: v if math.isfinite(v) else str(v) for k, v in vars(self).items()}


@dataclass(frozen=True)
class ContinuousBounds:
    """What is proved of a run of residual layers on one grid, and of its limit in continuous time; rounded up.

    Attributes:
        layers: Names of the layers; the time is their number.
        exponent: The sum of ||A1|| ||A2||.
        theorem2: (7), with the factor of (8): ``theorem2.growth`` is the sensitivity.
        theorem3: (10); None where an A2 has a negative entry.
        theorem4: (12), whose sensitivity (13) is 1; None where an A2 is not the transpose of A1.
        steps: The sensitivity that is proved of the layers themselves.
        size: The same for their size.
    """

    layers: tuple[str, ...]
    exponent: float
    theorem2: Size
    theorem3: Size | None
    theorem4: Size | None
    steps: float
    size: Size

    @property
    def name(self) -> str:
        """``stages.0.blocks.0 to 2``."""
        first, last = self.layers[0], self.layers[-1]
        return first if first == last else f"{first} to {last.rpartition('.')[2]}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        sizes = {name: getattr(self, name) for name in ("theorem2", "theorem3", "theorem4", "size")}
        return {
            "layers": list(self.layers),
            "exponent": self.exponent if math.isfinite(self.exponent) else str(self.exponent),
            **{name: size and size.to_dict() for name, size in sizes.items()},
            "steps": self.steps if math.isfinite(self.steps) else str(self.steps),
        }


@torch.no_grad()
def continuous_bounds(model: nn.Module, bounds: ForwardBounds) -> list[ContinuousBounds]:
    """Read every run of residual layers of a network in continuous time; empty where it has none of this form.

    Args:
        model: The network, which is not changed.
        bounds: What `forward_bounds` proves of it.
    """
    grid: tuple[int, int] | None = bounds.input_size[1], bounds.input_size[2]
    runs: list[list[tuple[StepBound, Size]]] = [[]]
    with evaluating(model):
        for bound in bounds.blocks:
            if grid is not None and _is_residual(bound.form):
                norms = [_norm(kernel, grid) for kernel in (bound.form.inner, bound.form.outer)]  # type: ignore[union-attr]  # pyright: ignore
                runs[-1].append((bound, Size(math.prod(norms) * _UP, _at_zero(model, bound, grid) * _UP)))
            elif runs[-1]:
                runs.append([])
            grid = bound.grid
    return [_bounds(run) for run in runs if run]


def _bounds(run: Sequence[tuple[StepBound, Size]]) -> ContinuousBounds:
    layers = [bound for bound, _ in run]
    exponent, offset = 0.0, 0.0
    for _, rate in run:  # x' <= a |x| + g for a time of 1
        factor = _exp(rate.growth)
        offset = factor * offset + rate.offset * (
            math.expm1(rate.growth) / rate.growth if 0 < rate.growth < 700 else factor
        )
        exponent += rate.growth
    theorem3 = theorem4 = None
    if all(bound.growth == 1 and bool((_step(bound).outer.weight >= 0).all()) for bound in layers):
        theorem3 = Size(1.0, sum(bound.offset for bound in layers) * _UP)
    if all(_is_pair(_step(bound)) for bound in layers):
        theorem4 = Size(1.0, sum(rate.offset for _, rate in run) * _UP)
    sensitivity, growth, constant = chain(layers)
    names = tuple(bound.name for bound in layers)
    two = Size(_exp(exponent) * _UP, offset * _UP)
    return ContinuousBounds(names, exponent, two, theorem3, theorem4, sensitivity, Size(growth, constant))


def _step(bound: StepBound) -> ReluStep:
    assert isinstance(bound.form, ReluStep)
    return bound.form


def _is_residual(form: Any) -> bool:
    """Whether a piece is relu(x - outer relu(inner x + b) + c)."""
    if not isinstance(form, ReluStep) or form.inner.stride != 1 or form.before or form.skip.weight.shape[2:] != (1, 1):
        return False
    skip = form.skip.weight[..., 0, 0]
    return form.channels == len(skip) and torch.equal(skip, torch.eye(len(skip), dtype=skip.dtype))


def _is_pair(form: ReluStep) -> bool:
    """Whether outer is the transpose of inner."""
    transpose = form.inner.adjoint()
    return transpose.first == form.outer.first and torch.equal(transpose.weight, form.outer.weight)


def _norm(kernel: Kernel, grid: tuple[int, int]) -> float:
    return float(periodic_norms(kernel.weight[None], grid)[0])


def _at_zero(model: nn.Module, bound: StepBound, grid: tuple[int, int]) -> float:
    """||relu(b2 - A2 relu(b1))||: the size of what the layer makes of the state 0."""
    zero = next(model.parameters()).new_zeros(1, _step(bound).channels, *grid)
    state: Tensor = model.get_submodule(bound.name)(zero)
    return float(state.double().norm()) * (1 + 1e-5)  # computed in the model's own precision


def _exp(value: float) -> float:
    return math.exp(value) if value < 709 else math.inf
