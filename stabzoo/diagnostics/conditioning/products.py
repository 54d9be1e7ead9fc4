"""Products with the Jacobian of a function at a point and with its transpose, by reverse mode alone.

J^T u is one backward pass.  It is linear in u, and its derivative by u in the direction v is J v: the backward pass
of the backward pass, recorded when a J v is asked for first.  So rows of J need one
derivative of the function, columns two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Products"]


class Products:
    """v -> J v and u -> J^T u of a function at x, m x n, and how many of them were computed one at a time."""

    def __init__(self, function: Callable[[Tensor], Tensor], x: Tensor) -> None:
        self.count = 0
        with torch.enable_grad():
            self.x = x.clone().requires_grad_()
            self.y = function(self.x)
            if not self.y.requires_grad:  # constant
                self.y = self.y + 0 * self.x.sum()

    @cached_property
    def _recorded(self) -> tuple[Tensor, Tensor]:
        """U and J^T u as a function of it."""
        with torch.enable_grad():
            u = torch.zeros_like(self.y, requires_grad=True)
            adjoint = self._grad(self.y, self.x, u, create_graph=True)
            return u, adjoint if adjoint.requires_grad else adjoint + 0 * u.sum()

    def _grad(self, output: Tensor, by: Tensor, weight: Tensor, **options: bool) -> Tensor:
        return torch.autograd.grad(output, by, weight, retain_graph=True, materialize_grads=True, **options)[0]

    def rows(self, u: Tensor) -> Tensor:
        """(k, m) -> u J, (k, n)."""
        return self._grad(self.y, self.x, u.reshape(-1, *self.y.shape), is_grads_batched=True).flatten(1)

    def columns(self, v: Tensor) -> Tensor:
        """(k, n) -> v J^T, (k, m); differentiates twice."""
        u, adjoint = self._recorded
        return self._grad(adjoint, u, v.reshape(-1, *self.x.shape), is_grads_batched=True).flatten(1)

    def forward(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        """J v; differentiates twice."""
        self.count += 1
        u, adjoint = self._recorded
        tangent = torch.from_numpy(np.ascontiguousarray(v)).to(self.x.device).reshape(self.x.shape)
        return self._grad(adjoint, u, tangent).flatten().cpu().numpy()

    def backward(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """J^T u."""
        self.count += 1
        cotangent = torch.from_numpy(np.ascontiguousarray(u)).to(self.x.device).reshape(self.y.shape)
        return self._grad(self.y, self.x, cotangent).flatten().cpu().numpy()
