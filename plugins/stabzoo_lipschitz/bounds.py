"""What is proved of the layers, from the operators that they compute with, in float64, rounded up.

For differences, relu is a diagonal matrix Delta with entries in [0, 1].

- y - A' relu(A y + b): I - A' Delta A is symmetric with eigenvalues between 1 - ||A||^2 and 1, hence the constant
  max(1, ||A||^2 - 1). That is 1 for ||A||^2 <= 2, which CPL has by its norm and SLL by T - W' W >= 0; here the norm of
  the scaled kernel decides, whatever it comes from.
- maxmin(A y + b): ||A||, for maxmin sorts pairs.
- sqrt(2) A' Psi relu(sqrt(2) Psi^-1 B y + b): Psi commutes with Delta, so that differences are multiplied by
  2 A' Delta B. For unit vectors u and v, with p = A u and q = B v,

      2 <u, A' Delta B v> = 2 sum_i Delta_i p_i q_i <= 2 sum_i max(0, p_i q_i) <= |p + q|^2 / 2
                          = |[A B] (u, v)|^2 / 2 <= ||[A B]||^2,

  hence the constant ||[A B]||^2 = ||A A' + B B'||, which is 1 up to rounding.

Growth is by the constant, from the image of 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stabzoo import StepBound, periodic_norms
from stabzoo_lipschitz.kernels import cayley

__all__ = ["convolution_bound", "gradient_bound", "sandwich_bound"]

Grid = tuple[int, int]
_UP = 1 + 1e-10  # rounding outwards
_SLACK = 1 + 1e-8


def gradient_bound(kernel: Tensor, bias: Tensor, grid: Grid) -> StepBound:
    """max(1, ||A||^2 - 1) of y - A' relu(A y + b)."""
    a, b = _exact(kernel), _exact(bias)
    square = _norm(a, grid) ** 2 * _UP
    at_zero = float((a.sum((2, 3)).mT @ b.relu()).norm())  # constant over the torus
    refused = (f"||A||^2 <= 2: it is {square:.10g}",) if square > 2 * _SLACK else ()
    return _step("eigenvalues of I - A' Delta A", max(1.0, square - 1) * _UP, at_zero, len(b), grid, refused)


def convolution_bound(kernel: Tensor, bias: Tensor, grid: Grid) -> StepBound:
    """||A|| of maxmin(A y + b)."""
    a, b = _exact(kernel), _exact(bias)
    value = _norm(a, grid)
    refused = (f"||A|| <= 1: it is {value:.10g}",) if value > _SLACK else ()
    return _step("||A||, maxmin", value, float(b.norm()), len(b), grid, refused)


def sandwich_bound(weight: Tensor, bias: Tensor, logs: Tensor, grid: Grid) -> StepBound:
    """||A A' + B B'|| of a sandwich layer."""
    b, psi = _exact(bias), _exact(logs).exp()
    if not bool(psi.isfinite().all() and (psi > 0).all()):
        raise ValueError("Psi is not finite, or 0: train with a lower lr")
    left, right = cayley(_exact(weight), *grid)
    value = float(torch.linalg.eigvalsh(left @ left.mH + right @ right.mH).max()) * _UP
    constant = left[0, 0].real.mT @ (psi * b.relu())
    refused = (f"A A' + B B' = I: its norm is {value:.10g}",) if value > _SLACK else ()
    return _step("||A A' + B B'||", value, math.sqrt(2) * float(constant.norm()), len(b), grid, refused)


def _step(theorem: str, value: float, at_zero: float, channels: int, grid: Grid, refused: tuple[str, ...]) -> StepBound:
    offset = math.sqrt(math.prod(grid)) * at_zero * _UP
    return StepBound(theorem, value, grid, value, offset, refused, 1.0, offset, shape=(channels, *grid))


def _exact(tensor: Tensor) -> Tensor:
    return tensor.detach().double().cpu()


def _norm(kernel: Tensor, grid: Grid) -> float:
    """The norm of the periodic convolution, rounded up."""
    return float(periodic_norms(kernel[None], grid)[0]) * _UP
