"""Convolutions and linear layers: the norm of the operator that the module computes, and its bias at every position."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.joint import Kernel
from stabzoo.diagnostics.bounds.rules.normalization import fold_batch_norm
from stabzoo.diagnostics.bounds.step_bound import Shape, StepBound, rounded_up
from stabzoo.diagnostics.layers import operator_norm
from stabzoo.diagnostics.spectra.operators import ConvOperator, largest_singular_values, transposed_operator

__all__ = ["CONVOLUTIONS", "convolution", "grid_of", "linear", "operator_of", "positions", "transposed"]

CONVOLUTIONS = (nn.Conv2d, nn.Conv1d, Conv2dSame)
"""Exact types whose operator `operator_of` reads."""


def grid_of(module: nn.Module, shape: Shape, dimensions: int = 2) -> tuple[int, int]:
    """Height and width of the input of a layer that acts on images (a height of 1 for one dimension).

    Raises:
        ValueError: The state has another number of axes, or they are not known.
    """
    sizes = shape[1:]
    if len(sizes) != dimensions or None in sizes:
        shown = " x ".join("?" if n is None else str(n) for n in shape)
        raise ValueError(f"{type(module).__name__} on a state of shape {shown}: expected one of {1 + dimensions} axes")
    return cast(tuple[int, int], (1, *sizes)[-2:])


def positions(shape: Shape) -> int:
    """The product of some sizes.

    Raises:
        ValueError: One is not known.
    """
    if None in shape:
        raise ValueError("the number of positions at which the bias is added is not known")
    return math.prod(cast(tuple[int, ...], shape))


def operator_of(conv: nn.Module, grid: tuple[int, int], scale: Tensor | None = None) -> ConvOperator:
    """Read a convolution whose class is known.

    Raises:
        ValueError: Another class.
    """
    if type(conv) not in CONVOLUTIONS:
        raise ValueError(f"{type(conv).__name__}: nothing is known about what it computes")
    assert isinstance(conv, nn.Conv2d | nn.Conv1d)
    return ConvOperator.of(conv, grid, scale)


def convolution(conv: nn.Conv2d | nn.Conv1d, shape: Shape, norm: nn.Module | None) -> StepBound:
    """Bound a convolution, with the batch norm that follows it folded in.

    Raises:
        ValueError: The state is not one that it takes, or nothing is known of the class.
    """
    one = isinstance(conv, nn.Conv1d)
    folded = fold_batch_norm(norm) if norm is not None else None
    operator = operator_of(conv, grid_of(conv, shape, 1 if one else 2), folded[0] if folded else None)
    if shape[0] not in (None, operator.channels[0]):
        raise ValueError(f"{type(conv).__name__} of {operator.channels[0]} channels on a state of {shape[0]}")
    value = rounded_up(operator_norm(operator).value)
    shift = torch.zeros(operator.channels[1], dtype=torch.float64)
    if conv.bias is not None:
        shift = conv.bias.detach().double().cpu() * (folded[0] if folded else 1)
    if folded:
        shift = shift + folded[1]
    out = operator.output_grid
    offset = rounded_up(math.sqrt(math.prod(out)) * float(shift.norm()))
    form = None
    if operator.shift_invariant and operator.groups == 1 and operator.stride == (1, 1) == operator.dilation:
        form = Kernel(operator.weight, -operator.padding[0][0]) if operator.padding[0] == operator.padding[1] else None
    text = "||A||" + (", batch norm folded in" if folded else "")
    sizes = out[1:] if one else out
    return StepBound.of(
        text, value, (operator.channels[1], *sizes), offset=offset, paper=1.0, paper_offset=offset, form=form
    )


def transposed(conv: nn.ConvTranspose2d, shape: Shape) -> StepBound:
    """Bound a transposed convolution, the adjoint of a convolution of its result, with the same norm.

    Raises:
        ValueError: The state is not one that it takes, or the padding is not with zeros.
    """
    operator = transposed_operator(conv, grid_of(conv, shape))
    value = rounded_up(operator_norm(operator).value)
    out = operator.grid
    bias = 0.0 if conv.bias is None else float(conv.bias.detach().double().norm())
    offset = rounded_up(math.sqrt(math.prod(out)) * bias)
    return StepBound.of("||A||, a convolution's adjoint", value, (operator.channels[0], *out), offset=offset)


def linear(module: nn.Linear, shape: Shape) -> StepBound:
    """Bound a linear layer, which acts on the last axis and adds its bias at every position of the others.

    Raises:
        ValueError: The last axis is not known to be of its size.
    """
    weight = module.weight.detach().double().cpu()
    if shape[-1] not in (None, weight.shape[1]):
        raise ValueError(f"Linear of {weight.shape[1]} features on a state of shape {tuple(shape)}")
    value = rounded_up(float(largest_singular_values(weight[None])))
    offset = 0.0
    if module.bias is not None:
        offset = rounded_up(math.sqrt(positions(shape[:-1])) * float(module.bias.detach().double().norm()))
    bound = StepBound.of("||W||", value, (*shape[:-1], len(weight)), offset=offset, paper=1.0)
    return bound if len(shape) > 1 else replace(bound, grid=None)
