"""Every singular value of a periodic convolution, exactly, from its symbol.

A convolution with stride s on a torus whose sides s divides is, after sorting the input's pixels by their remainder
mod s, a convolution with stride 1 and s1 s2 c_in input channels on the coarse torus N1 x N2. The Fourier transform
turns that into one small matrix for every frequency,

    F(w) = sum over taps t of K_t e^{i w . t},    w = 2 pi (j1/N1, j2/N2),    K_t: c_out x s1 s2 c_in,

and the singular values of the convolution are those of all F(w). K is real, so F(-w) is the conjugate of F(w) and one
of each pair of frequencies suffices. Taps are evaluated where they are, not on the grid: kernels larger than the grid
wrap around as they must (`fft2` would cut them off).

Source: Sedghi, Gupta and Long, ICLR 2019 (stride 1, kernels no larger than the grid).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Taps", "half_frequencies", "periodic_norms", "periodic_singular_values", "polyphase"]


@dataclass(frozen=True)
class Taps:
    """Kernels (L, taps, c_out, channels) of stride 1 and the offset (taps, 2) of every tap, in pixels."""

    kernels: Tensor
    offsets: Tensor

    @property
    def small(self) -> int:
        """Singular values of each block."""
        return min(self.kernels.shape[-2:])

    def symbol(self, frequencies: Tensor) -> Tensor:
        """Evaluate F at frequencies (F, 2), in radians.

        Returns:
            Complex (L, F, c_out, channels).
        """
        layers, taps, rows, columns = self.kernels.shape
        angles = frequencies @ self.offsets.T.to(frequencies)
        flat = self.kernels.reshape(layers, taps, rows * columns)
        parts = (f(angles).to(flat.dtype) @ flat for f in (torch.cos, torch.sin))
        return torch.complex(*parts).view(layers, len(frequencies), rows, columns)


def polyphase(weights: Tensor, stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1)) -> Taps:
    """Write convolutions with a stride as convolutions without one, on s1 s2 c_in channels of the coarse grid.

    Tap a reads pixel s y + d a = s (y + q) + r: remainder r chooses the channel, q is the offset.

    Args:
        weights: (L, c_out, c_in, k1, k2).
        stride: s1, s2.
        dilation: d1, d2.
    """
    layers, rows, columns, *sides = weights.shape
    places = [[divmod(d * a, s) for a in range(k)] for k, s, d in zip(sides, stride, dilation, strict=True)]
    offsets = [
        (q1, q2) for q1 in dict.fromkeys(q for q, _ in places[0]) for q2 in dict.fromkeys(q for q, _ in places[1])
    ]
    index = {offset: i for i, offset in enumerate(offsets)}
    kernels = weights.new_zeros(layers, len(offsets), rows, stride[0] * stride[1], columns)
    for a1, (q1, r1) in enumerate(places[0]):
        for a2, (q2, r2) in enumerate(places[1]):
            kernels[:, index[q1, q2], :, r1 * stride[1] + r2] += weights[..., a1, a2]
    return Taps(kernels.flatten(3), torch.tensor(offsets))


def half_frequencies(grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return one of each pair w, -w of the frequencies, float64 (F, 2) in radians, and how many each stands for."""
    n1, n2 = grid
    j1, j2 = np.divmod(np.arange(n1 * n2), n2)
    partner = (-j1 % n1) * n2 + -j2 % n2
    kept = np.flatnonzero(partner >= np.arange(n1 * n2))
    frequencies = np.stack([j1[kept] / n1, j2[kept] / n2], axis=1) * (2 * math.pi)
    return torch.from_numpy(frequencies), torch.from_numpy(1 + (partner[kept] != kept))


@torch.no_grad()
def periodic_norms(weights: Tensor, grid: tuple[int, int], stride: int = 1) -> Tensor:
    """Return max_w sigma_max(F(w)) of L convolutions of one shape: their exact operator norms.

    Args:
        weights: (L, c_out, c_in, k1, k2), float32 or float64; the accuracy is that of the type.
        grid: height and width of the input.
        stride: must divide both.

    Returns:
        (L,), of the type and on the device of `weights`.

    Raises:
        ValueError: The stride does not divide the grid: the operator is not shift invariant.
    """
    taps = polyphase(weights, (stride, stride))
    frequencies, _ = half_frequencies(coarse_grid(grid, (stride, stride)))
    return torch.linalg.svdvals(taps.symbol(frequencies.to(weights.device)))[..., 0].amax(-1)


@torch.no_grad()
def periodic_singular_values(
    weight: Tensor, grid: tuple[int, int], stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1)
) -> Tensor:
    """Return all N1 N2 min(c_out, s1 s2 c_in) singular values of one convolution without groups, descending.

    Args:
        weight: (c_out, c_in, k1, k2).
        grid: height and width of the input.
        stride: must divide them.
        dilation: any.

    Raises:
        ValueError: The stride does not divide the grid: the operator is not shift invariant.
    """
    taps = polyphase(weight[None], stride, dilation)
    frequencies, counts = half_frequencies(coarse_grid(grid, stride))
    values = torch.linalg.svdvals(taps.symbol(frequencies.to(weight.device))[0])
    return values.repeat_interleave(counts.to(weight.device), 0).flatten().sort(descending=True).values


def coarse_grid(grid: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    """Return N1, N2 = grid / stride.

    Raises:
        ValueError: The stride does not divide the grid.
    """
    if grid[0] % stride[0] or grid[1] % stride[1]:
        raise ValueError(
            f"a periodic convolution with stride {stride} on a {grid[0]}x{grid[1]} grid is not shift invariant: "
            "expected a stride that divides the grid; choose another input size or padding"
        )
    return grid[0] // stride[0], grid[1] // stride[1]
