"""Lipschitz constants of activations: the largest |derivative|, rounded up, and the value at 0.

- leaky and parametric relu: max(1, |slope|);
- GELU, x Phi(x): the second derivative phi(x) (2 - x^2) vanishes at sqrt 2, so
  max |g'| = Phi(sqrt 2) + sqrt 2 phi(sqrt 2) = (1 + erf 1) / 2 + exp(-1) / sqrt pi = 1.12890...;
- SiLU, x sigma(x): the second derivative vanishes where x tanh(x / 2) = 2, at x = 2.39935...; there
  sigma = 1/2 + 1/x, so max |s'| = 1/2 + x/4 = 1.09983...;
- hardswish, x min(max(x + 3, 0), 6) / 6: (2 x + 3) / 6 at 3 is 3/2;
- ELU: max(1, alpha); relu6, tanh: 1; sigmoid: 1/4; hardsigmoid: 1/6.

|a(x)| <= growth |x| + |a(0)| with the same constant; GELU, SiLU and hardswish are within [-|x|, |x|].

Source: Hendrycks and Gimpel, Gaussian error linear units, 2016; Elfwing, Uchibe and Doya, Sigmoid-weighted linear
units, 2018, for the functions; the constants follow from the derivatives as stated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from stabzoo.diagnostics.bounds.step_bound import Shape, StepBound, rounded_up

__all__ = ["ACTIVATIONS", "GELU", "GELU_TANH", "SILU", "activation"]

GELU = rounded_up((1 + math.erf(1)) / 2 + math.exp(-1) / math.sqrt(math.pi))
GELU_TANH = 1.128994  # of x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2: the maximum 1.1289930... is at x = 1.4185
SILU_ARGUMENT = 2.3993572805154677  # root of x tanh(x / 2) = 2; the maximum is flat there
SILU = rounded_up(0.5 + SILU_ARGUMENT / 4)

# (Lipschitz constant, growth, |a(0)|) of a module
_Numbers = tuple[float, float, float]
_Rule = Callable[[Any], _Numbers]


def _gelu(module: nn.GELU) -> _Numbers:
    if module.approximate not in ("none", "tanh"):
        raise ValueError(f"GELU with approximate={module.approximate!r}: expected 'none' or 'tanh'")
    return (GELU if module.approximate == "none" else GELU_TANH), 1.0, 0.0


def _slope(value: float) -> _Numbers:
    largest = max(1.0, abs(value))
    return largest, largest, 0.0


def _elu(module: nn.ELU) -> _Numbers:
    if module.alpha < 0:
        raise ValueError(f"ELU with alpha={module.alpha}: expected alpha >= 0")
    return _slope(module.alpha)


def _hardtanh(module: nn.Hardtanh) -> _Numbers:
    return 1.0, 1.0, abs(min(max(0.0, module.min_val), module.max_val))


ACTIVATIONS: dict[type[nn.Module], _Rule] = {
    nn.ReLU: lambda _: (1.0, 1.0, 0.0),
    nn.ReLU6: lambda _: (1.0, 1.0, 0.0),
    nn.Tanh: lambda _: (1.0, 1.0, 0.0),
    nn.Hardtanh: _hardtanh,
    nn.Sigmoid: lambda _: (0.25, 0.25, 0.5),
    nn.Hardsigmoid: lambda _: (1 / 6, 1 / 6, 0.5),
    nn.Hardswish: lambda _: (1.5, 1.0, 0.0),
    nn.LeakyReLU: lambda module: _slope(module.negative_slope),
    nn.PReLU: lambda module: _slope(float(module.weight.detach().abs().max())),
    nn.ELU: _elu,
    nn.GELU: _gelu,
    nn.SiLU: lambda _: (SILU, 1.0, 0.0),
}
"""By exact type."""


def activation(module: nn.Module, shape: Shape) -> StepBound:
    """Bound an activation, which acts on every component alone.

    Raises:
        ValueError: Its parameters are outside of those whose constant is known, or its value at 0 is not 0 and the
            number of components is not known.
    """
    kind = type(module)
    lipschitz, growth, at_zero = ACTIVATIONS[kind](module)
    offset = 0.0
    if at_zero:
        if None in shape:
            raise ValueError(f"{kind.__name__}: the number of components is not known, and it is {at_zero:g} at 0")
        offset = at_zero * math.sqrt(math.prod(n for n in shape if n is not None))
    text = f"{kind.__name__} is {lipschitz:.5g}-Lipschitz"
    return StepBound.of(text, rounded_up(lipschitz), shape, growth=rounded_up(growth), offset=rounded_up(offset))
