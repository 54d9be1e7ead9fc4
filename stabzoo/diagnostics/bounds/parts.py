"""Bounds of the torch modules whose action is known; any other module gets infinity and the reason.

A module counts as known only by its exact class and without hooks: a subclass, or a hook, may compute anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool, SelectAdaptivePool2d
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from stabzoo.diagnostics.bounds.joint import Kernel
from stabzoo.diagnostics.bounds.step_bound import HasBound, StepBound, rounded_up
from stabzoo.diagnostics.layers import conv_norm, operator_norm
from stabzoo.diagnostics.spectra.operators import ConvOperator
from stabzoo.networks.branch import Branch
from stabzoo.networks.resnet import Shortcut1x1

__all__ = ["altered", "branch_constant", "chain", "fold_batch_norm", "preactivated_chain", "sequence_bound"]

Grid = tuple[int, int]
_FIXED = (nn.Identity, nn.Dropout, nn.Dropout2d)


def altered(module: nn.Module) -> str:
    """Return why a module may not compute what its class says, or an empty string."""
    for part in module.modules():
        if part._forward_hooks or part._forward_pre_hooks:
            return f"{type(part).__name__} has forward hooks, which may change what it computes"
        if "forward" in vars(part):
            return f"{type(part).__name__} has a forward of its own"
    return ""


def fold_batch_norm(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return scale and shift (channels,) of a batch norm in evaluation mode, float64; None of an identity.

    Raises:
        ValueError: It is another module, or it uses the batch's statistics.
    """
    if type(norm) is nn.Identity:
        return None
    if type(norm) is not nn.BatchNorm2d:
        raise ValueError(f"{type(norm).__name__} is not a batch norm")
    if altered(norm):
        raise ValueError(altered(norm))
    if norm.training or norm.running_var is None or norm.running_mean is None:
        raise ValueError("a batch norm that uses the batch's statistics couples the images: call model.eval()")
    scale = (norm.running_var.detach().double().cpu() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double().cpu()
    shift = -norm.running_mean.detach().double().cpu() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double().cpu()
    return scale, shift


def chain(bounds: Sequence[StepBound]) -> tuple[float, float, float]:
    """Return sensitivity, growth and offset of a composition."""
    sensitivity, growth, offset = 1.0, 1.0, 0.0
    for bound in bounds:
        sensitivity = _product(sensitivity, bound.sensitivity)
        offset = _product(bound.growth, offset) + bound.offset
        growth = _product(growth, bound.growth)
    return rounded_up(sensitivity), rounded_up(growth), rounded_up(offset)


def _product(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b  # not NaN where one is infinite


def sequence_bound(modules: Sequence[tuple[str, nn.Module]], grid: Grid | None) -> list[StepBound]:
    """Bound modules that act one after the other; a batch norm is folded into the convolution before it.

    Stops at the first that is not known: what follows cannot be bounded without its grid, and the product is infinite.
    """
    flat = list(_flattened("", modules))
    found: list[StepBound] = []
    i = 0
    while i < len(flat):
        name, module = flat[i]
        norm = None
        if isinstance(module, nn.Conv2d) and i + 1 < len(flat) and type(flat[i + 1][1]) is nn.BatchNorm2d:
            norm = flat[i + 1][1]
            i += 1
        try:
            bound = _bound(module, grid, norm)
        except (ValueError, ArithmeticError) as error:
            bound = StepBound.unknown(str(error))
        found.append(replace(bound, name=bound.name or name))
        if not math.isfinite(bound.sensitivity):
            break
        grid = bound.grid
        i += 1
    return found


def _flattened(prefix: str, modules: Sequence[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    found = []
    for name, module in modules:
        if type(module) is nn.Sequential and not altered(module):
            found += _flattened(f"{prefix}{name}.", list(module.named_children()))
        else:
            found.append((prefix + name, module))
    return found


def _bound(module: nn.Module, grid: Grid | None, norm: nn.Module | None) -> StepBound:
    kind = type_before_parametrizations(module)
    if reason := altered(module):
        return StepBound.unknown(reason)
    if isinstance(module, HasBound) and grid is not None:
        return module.bound(grid)
    if kind in _FIXED:
        if module.training and kind is not nn.Identity and getattr(module, "p", 0):
            return StepBound.unknown("dropout draws at random: call model.eval()")
        return StepBound("identity", 1.0, grid, 1.0, 0.0, paper=1.0, paper_offset=0.0)
    if kind is nn.ReLU:
        return StepBound("relu is 1-Lipschitz", 1.0, grid, 1.0, 0.0)
    if kind is nn.Flatten and module.start_dim == 1:
        return StepBound("flattening keeps the norm", 1.0, None, 1.0, 0.0)
    if isinstance(module, nn.Linear) and kind is nn.Linear:
        value = rounded_up(float(torch.linalg.matrix_norm(module.weight.detach().double().cpu(), 2)))
        offset = float(module.bias.detach().double().norm()) if module.bias is not None else 0.0
        return StepBound("||W||", value, None, value, rounded_up(offset), paper=1.0)
    if kind in (nn.AdaptiveAvgPool2d, FastAdaptiveAvgPool, SelectAdaptivePool2d):
        return _global_pool(module, grid)
    if grid is None:
        return StepBound.unknown(f"{kind.__name__} after flattening: the number of pixels is not known")
    if isinstance(module, nn.Conv2d) and kind in (nn.Conv2d, Shortcut1x1):
        return _conv(module, grid, norm)
    if isinstance(module, nn.BatchNorm2d):
        folded = fold_batch_norm(module)
        assert folded is not None
        value = rounded_up(float(folded[0].abs().max()))
        offset = rounded_up(math.sqrt(math.prod(grid)) * float(folded[1].norm()))
        return StepBound("largest |gamma/sigma|", value, grid, value, offset)
    if isinstance(module, nn.MaxPool2d) and kind is nn.MaxPool2d:
        return _max_pool(module, grid)
    if isinstance(module, nn.AvgPool2d) and kind is nn.AvgPool2d:
        return _avg_pool(module, grid)
    return StepBound.unknown(f"{kind.__name__}: nothing is known about what it computes")


def _conv(conv: nn.Conv2d, grid: Grid, norm: nn.Module | None) -> StepBound:
    folded = fold_batch_norm(norm) if norm is not None else None
    operator = ConvOperator.of(conv, grid)
    value = rounded_up(conv_norm(conv, grid, folded[0] if folded else None).value)
    shift = torch.zeros(conv.out_channels, dtype=torch.float64)
    if conv.bias is not None:
        shift = conv.bias.detach().double().cpu() * (folded[0] if folded else 1)
    if folded:
        shift = shift + folded[1]
    out = operator.output_grid
    offset = rounded_up(math.sqrt(math.prod(out)) * float(shift.norm()))
    form = None
    if operator.shift_invariant and operator.groups == 1 and operator.stride == (1, 1) == operator.dilation:
        weight = operator.weight * folded[0][:, None, None, None] if folded else operator.weight
        form = Kernel(weight, -operator.padding[0][0]) if operator.padding[0] == operator.padding[1] else None
    text = "||A||" + (", batch norm folded in" if folded else "")
    return StepBound(text, value, out, value, offset, paper=1.0, paper_offset=offset, form=form)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _max_pool(pool: nn.MaxPool2d, grid: Grid) -> StepBound:
    if pool.return_indices or pool.ceil_mode:
        return StepBound.unknown("MaxPool2d with ceil_mode or return_indices")
    k, s, d, p = (_pair(v) for v in (pool.kernel_size, pool.stride, pool.dilation, pool.padding))
    overlap = math.prod(min(a, -(-((a - 1) * c + 1) // b)) for a, b, c in zip(k, s, d, strict=True))
    out = tuple((n + 2 * q - c * (a - 1) - 1) // b + 1 for n, a, b, c, q in zip(grid, k, s, d, p, strict=True))
    value = rounded_up(math.sqrt(overlap))
    return StepBound(f"a pixel is in at most {overlap} windows", value, (out[0], out[1]), value, 0.0)


def _avg_pool(pool: nn.AvgPool2d, grid: Grid) -> StepBound:
    k, s, p = (_pair(v) for v in (pool.kernel_size, pool.stride, pool.padding))
    if pool.ceil_mode or pool.divisor_override is not None or p != (0, 0):
        return StepBound.unknown("AvgPool2d with padding, ceil_mode or divisor_override")
    # a mean over k1 k2 pixels contracts by their root; a pixel is in at most `overlap` windows
    overlap = math.prod(-(-a // b) for a, b in zip(k, s, strict=True))
    out = tuple((n - a) // b + 1 for n, a, b in zip(grid, k, s, strict=True))
    value = rounded_up(math.sqrt(overlap / math.prod(k)))
    return StepBound("mean of pixels", value, (out[0], out[1]), value, 0.0)


def _global_pool(pool: nn.Module, grid: Grid | None) -> StepBound:
    if isinstance(pool, SelectAdaptivePool2d):
        if pool.pool_type == "":
            return StepBound("identity", 1.0, grid, 1.0, 0.0, paper=1.0, paper_offset=0.0)
        if pool.pool_type not in ("avg", "fast", "fastavg", "max", "fastmax"):
            return StepBound.unknown(f"global pooling {pool.pool_type!r}")
        if getattr(pool.pool, "output_size", 1) not in (1, (1, 1)):
            return StepBound.unknown("global pooling to more than one pixel")
        if pool.pool_type in ("max", "fastmax"):
            return StepBound("maximum over pixels", 1.0, None, 1.0, 0.0)
    elif isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size not in (1, (1, 1)):
        return StepBound.unknown("AdaptiveAvgPool2d to more than one pixel")
    if grid is None:
        return StepBound.unknown("global pooling of something without pixels")
    value = rounded_up(1 / math.sqrt(math.prod(grid)))
    return StepBound("global mean: 1/sqrt(h w)", value, None, value, 0.0, paper=1.0)


def preactivated_chain(modules: Sequence[nn.Module], grid: Grid) -> tuple[float, Grid]:
    """Return the Lipschitz constant of BN-relu-conv triplets and the grid they leave.

    relu(s x + t) moves by at most |s| |dx| in each component, so a triplet has the constant ||K diag(s)||: the scale is
    folded into the convolution after the norm.

    Raises:
        ValueError: A module is not known.
    """
    value, scale = 1.0, None
    for module in modules:
        if reason := altered(module):
            raise ValueError(reason)
        if type(module) is nn.BatchNorm2d:
            folded = fold_batch_norm(module)
            scale = folded[0] if folded else None
        elif isinstance(module, nn.Conv2d):
            norm, grid = _scaled_norm(module, grid, scale)
            value, scale = value * norm, None
        elif type(module) is not nn.ReLU:
            raise ValueError(f"{type(module).__name__}: nothing is known about what it computes")
    if scale is not None:
        value *= float(scale.abs().max())
    return rounded_up(value), grid


def branch_constant(f: nn.Module, grid: Grid, before: Sequence[nn.Module] = ()) -> tuple[float, Grid]:
    """Return the Lipschitz constant of a residual branch after the norm and activation ``before``, and its grid.

    That of the usual branch follows from its layers, that of another from the `StepBound` that it knows.

    Raises:
        ValueError: Nothing is known about it.
    """
    if reason := altered(f):
        raise ValueError(reason)
    if type(f) is Branch:
        if f.drop_path.training and type(f.drop_path) is not nn.Identity:
            raise ValueError("stochastic depth draws at random: call model.eval()")
        return preactivated_chain([*before, *(layer for _, layer in f.layers())], grid)
    if not isinstance(f, HasBound):
        raise ValueError(f"{type(f).__name__}: nothing is known about the residual branch")
    first, _ = preactivated_chain(before, grid)
    bound = f.bound(grid)
    if bound.grid is None or not math.isfinite(bound.sensitivity):
        raise ValueError("; ".join(bound.refused) or f"{type(f).__name__}: it knows no finite bound")
    return rounded_up(first * bound.sensitivity), bound.grid


def _scaled_norm(conv: nn.Conv2d, grid: Grid, scale: Tensor | None) -> tuple[float, Grid]:
    operator = ConvOperator.of(conv, grid)
    factor = 1.0
    if scale is not None and conv.groups > 1:
        factor = float(scale.abs().max())
    elif scale is not None:
        operator = replace(operator, weight=operator.weight * scale[:, None, None])
    return rounded_up(operator_norm(operator).value * factor), operator.output_grid
