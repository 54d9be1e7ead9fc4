"""Kernels of periodic 3x3 convolutions, made so that no distance grows, and differentiable in what they come from."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["cayley", "dominated", "normalized", "symbol", "working"]

INSIDE = 1 - 1e-5
"""What kernels are scaled to, of their bound: rounding in single precision stays within it."""

TINY = 1e-12
"""The least that is divided by: the kernel 0 stays 0."""

# Both are handed on as defaults, for TorchScript reads no others.


def working(tensor: Tensor) -> Tensor:
    """The tensor in float64 if it is, else in float32: transforms and eigenvalues know no half precision."""
    return tensor + torch.zeros(1, dtype=torch.float32, device=tensor.device)  # torch.fx knows no type to ask for


def symbol(kernel: Tensor, height: int, width: int) -> Tensor:
    """F(w) = sum over taps t of K_t e^{i w . t} at the frequencies that `torch.fft.rfft2` has on a grid.

    Taps are evaluated where they are, (-1..1)^2, so that a grid smaller than the kernel wraps them around.

    Args:
        kernel: (C', C, 3, 3).
        height: Of the grid.
        width: Of the grid.

    Returns:
        Complex (height, width // 2 + 1, C', C).
    """
    taps = torch.arange(-1, 2, device=kernel.device, dtype=kernel.dtype)
    rows = torch.arange(height, device=kernel.device, dtype=kernel.dtype) * (2 * math.pi / height)
    columns = torch.arange(width // 2 + 1, device=kernel.device, dtype=kernel.dtype) * (2 * math.pi / width)
    angles = rows[:, None, None, None] * taps[:, None] + columns[:, None, None] * taps  # (h, w, 3, 3)
    flat = kernel.flatten(2).permute(2, 0, 1).flatten(1)
    real, imaginary = torch.cos(angles).flatten(2) @ flat, torch.sin(angles).flatten(2) @ flat
    values = torch.complex(real.to(kernel.dtype), imaginary.to(kernel.dtype))  # autocast has its own
    return values.unflatten(2, [kernel.shape[0], kernel.shape[1]])


def normalized(
    kernel: Tensor, height: int, width: int, cap: float, inside: float = INSIDE, tiny: float = TINY
) -> Tensor:
    """The kernel cap K / ||A||, A the periodic convolution with K on this grid; the norm is exact up to rounding.

    ||A||^2 is the largest eigenvalue of F(w) F(w)* over the frequencies: no iteration, and no estimate from below.
    """
    unit = _unit(kernel)
    values = symbol(unit, height, width)
    square = torch.linalg.eigvalsh(values @ values.mH).amax()
    return (unit * (cap * inside / square.clamp(min=tiny).sqrt())).to(kernel.dtype)


def dominated(kernel: Tensor, logs: Tensor, cap: float, inside: float = INSIDE, tiny: float = TINY) -> Tensor:
    """The kernel cap T^(-1/2) K with T_i = sum_j |A A'|_ij q_j/q_i over channels and pixels, q = exp(logs).

    Its norm is at most cap on a torus of any size: Q^-1 (T - A A') Q is diagonally dominant with a diagonal >= 0, so
    that T - A A' is positive semidefinite. A A' has the 5x5 kernel K * K.

    Source: Araujo et al., ICLR 2023, Theorem 3; with q = 1: Prach and Lampert, ECCV 2022, Theorem 1.
    """
    unit, logs = _unit(kernel), working(logs)
    products = F.conv2d(unit, unit, padding=2).to(unit.dtype).abs().sum((2, 3))
    diagonal = (products * (logs[None, :] - logs[:, None]).exp()).sum(1)
    return (unit * (cap * inside / diagonal.clamp(min=tiny).sqrt())[:, None, None, None]).to(kernel.dtype)


def _unit(kernel: Tensor, tiny: float = TINY) -> Tensor:
    """The kernel at a size at which no square overflows; what is made of it does not depend on its size."""
    return working(kernel) / working(kernel).detach().abs().amax().clamp(min=tiny)


def cayley(kernel: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Symbols of A (C x C) and B (C x C) with A A' + B B' = I, from a kernel (2 C, C, 3, 3).

    Its halves X, Y make Z = X - X' + Y' Y at each frequency, and

        A' = (I + Z)^-1 (I - Z),    B' = -2 Y (I + Z)^-1.

    Source: Wang, Manchester, ICML 2023, eq. (12); Trockman, Kolter, ICLR 2021 (convolutions).
    """
    x, y = symbol(working(kernel), height, width).chunk(2, dim=2)
    z = x - x.mH + y.mH @ y
    one = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    inverse = torch.linalg.inv(one + z)  # the eigenvalues of Z have a real part >= 0
    return (inverse @ (one - z)).mH, (-2 * (y @ inverse)).mH
