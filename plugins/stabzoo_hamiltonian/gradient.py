"""The slope of a Hamiltonian block: the gradient of a potential of one layer."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Gradient"]


class Gradient(nn.Module):
    """h K' relu(K y + b): the gradient of h |relu(K y + b)|^2 / 2, with a 3x3 convolution K and its transpose K'.

    Its Jacobian h K' diag(K y + b > 0) K is symmetric.  There is no batch norm: in training mode its statistics would
    couple the images, and the map would not be a gradient.
    """

    def __init__(self, channels: int, hidden: int, h: float, **dd: Any) -> None:
        """``channels`` of the argument and of the result, ``hidden`` ones of K y; ``h`` may be negative."""
        super().__init__()
        self.conv = nn.Conv2d(channels, hidden, 3, padding=1, **dd)
        nn.init.zeros_(self.conv.bias)  # pyright: ignore[reportArgumentType]
        self.h = h

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * h K' relu(K y + b), of that shape."""
        return F.conv_transpose2d(F.relu(self.conv(y)), self.conv.weight * (self.h * scale), padding=1)
