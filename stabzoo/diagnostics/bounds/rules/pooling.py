"""Poolings, and what only moves pixels: how often one counts, against how many make a mean."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import torch
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool, FastAdaptiveMaxPool
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import nn
from torch.nn import functional as F

from stabzoo.diagnostics.bounds.rules.convolutions import grid_of
from stabzoo.diagnostics.bounds.step_bound import Shape, StepBound, rounded_up

__all__ = ["adaptive_pool", "average_pool", "flatten", "max_pool", "shuffle", "whole_pool"]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _grid(pool: nn.MaxPool2d | nn.AvgPool2d, shape: Shape) -> tuple[int, int]:
    """What the windows move over: of timm's "same" pools as much more as gives ceil(n / s) windows."""
    grid = grid_of(pool, shape)
    if type(pool) not in (AvgPool2dSame, MaxPool2dSame):
        return grid
    dilation = _pair(getattr(pool, "dilation", 1))
    sizes = zip(grid, _pair(pool.kernel_size), _pair(pool.stride), dilation, strict=True)
    height, width = (max(n, (-(-n // s) - 1) * s + d * (k - 1) + 1) for n, k, s, d in sizes)
    return height, width


def _windows(grid: tuple[int, int], pool: Any, dilation: Any = 1) -> tuple[tuple[int, int], int]:
    """Height and width of the result, and in how many windows a pixel is at most."""
    k, s, d, p = (_pair(v) for v in (pool.kernel_size, pool.stride, dilation, pool.padding))
    sizes, overlap = [], 1
    for n, a, b, c, q in zip(grid, k, s, d, p, strict=True):
        reach = n + 2 * q - c * (a - 1) - 1
        out = (-(-reach // b) if pool.ceil_mode else reach // b) + 1
        if pool.ceil_mode and (out - 1) * b >= n + q:  # a window that starts in the padding is dropped
            out -= 1
        if out < 1:
            raise ValueError(f"{type(pool).__name__} with a window of {a} on {n} pixels: expected a larger input")
        sizes.append(out)
        overlap *= min(a, -(-(c * (a - 1) + 1) // b))
    return (sizes[0], sizes[1]), overlap


def max_pool(pool: nn.MaxPool2d, shape: Shape) -> StepBound:
    """Bound by the windows that a pixel is in.

    Raises:
        ValueError: It returns indices, or the state has no pixels.
    """
    if pool.return_indices:
        raise ValueError("MaxPool2d with return_indices")
    out, overlap = _windows(_grid(pool, shape), pool, pool.dilation)
    return StepBound.of(f"a pixel is in at most {overlap} windows", rounded_up(math.sqrt(overlap)), (shape[0], *out))


def average_pool(pool: nn.AvgPool2d, shape: Shape) -> StepBound:
    """A mean over k1 k2 pixels contracts by their root; a pixel is in at most so many windows.

    Raises:
        ValueError: With padding or another divisor, or where ceil_mode makes windows of fewer pixels.
    """
    grid, k, s = _grid(pool, shape), _pair(pool.kernel_size), _pair(pool.stride)
    whole = all((n - a) % b == 0 for n, a, b in zip(grid, k, s, strict=True))
    if pool.divisor_override is not None or _pair(pool.padding) != (0, 0) or (pool.ceil_mode and not whole):
        raise ValueError("AvgPool2d with padding, divisor_override, or a ceil_mode that adds windows")
    out, overlap = _windows(grid, pool)
    return StepBound.of("mean of pixels", rounded_up(math.sqrt(overlap / math.prod(k))), (shape[0], *out))


def adaptive_pool(pool: nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d, shape: Shape) -> StepBound:
    """The mean's matrix is a product of one for each axis; the maximum's windows overlap by at most so many.

    Raises:
        ValueError: The state has no pixels, or it returns indices.
    """
    grid = grid_of(pool, shape)
    wanted = pool.output_size if isinstance(pool.output_size, tuple | list) else (pool.output_size, pool.output_size)
    out = tuple(n if size is None else int(size) for n, size in zip(grid, wanted, strict=True))
    rows = [F.adaptive_avg_pool1d(torch.eye(n, dtype=torch.float64), m) for n, m in zip(grid, out, strict=True)]
    if isinstance(pool, nn.AdaptiveMaxPool2d):
        if pool.return_indices:
            raise ValueError("AdaptiveMaxPool2d with return_indices")
        overlap = math.prod(int((row > 0).sum(1).max()) for row in rows)
        value, text = math.sqrt(overlap), f"a pixel is in at most {overlap} windows"
    else:
        value = math.prod(float(torch.linalg.matrix_norm(row, 2)) for row in rows)
        text = "global mean: 1/sqrt(h w)" if out == (1, 1) else "means of pixels"
    return StepBound.of(text, rounded_up(value), (shape[0], *out), paper=1.0 if out == (1, 1) else None)


def whole_pool(pool: FastAdaptiveAvgPool | FastAdaptiveMaxPool, shape: Shape) -> StepBound:
    """Timm's mean or maximum over all pixels.

    Raises:
        ValueError: The state has no pixels, or the channels are last.
    """
    grid = grid_of(pool, shape)
    if tuple(pool.dim) != (2, 3):
        raise ValueError(f"{type(pool).__name__} over the axes {tuple(pool.dim)}: expected channels first")
    out = (shape[0],) if pool.flatten else (shape[0], 1, 1)
    if isinstance(pool, FastAdaptiveMaxPool):
        return StepBound.of("maximum over pixels", 1.0, out)
    value = rounded_up(1 / math.sqrt(math.prod(grid)))
    return StepBound.of("global mean: 1/sqrt(h w)", value, out, paper=1.0)


def flatten(module: nn.Flatten, shape: Shape) -> StepBound:
    """The norm stays.

    Raises:
        ValueError: Not from the first axis to the last.
    """
    if module.start_dim != 1 or module.end_dim not in (-1, len(shape)):
        raise ValueError(f"Flatten from axis {module.start_dim} to {module.end_dim}: expected from 1 to the last")
    size = None if None in shape else math.prod(cast(tuple[int, ...], shape))
    return replace(StepBound.of("flattening keeps the norm", 1.0, (size,)), paper=1.0, paper_offset=0.0)


def shuffle(module: nn.PixelShuffle | nn.PixelUnshuffle, shape: Shape) -> StepBound:
    """Space to depth and back: the numbers stay.

    Raises:
        ValueError: The factor does not divide the sides or the channels.
    """
    height, width = grid_of(module, shape)
    up = isinstance(module, nn.PixelShuffle)
    factor = module.upscale_factor if isinstance(module, nn.PixelShuffle) else module.downscale_factor
    channels = shape[0]
    if (not up and (height % factor or width % factor)) or (up and channels is not None and channels % factor**2):
        raise ValueError(f"{type(module).__name__} by {factor} does not divide a state of shape {tuple(shape)}")
    if up:
        out: Shape = (channels and channels // factor**2, height * factor, width * factor)
    else:
        out = (channels and channels * factor**2, height // factor, width // factor)
    return StepBound.of("pixels only move", 1.0, out)
