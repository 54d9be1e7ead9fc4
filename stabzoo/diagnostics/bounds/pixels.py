"""The normalisation of pixels as a module, for what reads a network piece by piece."""

from __future__ import annotations

from torch import Tensor, nn

from stabzoo.diagnostics.bounds.step_bound import StepBound, rounded_up

__all__ = ["Normalization"]


class Normalization(nn.Module):
    """(pixels - mean) / std, of every channel or every pixel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return (pixels - self.mean) / self.std

    def bound(self, grid: tuple[int, int]) -> StepBound:
        """The largest 1/std, and the size of mean/std; both may be images."""
        mean, std = (x.detach().double().cpu() for x in (self.mean, self.std))
        scale = rounded_up(float((1 / std).abs().max()))
        offset = rounded_up(float((mean / std).expand(-1, *grid).norm()))
        return StepBound("largest 1/std", scale, grid, scale, offset)
