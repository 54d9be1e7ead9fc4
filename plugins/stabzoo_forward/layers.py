"""The layers of eqs. (14), (15) and (18): what a block computes, with every convolution and norm under its own name.

Convolutions are 3x3 on a torus (periodic padding). A block maps y_n to y_{n+1}, and has no past.

Source: Zhang and Schaeffer, JMIV 2020, section 3.1 and appendix A.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn

from stabzoo import Past, StepBound, adjoint_for_hooks, is_hooked, pulled_back, tells_kernel
from stabzoo_forward.bounds import d_bound, patch_bound, pooling_bound, post_bound, s_bound
from stabzoo_forward.caps import Bounds
from stabzoo_forward.constraints import Constraint, NonNegative, NormBound

__all__ = [
    "DLayer",
    "ForwardBackwardStep",
    "PatchLayer",
    "PoolingLayer",
    "PostLayer",
    "SLayer",
    "adjoint",
    "centred",
    "dropping",
    "halved",
    "refuse_dropping",
    "wrapped",
]


Grid = tuple[int, int]


def wrapped(x: Tensor) -> Tensor:
    """Continue (B, C, H, W) by one pixel on each side, periodically."""
    return F.pad(x, [1, 1, 1, 1], mode="circular")


def adjoint(y: Tensor, kernel: Tensor) -> Tensor:
    """A^T y, where A x is the periodic 3x3 convolution of x with ``kernel`` (C', C, 3, 3), stride 1.

    The adjoint on a torus is the convolution with the kernel whose channels are swapped and whose taps are reflected:
    <A x, y> = <x, A^T y>. (B, C', H, W) -> (B, C, H, W).
    """
    return F.conv2d(wrapped(y), kernel.transpose(0, 1).flip(2, 3))


def centred(x: Tensor, channels: int) -> Tensor:
    """E of eq. (31): zero channels on both sides, floor((d2 - d1) / 2) before. (B, d1, H, W) -> (B, d2, H, W)."""
    before = (channels - x.shape[1]) // 2
    return F.pad(x, [0, 0, 0, 0, before, channels - x.shape[1] - before])


def halved(x: Tensor) -> Tensor:
    """P_2 of eq. (33): means of 2x2 pixels, zeros beyond an odd edge. (B, C, H, W) -> (B, C, ceil(H/2), ceil(W/2))."""
    return F.avg_pool2d(x, 2, ceil_mode=True, divisor_override=4)


def periodic(channels: int, out: int, stride: int = 1, *, bias: bool = False, **dd: Any) -> nn.Conv2d:
    """A 3x3 convolution on a torus."""
    return nn.Conv2d(channels, out, 3, stride, 1, padding_mode="circular", bias=bias, **dd)


def dropping(rate: float) -> nn.Module:
    """Stochastic depth."""
    return DropPath(rate) if rate else nn.Identity()


def refuse_dropping(drop_path: nn.Module) -> None:
    """What draws at random has no bound.

    Raises:
        ValueError: stochastic depth in training mode, or another module in its place.
    """
    if type(drop_path) is not nn.Identity and drop_path.training:
        raise ValueError("stochastic depth draws at random: call model.eval()")
    if type(drop_path) not in (nn.Identity, DropPath):
        raise ValueError(f"drop_path is a {type(drop_path).__name__}: expected stochastic depth or an identity")


class ForwardBackwardStep(nn.Module):
    """relu(y + f(y)) around a branch f."""

    slopes = 0

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, y: Tensor, history: list[Tensor]) -> Tensor:
        """State and history -> the new state."""
        return F.relu(history[0] + self.f(y))


class DLayer(nn.Module):
    """ResNet-D: y+ = relu(y - norm2(A2 relu(norm1(A1 y)))), A2 >= 0 elementwise, eq. (14).

    ``norm1`` is a trained batch norm, its shift is b_1; ``norm2`` has gamma = 1 and beta = 0 fixed, which keeps the
    sign of A2 (Remark 2). In evaluation mode A2/sigma_2 is the layer's second operator and mu_2/sigma_2 its b_2.
    """

    def __init__(self, channels: int, drop_path: float = 0.0, **dd: Any) -> None:
        super().__init__()
        self.conv1 = periodic(channels, channels, **dd)
        self.norm1 = nn.BatchNorm2d(channels, **dd)
        self.conv2 = periodic(channels, channels, **dd)
        self.norm2 = nn.BatchNorm2d(channels, affine=False, **dd)
        self.drop_path = dropping(drop_path)

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, H, W) -> the same one step later."""
        return F.relu(y + self.branch(y))

    def branch(self, y: Tensor) -> Tensor:
        """f(y): the layer is the forward-backward step relu(y + f(y))."""
        return -self.drop_path(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(y))))))

    @torch.jit.ignore()
    def constraints(self, bounds: Bounds, grid: Grid) -> dict[str, Constraint]:
        """What is kept of its weights, whose input has this height and width."""
        return {"conv2.weight": NonNegative()} if bounds.is_signed else {}

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_forward.bounds.d_bound`)."""
        refuse_dropping(self.drop_path)
        return d_bound(self.conv1, self.norm1, self.conv2, self.norm2, grid)


class SLayer(nn.Module):
    """ResNet-S: y+ = relu(y - norm2(A^T relu(norm1(A y + b_1))) + b_2), one kernel, eq. (15).

    Normed, as the paper trains it: ``norm1`` is a trained batch norm, ``norm2`` has gamma = 1 and beta = 0 fixed, and
    there are no biases. Otherwise ``norm1`` and ``norm2`` are identities, b_1 is ``conv.bias``, b_2 is ``bias2``, and
    the layer is non-expansive when ||A||_2 <= sqrt(2) (Lemma 2).
    """

    __jit_ignored_attributes__ = ("adjoint",)

    def __init__(self, channels: int, drop_path: float = 0.0, *, normed: bool = True, **dd: Any) -> None:
        super().__init__()
        self.conv = periodic(channels, channels, bias=not normed, **dd)
        self.norm1 = nn.BatchNorm2d(channels, **dd) if normed else nn.Identity()
        self.norm2 = nn.BatchNorm2d(channels, affine=False, **dd) if normed else nn.Identity()
        self.bias2 = None if normed else nn.Parameter(torch.zeros(channels, **dd))
        self.drop_path = dropping(drop_path)
        self.adjoint = adjoint_for_hooks(self.conv, padding=2)  # of `wrapped` states

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, H, W) -> the same one step later."""
        return F.relu(y + self.branch(y))

    def branch(self, y: Tensor) -> Tensor:
        """f(y): the layer is the forward-backward step relu(y + f(y))."""
        slope = F.relu(self.norm1(self.conv(y)))
        back = adjoint(slope, self.conv.weight) if torch.jit.is_scripting() else self.transposed(slope)
        # a view: what folds norms into the convolutions before them must not fold norm2 into the kernel that A has, too
        f = -self.drop_path(self.norm2(back.view_as(y)))
        return f if self.bias2 is None else f + self.bias2[:, None, None]

    @torch.jit.unused
    def transposed(self, y: Tensor) -> Tensor:
        """A^T y; where an adapter or a quantized layer has taken the place of A, that of what it computes."""
        if is_hooked(self.adjoint, self.conv):  # slower than `adjoint`
            return self.adjoint(wrapped(y))
        return adjoint(y, self.conv.weight) if tells_kernel(self.conv) else pulled_back(self.conv, y)

    @torch.jit.ignore()
    def constraints(self, bounds: Bounds, grid: Grid) -> dict[str, Constraint]:
        """What is kept of its weights, whose input has this height and width."""
        return {} if bounds.residual is None else {"conv.weight": NormBound(bounds.residual, grid)}

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_forward.bounds.s_bound`)."""
        refuse_dropping(self.drop_path)
        return s_bound(self.conv, self.norm1, self.norm2, self.bias2, grid)


class PoolingLayer(nn.Module):
    """The 2D pooling layer: y+ = relu(E(P_2(y)) - relu(norm(A|s=2 y + b))), eq. (18).

    Half of the channels of y+ are relu(0 - relu(.)) = 0 whatever the input: the following layers' shifts fill them.
    ``norm`` is a trained batch norm and there is no bias; if not ``normed``, an identity and ``conv.bias``.
    """

    def __init__(self, channels: int, out: int, *, normed: bool = True, **dd: Any) -> None:
        super().__init__()
        self.conv = periodic(channels, out, 2, bias=not normed, **dd)
        self.norm = nn.BatchNorm2d(out, **dd) if normed else nn.Identity()
        self.out = out

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H/2), ceil(W/2))."""
        return F.relu(centred(halved(y), self.out) - F.relu(self.norm(self.conv(y))))

    @torch.jit.ignore()
    def constraints(self, bounds: Bounds, grid: Grid) -> dict[str, Constraint]:
        """What is kept of its weights, whose input has this height and width."""
        return {} if bounds.pool is None else {"conv.weight": NormBound(bounds.pool, grid, 2)}

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_forward.bounds.pooling_bound`)."""
        return pooling_bound(self.conv, self.norm, grid)


class PatchLayer(nn.Module):
    """Space to depth and a matrix: A y + b over patches of 2x2 pixels, with a relu where states are >= 0.

    The patches do not overlap, so that ||A||_2 is the norm of the matrix (C', 4 C) itself; beyond an odd edge there are
    zeros. It starts as the means of
    two neighbours times sqrt(2), along the rows in one half of the channels and so from the next row in the other:
    its rows are orthonormal, and states stay >= 0.
    """

    def __init__(self, channels: int, out: int, *, rectified: bool = True, **dd: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 2, 2, **dd)
        self.rectified = rectified

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start as the class says; channels beyond twice those of the input start at 0."""
        weight = self.conv.weight
        nn.init.zeros_(weight)
        for row in range(2):
            channels = min(weight.shape[1], max(0, weight.shape[0] - row * weight.shape[1]))
            index = torch.arange(channels)
            weight[row * weight.shape[1] + index, index, row] = 2**-0.5

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H/2), ceil(W/2))."""
        y = self.conv(F.pad(y, [0, y.shape[3] % 2, 0, y.shape[2] % 2]))
        return F.relu(y) if self.rectified else y

    @torch.jit.ignore()
    def constraints(self, bounds: Bounds, grid: Grid) -> dict[str, Constraint]:
        """What is kept of its weights, whose input has this height and width."""
        return {} if bounds.pool is None else {"conv.weight": NormBound(bounds.pool, (2, 2), 2)}

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_forward.bounds.patch_bound`)."""
        return patch_bound(self.conv, grid, rectified=self.rectified)


class PostLayer(nn.Module):
    """The post-activation residual block of Fig. 2c: y+ = relu(E(y|s) + norm2(A2 relu(norm1(A1|s y)))).

    Zero padding and a shortcut without parameters: every second pixel and zero channels where the shape changes.

    Source: He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016, section 4.2, option A.
    """

    def __init__(self, channels: int, out: int, stride: int = 1, drop_path: float = 0.0, **dd: Any) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False, **dd)
        self.norm1 = nn.BatchNorm2d(out, **dd)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False, **dd)
        self.norm2 = nn.BatchNorm2d(out, **dd)
        self.drop_path = dropping(drop_path)
        self.stride, self.out = stride, out

    def forward(self, y: Tensor, past: Past | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', ceil(H/stride), ceil(W/stride))."""
        return F.relu(centred(y[:, :, :: self.stride, :: self.stride], self.out) + self.branch(y))

    def branch(self, y: Tensor) -> Tensor:
        """f(y): where the shape is kept the layer is the forward-backward step relu(y + f(y))."""
        return self.drop_path(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(y))))))

    @torch.jit.ignore()
    def constraints(self, bounds: Bounds, grid: Grid) -> dict[str, Constraint]:
        """Nothing is kept."""
        return {}

    @torch.jit.ignore()
    def bound(self, grid: Grid) -> StepBound:
        """What is proved of this layer (`stabzoo_forward.bounds.post_bound`)."""
        refuse_dropping(self.drop_path)
        return post_bound(self.conv1, self.norm1, self.conv2, self.norm2, grid)
