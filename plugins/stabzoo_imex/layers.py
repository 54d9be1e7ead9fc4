"""The step of IMEXnet, and its implicit part, as torch code."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["IMEXStep", "smoothed"]


class IMEXStep(nn.Module):
    """y + (I + K^T K)^-1 f(y), K a 3x3 convolution of each channel."""

    def __init__(self, f: nn.Module, channels: int, start: float, **dd: Any) -> None:
        """Wrap ``f``; K starts as ``start`` times the identity."""
        super().__init__()
        self.f = f
        self.start = start
        self.kernel = nn.Parameter(torch.empty(channels, 3, 3, **dd))
        self.reset_parameters()

    @torch.jit.unused
    def reset_parameters(self) -> None:
        """Set K to ``start`` times the identity."""
        with torch.no_grad():
            self.kernel.zero_()[:, 1, 1] = self.start

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor:
        """``y`` (B, C, H, W) -> y_next, of that shape."""
        return y + smoothed(self.f(y), self.kernel)


def smoothed(x: Tensor, kernel: Tensor) -> Tensor:
    """(I + K^T K)^-1 x on a periodic grid: x (B, C, H, W), the kernel of K (C, 3, 3).

    The eigenvalues of K are the values of its symbol, sum_pq k_pq exp(i (p s + q t)), at the frequencies of the grid:
    of K^T K their squared moduli, whatever the size of the grid.
    """
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32  # that an FFT takes
    height, width = x.shape[2], x.shape[3]
    taps = torch.arange(-1, 2, device=x.device, dtype=kind)
    s = torch.arange(height, device=x.device, dtype=kind) * (2 * math.pi / height)
    t = torch.arange(width // 2 + 1, device=x.device, dtype=kind) * (2 * math.pi / width)
    rows, columns = taps[:, None] * s, taps[:, None] * t  # (3, H), (3, W/2 + 1)
    angles = (rows[:, None, :, None] + columns[None, :, None, :]).flatten(0, 1).flatten(1)
    k = kernel.to(kind).flatten(1)
    squares = (k @ angles.cos()).square() + (k @ angles.sin()).square()
    spectrum = torch.fft.rfft2(x.to(kind)) / (1 + squares.unflatten(1, [height, width // 2 + 1]))
    return torch.fft.irfft2(spectrum, s=[height, width]).to(x.dtype)


fx.wrap("smoothed")  # its grid has the size of its argument
