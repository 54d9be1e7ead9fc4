"""Autocast around f, and never around the solver: iterates, residuals and small products are float32 at least."""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Autocast", "full_precision"]


@torch.compiler.assume_constant_result  # torch.compile cannot trace what it calls before torch 2.11
def _has_autocast(device: str) -> bool:
    return torch.amp.is_autocast_available(device)


class Autocast(NamedTuple):
    """The autocast region that a computation is in."""

    enabled: bool
    device: str
    kind: torch.dtype

    @classmethod
    def around(cls, x: Tensor) -> "Autocast":
        """The region now, for the device of ``x``."""
        device = x.device.type
        if not _has_autocast(device) or not torch.is_autocast_enabled(device):
            return cls(False, "cpu", torch.float32)
        return cls(True, device, torch.get_autocast_dtype(device))

    def region(self) -> AbstractContextManager[object]:
        """Be in that region again.

        Weights are cast again for every evaluation: a copy that was cast without a graph must not be found by an
        evaluation that needs one.
        """
        if not self.enabled:
            return nullcontext()
        return torch.autocast(self.device, self.kind, cache_enabled=False)


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """No autocast on the device of ``x``."""
    if not _has_autocast(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
