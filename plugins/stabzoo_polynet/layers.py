"""The step of poly-2, and branches of two parts, as torch modules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from stabzoo import BranchSite, LinearMultistep

__all__ = ["MPoly2Branch", "Poly2Step", "TwoWayBranch"]


class Poly2Step(nn.Module):
    """y + f(y) + f(f(y))."""

    def __init__(self, f: nn.Module, left: LinearMultistep) -> None:
        """Wrap ``f``, which keeps the shape of its argument; ``left``: what is left of the step when f is small."""
        super().__init__()
        self.f = f
        self.left = left

    @torch.jit.unused
    def coefficients(self) -> LinearMultistep:
        """What is left of the step when f is small."""
        return self.left

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor:
        """``y`` (B, C, H, W) -> y_next, of that shape."""
        slope = self.f(y)
        return y + slope + self.f(slope)


class MPoly2Branch(nn.Module):
    """f(y) + g(f(y)); g keeps the shape of f(y)."""

    def __init__(self, site: BranchSite) -> None:
        super().__init__()
        self.f = site.usual()
        self.g = replace(site, cin=site.cout, stride=1, preactivated=False).usual()

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * p(y), (B, C', H', W')."""
        f = self.f(y)
        return (f + self.g(f)) * scale

    def init_scale(self, factor: float, variance: float) -> None:
        """The last kernels of both parts (see `stabzoo.BranchKind`); g sees a slope, of about unit variance."""
        self.f.init_scale(factor, variance)
        self.g.init_scale(factor, 1.0)


class TwoWayBranch(nn.Module):
    """f(y) + g(y)."""

    def __init__(self, site: BranchSite) -> None:
        super().__init__()
        self.f, self.g = site.usual(), site.usual()

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """(B, C, H, W) -> scale * p(y), (B, C', H', W')."""
        return self.f(y, scale) + self.g(y, scale)

    def init_scale(self, factor: float, variance: float) -> None:
        """The last kernels of both parts (see `stabzoo.BranchKind`)."""
        self.f.init_scale(factor, variance)
        self.g.init_scale(factor, variance)
