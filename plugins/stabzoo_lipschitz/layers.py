"""The layers: what a block computes, with a kernel computed from its weights in every pass.

Convolutions are 3x3 on a torus. A block maps y_n to y_{n+1}, and has no past. Weights may be anything; only the grid of
the images must be the one that the network is built for, or divide it (CPL), or any (the others).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stabzoo import ConfigError, Past, StepBound
from stabzoo_forward.caps import Bounds
from stabzoo_forward.layers import adjoint, dropping, refuse_dropping, wrapped
from stabzoo_lipschitz.bounds import convolution_bound, gradient_bound, sandwich_bound
from stabzoo_lipschitz.kernels import cayley, dominated, normalized, working

__all__ = ["LAYERS", "AOLLayer", "CPLLayer", "SLLLayer", "SandwichLayer", "maxmin"]

Grid = tuple[int, int]


class GradientLayer(nn.Module):
    """y+ = y - A' relu(A y + b): Euler's step for minus the gradient of a convex potential; ||A||^2 <= 2.

    Subclasses make A's kernel of ``weight``.
    """

    def __init__(self, channels: int, grid: Grid, drop_path: float = 0.0, **dd: Any) -> None:
        super().__init__()
        self.height, self.width = grid
        self.drop_path = dropping(drop_path)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3, **dd))
        self.bias = nn.Parameter(torch.empty(channels, **dd))

    def reset_parameters(self) -> None:
        """He's initialisation; its scale does not matter."""
        nn.init.kaiming_normal_(self.weight)
        nn.init.zeros_(self.bias)

    def kernel(self) -> Tensor:
        """A's, (C, C, 3, 3)."""
        raise NotImplementedError

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, H, W) -> the same one step later."""
        return y + self.branch(y)

    def branch(self, y: Tensor) -> Tensor:
        """f(y): the layer is Euler's step y + f(y)."""
        kernel = self.kernel()
        slope = F.relu(F.conv2d(wrapped(y), kernel, self.bias))
        return -self.drop_path(adjoint(slope, kernel))

    @torch.jit.ignore()
    def constraints(self, bounds: Bounds, grid: Grid) -> dict[str, Any]:
        """Nothing is projected."""
        return {}

    @torch.jit.ignore()
    def bound_on(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_lipschitz.bounds.gradient_bound`)."""
        refuse_dropping(self.drop_path)
        return gradient_bound(self.kernel(), self.bias, grid)


class CPLLayer(GradientLayer):
    """y - 2/||K||^2 K' relu(K y + b) is y - A' relu(A y + b') with A = sqrt(2) K/||K||, and its bias scaled alike.

    Source: Meunier et al., ICML 2022, eq. (7).
    """

    def kernel(self) -> Tensor:
        """sqrt(2) K / ||K||, the norm on the grid that the network is built for."""
        return normalized(self.weight, self.height, self.width, 2.0**0.5)

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_lipschitz.bounds.gradient_bound`)."""
        return self.bound_on(grid)


class SLLLayer(GradientLayer):
    """y - 2 W T^-1 relu(W' y + b) is y - A' relu(A y + b') with A = sqrt(2) T^(-1/2) W', for T > 0 is diagonal.

    Source: Araujo et al., ICLR 2023, Theorem 3.
    """

    def __init__(self, channels: int, grid: Grid, drop_path: float = 0.0, **dd: Any) -> None:
        super().__init__(channels, grid, drop_path, **dd)
        self.logs = nn.Parameter(torch.empty(channels, **dd))

    def reset_parameters(self) -> None:
        """He's initialisation, whose scale does not matter, and q = 1."""
        super().reset_parameters()
        nn.init.zeros_(self.logs)

    def kernel(self) -> Tensor:
        """sqrt(2) T^(-1/2) W'."""
        return dominated(self.weight, self.logs, 2.0**0.5)

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_lipschitz.bounds.gradient_bound`)."""
        return self.bound_on(grid)


def maxmin(x: Tensor) -> Tensor:
    """The larger of channels i and i + C/2, then the smaller: it keeps every gradient's norm. C is even."""
    first, second = x.chunk(2, dim=1)
    return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], 1)


class FeedForwardLayer(nn.Module):
    """y+ = f(y), 1-Lipschitz; stochastic depth leaves y as it is instead."""

    def __init__(self, channels: int, grid: Grid, drop_path: float = 0.0, **dd: Any) -> None:
        super().__init__()
        self.drop_path, self.drops = dropping(drop_path), drop_path > 0
        self.bias = nn.Parameter(torch.empty(channels, **dd))

    def branch(self, y: Tensor) -> Tensor:
        """f(y)."""
        raise NotImplementedError

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, H, W) -> the same one step later."""
        new = self.branch(y)
        return y + self.drop_path(new - y) if self.drops else new

    @torch.jit.ignore()
    def constraints(self, bounds: Bounds, grid: Grid) -> dict[str, Any]:
        """Nothing is projected."""
        return {}


class AOLLayer(FeedForwardLayer):
    """maxmin(P D y + b), D_j = (sum_i |P' P|_ij)^(-1/2), P a convolution.

    Source: Prach, Lampert, ECCV 2022, Theorem 1; maxmin: Anil, Lucas, Grosse, ICML 2019.

    Raises:
        ConfigError: The number of channels is odd.
    """

    def __init__(self, channels: int, grid: Grid, drop_path: float = 0.0, **dd: Any) -> None:
        super().__init__(channels, grid, drop_path, **dd)
        if channels % 2:
            raise ConfigError(f"width: expected an even number of channels, for maxmin takes pairs; got {channels}")
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3, **dd))

    def reset_parameters(self) -> None:
        """The identity, as its authors start."""
        nn.init.dirac_(self.weight)
        nn.init.zeros_(self.bias)

    def kernel(self) -> Tensor:
        """P D."""
        transposed = self.weight.transpose(0, 1).flip(2, 3)
        return dominated(transposed, torch.zeros_like(self.bias), 1.0).transpose(0, 1).flip(2, 3)

    def branch(self, y: Tensor) -> Tensor:
        """f(y), which is the layer."""
        return maxmin(F.conv2d(wrapped(y), self.kernel(), self.bias))

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_lipschitz.bounds.convolution_bound`)."""
        refuse_dropping(self.drop_path)
        return convolution_bound(self.kernel(), self.bias, grid)


class SandwichLayer(FeedForwardLayer):
    """sqrt(2) A' Psi relu(sqrt(2) Psi^-1 B y + b), A A' + B B' = I, Psi = diag(exp(logs)), computed by the FFT.

    Source: Wang, Manchester, ICML 2023, eq. (10).
    """

    def __init__(self, channels: int, grid: Grid, drop_path: float = 0.0, **dd: Any) -> None:
        super().__init__(channels, grid, drop_path, **dd)
        self.weight = nn.Parameter(torch.empty(2 * channels, channels, 3, 3, **dd))
        self.logs = nn.Parameter(torch.empty(channels, **dd))

    def reset_parameters(self) -> None:
        """Glorot's initialisation, as its authors start, and Psi = I."""
        nn.init.xavier_normal_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.logs)

    def branch(self, y: Tensor) -> Tensor:
        """f(y), which is the layer."""
        root, size = 2.0**0.5, [y.shape[2], y.shape[3]]
        a, b = cayley(self.weight, size[0], size[1])
        psi, bias = working(self.logs).exp()[:, None, None], working(self.bias)[:, None, None]
        inner = torch.fft.irfft2(torch.einsum("hwqc,bchw->bqhw", b, torch.fft.rfft2(working(y))), size)
        slope = psi * F.relu(root * inner / psi + bias)
        outer = torch.fft.irfft2(torch.einsum("hwqc,bqhw->bchw", a.conj(), torch.fft.rfft2(slope)), size)
        return (root * outer).to(y.dtype)

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_lipschitz.bounds.sandwich_bound`)."""
        refuse_dropping(self.drop_path)
        return sandwich_bound(self.weight, self.bias, self.logs, grid)


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "cpl": CPLLayer,
    "sll": SLLLayer,
    "aol": AOLLayer,
    "sandwich": SandwichLayer,
}
"""By the names of their schemes."""
