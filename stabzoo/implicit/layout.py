"""The order of a state's numbers in memory while an equation is solved: the one that convolutions are fast in."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Layout"]


class Layout(NamedTuple):
    """Images on a CPU are solved for as (B, H, W, C), contiguous: what f sees of them is in channels-last layout.

    A convolution on a CPU works through an image in that order.  It reorders what comes in another, and the result
    back, at every call; a solve, and the products of its adjoint equation, call it twenty times on the same shape.
    """

    channels_last: bool
    given: torch.memory_format

    @classmethod
    def of(cls, y: Tensor) -> Layout:
        """The layout that is best for a state such as ``y``."""
        images = y.dim() == 4 and y.device.type == "cpu"
        seen = images and y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()
        return cls(images, torch.channels_last if seen else torch.contiguous_format)

    def inward(self, x: Tensor) -> Tensor:
        """From what f sees to what is solved for."""
        return x.permute(0, 2, 3, 1).contiguous() if self.channels_last else x

    def outward(self, z: Tensor) -> Tensor:
        """From what is solved for to what f sees; without a copy."""
        return z.permute(0, 3, 1, 2) if self.channels_last else z

    def as_given(self, x: Tensor) -> Tensor:
        """What f sees, in the memory format that the state came in."""
        return x.contiguous(memory_format=self.given) if self.channels_last else x
