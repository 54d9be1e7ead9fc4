"""Bounds of modules one after the other; any whose action is not known gets infinity and the reason.

A module counts as known only by its exact class, unaltered (`stabzoo.diagnostics.bounds.genuine`), and so does every
module within it: a subclass, or a hook, may compute anything. The state is tracked as a shape from module to module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from timm.layers import Attention, DropPath, LayerScale2d, Linear, SEModule
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool, FastAdaptiveMaxPool
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.genuine import altered
from stabzoo.diagnostics.bounds.rules import pooling
from stabzoo.diagnostics.bounds.rules.activations import ACTIVATIONS, activation
from stabzoo.diagnostics.bounds.rules.composition import PRODUCT, Residual, composition, residual
from stabzoo.diagnostics.bounds.rules.convolutions import CONVOLUTIONS, convolution, linear, operator_of, transposed
from stabzoo.diagnostics.bounds.rules.normalization import (
    BATCH_NORMS,
    STATE_NORMS,
    batch_norm,
    fold_batch_norm,
    layer_scale,
    pixel_normalization,
    refuse_state_norm,
)
from stabzoo.diagnostics.bounds.step_bound import HasBound, Shape, StepBound, rounded_up
from stabzoo.diagnostics.layers import operator_norm

__all__ = ["chain", "own_bound", "preactivated_chain", "refuse_drawing", "sequence_bound"]

Grid = tuple[int, int]
_FIXED = (nn.Identity, nn.Dropout, nn.Dropout2d, DropPath)
_RULES: dict[type[nn.Module], Any] = {
    **dict.fromkeys(ACTIVATIONS, activation),
    **dict.fromkeys(BATCH_NORMS, batch_norm),
    LayerScale2d: layer_scale,
    nn.Linear: linear,
    Linear: linear,
    nn.ConvTranspose2d: transposed,
    nn.Flatten: pooling.flatten,
    nn.MaxPool2d: pooling.max_pool,
    nn.AvgPool2d: pooling.average_pool,
    MaxPool2dSame: pooling.max_pool,
    AvgPool2dSame: pooling.average_pool,
    nn.AdaptiveAvgPool2d: pooling.adaptive_pool,
    nn.AdaptiveMaxPool2d: pooling.adaptive_pool,
    FastAdaptiveAvgPool: pooling.whole_pool,
    FastAdaptiveMaxPool: pooling.whole_pool,
    nn.PixelShuffle: pooling.shuffle,
    nn.PixelUnshuffle: pooling.shuffle,
}
"""Rules of modules that stand alone: (module, shape) -> StepBound."""

_PRODUCTS = (Attention, nn.MultiheadAttention, SEModule, SqueezeExcite)
"""Modules, and those derived from them, whose result is a product of two functions of the state."""

_PLAIN = {*_RULES, *_FIXED, *CONVOLUTIONS, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList}
"""What a module with a bound of its own may be made of, besides the classes of its own file."""


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


def sequence_bound(modules: Sequence[tuple[str, nn.Module]], shape: Shape) -> list[StepBound]:
    """Bound modules that act one after the other; a batch norm is folded into the convolution before it.

    Stops at the first that is not known: what follows cannot be bounded without its shape, and the product is infinite.

    Args:
        modules: With their names.
        shape: Of the first one's input: (channels, height, width), (channels, length) or (features,).
    """
    flat = _flattened("", modules)
    found: list[StepBound] = []
    i = 0
    while i < len(flat):
        name, module = flat[i]
        norm, until = None, ""
        if type(module) in CONVOLUTIONS and i + 1 < len(flat) and type(flat[i + 1][1]) in BATCH_NORMS:
            until, norm = flat[i + 1]
            i += 1
        try:
            bound = _bound(module, shape, norm)
        except (ValueError, ArithmeticError) as error:
            bound = StepBound.unknown(str(error))
        bound = replace(bound, name=bound.name or name, until=until)
        found.append(bound)
        if not math.isfinite(bound.sensitivity):
            break
        if bound.shape is None:
            after = _after(bound, shape)
            if after is None:
                break
            bound = found[-1] = replace(bound, shape=after)
        assert bound.shape is not None
        shape = bound.shape
        i += 1
    return found


def _after(bound: StepBound, shape: Shape) -> Shape | None:
    """The shape that a module with a bound of its own leaves, which tells its pixels only."""
    if bound.grid is None:
        return None
    return (None, *bound.grid)


def _flattened(prefix: str, modules: Sequence[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    found = []
    for name, module in modules:
        parts = None if altered(module) else composition(module)
        if parts is None:
            found.append((prefix + name, module))
        else:
            found += _flattened(f"{prefix}{name}." if prefix + name else "", parts)
    return found


def _bound(module: nn.Module, shape: Shape, norm: nn.Module | None) -> StepBound:
    kind = type(module)
    if reason := altered(module):
        return StepBound.unknown(reason)
    if hasattr(kind, "bound"):
        return own_bound(module, shape)
    if kind in _FIXED:
        refuse_drawing(module)
        return StepBound.of("identity", 1.0, shape, paper=1.0, paper_offset=0.0)
    if kind in CONVOLUTIONS:
        return convolution(cast(nn.Conv2d, module), shape, norm)
    if kind in _RULES:
        return _RULES[kind](module, shape)
    if (parts := residual(module)) is not None:
        return _residual(kind.__name__, parts, shape)
    if (bound := pixel_normalization(module, shape)) is not None:
        return bound
    return StepBound.unknown(_unknown(module))


def _unknown(module: nn.Module) -> str:
    """Why nothing is proved of a module without a rule: what in it has no Lipschitz constant, if that is known."""
    kind = type(module)
    for name, part in module.named_modules():
        where = f"{name}: " if name else ""
        if isinstance(part, STATE_NORMS):
            return where + refuse_state_norm(part).refused[0]
        if isinstance(part, _PRODUCTS):
            return f"{where}{type(part).__name__}: {PRODUCT}"
    plain = next((base.__name__ for base in kind.__mro__[1:] if base in _PLAIN), None)
    what = f", a subclass of {plain}" if plain else ""
    return f"{kind.__name__}{what}: nothing is known about what it computes"


def own_bound(module: nn.Module, shape: Shape) -> StepBound:
    """Ask a module that has a bound; its class must state it itself, and be made of modules whose action is known.

    Raises:
        ValueError: The class inherits its bound, a part of it is of a class that may compute anything, or the state has
            no pixels.
    """
    kind = type(module)
    if "bound" not in vars(kind):
        owner = next(base.__name__ for base in kind.__mro__ if "bound" in vars(base))
        raise ValueError(
            f"{kind.__name__} inherits its bound from {owner}, and may compute something else: give it "
            "a bound of its own"
        )
    for name, part in module.named_modules():
        its = type(part)
        known = its in _PLAIN or its.__module__ == kind.__module__
        if name and not known:
            raise ValueError(f"{name} is a {its.__name__}: nothing is known about what it computes")
        if name and "bound" not in vars(its) and hasattr(its, "bound"):
            raise ValueError(f"{name} is a {its.__name__}, which inherits its bound")
    if len(shape) != 3 or shape[1] is None or shape[2] is None or not isinstance(module, HasBound):
        raise ValueError(f"{kind.__name__}: its bound is for images, and the state has the shape {tuple(shape)}")
    bound = module.bound((shape[1], shape[2]))
    numbers = (bound.sensitivity, bound.growth, bound.offset)
    if any(math.isnan(number) or number < 0 for number in numbers):
        raise ValueError(f"{kind.__name__}: its bound is {numbers}, which are no bounds")
    return bound


def refuse_drawing(module: nn.Module) -> None:
    """What draws at random has no bound.

    Raises:
        ValueError: Dropout or stochastic depth in training mode, or a module that is neither these nor an identity.
    """
    if type(module) not in _FIXED:
        raise ValueError(f"{type(module).__name__}: nothing is known about what it computes")
    if (
        module.training
        and type(module) is not nn.Identity
        and (getattr(module, "p", 0) or getattr(module, "drop_prob", 0))
    ):
        raise ValueError(f"{type(module).__name__} draws at random: call model.eval()")


def _residual(kind: str, parts: Residual, shape: Shape) -> StepBound:
    """Bound act(shortcut(x) + branch(x)) by the sum of the two."""
    ways = [sequence_bound(modules, shape) for modules in (parts.branch, parts.shortcut)]
    for bound in (bound for way in ways for bound in way):
        if not math.isfinite(bound.sensitivity):
            raise ValueError("; ".join(f"{bound.name}: {reason}" for reason in bound.refused))
    shapes = [way[-1].shape if way else shape for way in ways]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{kind}: its branch gives {shapes[0]}, its shortcut {shapes[1]}")
    branch, shortcut = (chain(way) if way else (1.0, 1.0, 0.0) for way in ways)
    sums = [rounded_up(a + b) for a, b in zip(branch, shortcut, strict=True)]
    (act,) = sequence_bound([parts.act], cast(Shape, shapes[0]))
    if not math.isfinite(act.sensitivity):
        raise ValueError(act.refused[0])
    sensitivity, growth, offset = chain([StepBound("", sums[0], None, sums[1], sums[2]), act])
    return StepBound.of("shortcut + branch", sensitivity, shapes[0], growth=growth, offset=offset)


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
        if type(module) in BATCH_NORMS:
            if scale is not None:
                value *= float(scale.abs().max())
            folded = fold_batch_norm(module)
            scale = folded[0] if folded else None
        elif type(module) in CONVOLUTIONS:
            norm, grid = _scaled_norm(module, grid, scale)
            value, scale = value * norm, None
        elif type(module) is not nn.ReLU:
            raise ValueError(f"{type(module).__name__}: nothing is known about what it computes")
    if scale is not None:
        value *= float(scale.abs().max())
    return rounded_up(value), grid


def _scaled_norm(conv: nn.Module, grid: Grid, scale: Tensor | None) -> tuple[float, Grid]:
    operator = operator_of(conv, grid)
    factor = 1.0
    if scale is not None and operator.groups > 1:
        factor = float(scale.abs().max())
    elif scale is not None:
        operator = replace(operator, weight=operator.weight * scale[:, None, None])
    return rounded_up(operator_norm(operator).value * factor), operator.output_grid
