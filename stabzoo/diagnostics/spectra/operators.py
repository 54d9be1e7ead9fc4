"""A convolution on one grid as a linear operator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ConvOperator", "PaddingMode", "largest_singular_values", "transposed_operator"]

PaddingMode = Literal["zeros", "circular", "reflect", "replicate"]
_MODES = ("zeros", "circular", "reflect", "replicate")


@dataclass(frozen=True, eq=False)
class ConvOperator:
    """The linear part of a convolution: y = W x for images x of one size; float64, on the CPU.

    Attributes:
        weight: (c_out, c_in / groups, k1, k2).
        grid: height and width of the input.
        stride: s1, s2.
        dilation: d1, d2.
        groups: Number of groups; W is block diagonal, with one block per group.
        padding: (before, after) along each axis.
        mode: kind of padding.
    """

    weight: Tensor
    grid: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    mode: PaddingMode = "zeros"

    def __post_init__(self) -> None:
        if not self.weight.isfinite().all():
            raise ValueError("expected finite weights, got infinity or NaN: nothing has a norm; look at the training")
        if min(self.output_grid) < 1:
            raise ValueError(
                f"a {'x'.join(map(str, self.weight.shape[2:]))} kernel with dilation {self.dilation} and padding "
                f"{self.padding} does not fit a {self.grid[0]}x{self.grid[1]} grid: expected a larger input"
            )

    @classmethod
    def of(cls, conv: nn.Conv2d | nn.Conv1d, grid: tuple[int, int], scale: Tensor | None = None) -> ConvOperator:
        """Read a module; `scale` (c_out,) multiplies the output channels, as a folded batch norm does.

        A `Conv1d` acts on a grid of height 1.  What is read is what torch's forward reads at the time of the call.  Of
        a subclass with a forward of its own it is the operator of the plain class (timm's `Conv2dSame` is known).

        Raises:
            ValueError: Another kind of module, complex weights, a kernel that does not fit the grid, or weights that
                are not finite.
        """
        if not isinstance(conv, nn.Conv2d | nn.Conv1d):
            raise ValueError(f"expected Conv1d or Conv2d, got {type(conv).__name__}: its operator is another one")
        weight = conv.weight.detach()
        if weight.is_complex():
            raise ValueError(f"expected real weights, got {weight.dtype}: only real convolutions are measured")
        weight = weight.to("cpu", torch.float64)
        if scale is not None:
            weight = weight * scale.detach().to("cpu", torch.float64).view(-1, *[1] * (weight.ndim - 1))
        stride, dilation = (_sizes(value, weight.ndim - 2) for value in (conv.stride, conv.dilation))
        if conv.padding_mode not in _MODES:
            raise ValueError(f"expected padding_mode to be one of {', '.join(_MODES)}; got {conv.padding_mode!r}")
        padding = _padding(conv, grid, weight, stride, dilation)
        if weight.ndim == 3:
            weight, stride, dilation = weight[:, :, None], (1, *stride), (1, *dilation)
            padding = ((0, 0), *padding)
        return cls(
            weight,
            grid,
            cast(tuple[int, int], stride),
            cast(tuple[int, int], dilation),
            conv.groups,
            cast(tuple[tuple[int, int], tuple[int, int]], padding),
            cast(PaddingMode, conv.padding_mode),
        )

    @property
    def channels(self) -> tuple[int, int]:
        """Input and output channels."""
        return self.weight.shape[1] * self.groups, self.weight.shape[0]

    @property
    def reach(self) -> tuple[int, int]:
        """Pixels between the first and the last tap along each axis, d (k - 1)."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.weight.shape[2:], strict=True))  # type: ignore[return-value]

    @property
    def output_grid(self) -> tuple[int, int]:
        """Height and width of the output."""
        sizes = zip(self.grid, self.padding, self.reach, self.stride, strict=True)
        return tuple((n + sum(p) - r - 1) // s + 1 for n, p, r, s in sizes)  # type: ignore[return-value]

    @property
    def dimensions(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.channels[1] * math.prod(self.output_grid), self.channels[0] * math.prod(self.grid)

    @property
    def pointwise(self) -> bool:
        """Whether every output pixel is the same matrix times one input pixel: a 1x1 kernel without padding."""
        return self.weight.shape[2:] == (1, 1) and not any(itertools.chain(*self.padding))

    @property
    def patchwise(self) -> bool:
        """Whether no input pixel is read twice, as by 1x1 kernels and those that make patches: the same matrix each."""
        apart = all(reach < stride for reach, stride in zip(self.reach, self.stride, strict=True))
        return apart and not any(itertools.chain(*self.padding))

    @property
    def shift_invariant(self) -> bool:
        """Whether it is a convolution on the torus: circular, the stride divides the grid, n = s m."""
        return self.mode == "circular" and all(
            n == s * m for n, s, m in zip(self.grid, self.stride, self.output_grid, strict=True)
        )

    def group(self, g: int) -> ConvOperator:
        """Return block g, an operator without groups."""
        rows = len(self.weight) // self.groups
        weight = self.weight[g * rows : (g + 1) * rows]
        return ConvOperator(weight, self.grid, self.stride, self.dilation, 1, self.padding, self.mode)

    def __call__(self, x: Tensor) -> Tensor:
        """Apply to images (N, c_in, height, width)."""
        (top, bottom), (left, right) = self.padding
        if self.mode == "zeros" and top == bottom and left == right:
            return F.conv2d(x, self.weight, None, self.stride, (top, left), self.dilation, self.groups)
        return F.conv2d(self.padded(x), self.weight, None, self.stride, 0, self.dilation, self.groups)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply the transpose to (N, c_out, height, width).

        Raises:
            ValueError: The padding is circular.
        """
        if self.mode == "circular":
            raise ValueError(f"expected zero, reflect or replicate padding, got {self.mode!r}")
        if self.mode != "zeros":  # padding's transpose adds what was copied
            back = self.unpadded().adjoint(y)
            with torch.enable_grad():
                x = back.new_zeros(len(back), back.shape[1], *self.grid, requires_grad=True)
                (pulled,) = torch.autograd.grad(self.padded(x), x, back)
            return pulled
        (top, _), (left, _) = self.padding
        full = F.conv_transpose2d(y, self.weight, None, self.stride, 0, 0, self.groups, self.dilation)
        height, width = self.grid
        below, beside = (max(0, p + n - m) for p, n, m in zip((top, left), self.grid, full.shape[2:], strict=True))
        return F.pad(full, (0, beside, 0, below))[..., top : top + height, left : left + width]

    def padded(self, x: Tensor) -> Tensor:
        """Pad images (N, C, height, width)."""
        (top, bottom), (left, right) = self.padding
        return F.pad(x, (left, right, top, bottom), "constant" if self.mode == "zeros" else self.mode)

    def unpadded(self) -> ConvOperator:
        """Return the convolution, without padding, of the padded image."""
        height, width = (n + sum(p) for n, p in zip(self.grid, self.padding, strict=True))
        return ConvOperator(self.weight, (height, width), self.stride, self.dilation, self.groups)

    def sources(self, axis: int) -> list[int]:
        """The pixel that stands at each position of the padded axis; -1 where a zero does."""
        index = torch.arange(self.grid[axis], dtype=torch.float64).view(1, 1, -1)
        if self.mode == "zeros":
            return F.pad(index, self.padding[axis], value=-1).flatten().long().tolist()
        return F.pad(index, self.padding[axis], self.mode).flatten().long().tolist()

    def dense(self) -> Tensor:
        """Return the matrix, (c_out m1 m2) x (c_in n1 n2); for small grids only."""
        columns = self.dimensions[1]
        eye = torch.eye(columns, dtype=torch.float64).view(columns, self.channels[0], *self.grid)
        return self(eye).flatten(1).T


def transposed_operator(conv: nn.ConvTranspose2d, grid: tuple[int, int]) -> ConvOperator:
    """Return the convolution whose adjoint is a transposed convolution on images of one size; the norm is the same.

    Raises:
        ValueError: Complex weights, another padding than with zeros, or output rows that no tap of it reads.
    """
    weight = conv.weight.detach()
    if weight.is_complex():
        raise ValueError(f"expected real weights, got {weight.dtype}: only real convolutions are measured")
    stride, dilation, before, more = (
        _sizes(cast(Any, v), 2) for v in (conv.stride, conv.dilation, conv.padding, conv.output_padding)
    )
    if conv.padding_mode != "zeros" or any(m >= s for m, s in zip(more, stride, strict=True)):
        raise ValueError(
            f"expected a transposed convolution with zero padding and output_padding below its stride, got {conv}"
        )
    taps = weight.shape[2:]
    sizes = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + m + 1
        for n, s, p, d, k, m in zip(grid, stride, before, dilation, taps, more, strict=True)
    )
    if min(sizes) < 1:
        raise ValueError(f"{conv} leaves no pixel of a {grid[0]}x{grid[1]} grid: expected a larger input")
    padding = tuple((p, p) for p in before)
    return ConvOperator(
        weight.to("cpu", torch.float64),
        cast(tuple[int, int], sizes),
        cast(tuple[int, int], stride),
        cast(tuple[int, int], dilation),
        conv.groups,
        cast(tuple[tuple[int, int], tuple[int, int]], padding),
    )


def largest_singular_values(matrices: Tensor) -> Tensor:
    """(B,), of finite float64 matrices (B, m, n), ten times as fast as by all singular values.

    The root of the largest eigenvalue of M M' or M' M, whichever is smaller, of M divided by a power of two, so that
    squares neither overflow nor underflow.  Relative rounding is n^2 2^-53 at most, n the smaller side, as of an SVD:
    squaring harms small singular values only.

    >>> largest_singular_values(torch.tensor([[[3.0, 0.0], [4.0, 0.0]]], dtype=torch.float64)).tolist()
    [5.0]
    """
    largest = matrices.abs().amax((1, 2), keepdim=True)
    scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest).exponent)
    unit = (matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT) / scale
    return torch.linalg.eigvalsh(unit @ unit.mT)[:, -1].clamp(min=0).sqrt() * scale.view(-1)


def _sizes(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """A number for each axis, as torch reads one number for all."""
    sizes = (value,) if isinstance(value, int) else tuple(value)
    return sizes * axes if len(sizes) == 1 else sizes


def _padding(
    conv: nn.Conv2d | nn.Conv1d, grid: tuple[int, int], weight: Tensor, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """What the forward of the class pads with, before and after along each axis."""
    axes = weight.ndim - 2
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if type(conv) is Conv2dSame:  # as much as keeps ceil(n / s) pixels
        more = [max(-(-n // s) * s - s + r + 1 - n, 0) for n, s, r in zip(grid, stride, reach, strict=True)]
        return tuple((m // 2, m - m // 2) for m in more)
    if conv.padding_mode != "zeros":  # computed when the module was built, and what its forward pads with ever after
        flat = conv._reversed_padding_repeated_twice
        return tuple((flat[2 * i], flat[2 * i + 1]) for i in reversed(range(axes)))
    if conv.padding == "same":
        return tuple((r // 2, r - r // 2) for r in reach)
    if conv.padding == "valid":
        return ((0, 0),) * axes
    return tuple((p, p) for p in _sizes(cast(Any, conv.padding), axes))
