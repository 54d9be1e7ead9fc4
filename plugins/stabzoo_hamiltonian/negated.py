"""A branch with the opposite sign."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Negated"]


class Negated(nn.Module):
    """-f(y)."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> -scale * f(y), of that shape."""
        return self.f(y, -scale)
