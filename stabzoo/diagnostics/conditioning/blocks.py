"""Condition numbers of residual blocks: the paper's formula beside the truth.

Lemma 1 of the paper gives a block y + W2 W1 y the condition number (M1 M2 + 1) / (m1 m2 + 1), with M and m the largest
and the smallest singular values of W1 and W2.  It is not a bound: the smallest singular value of I + W2 W1 is not
1 + m1 m2 (W1 = I, W2 = diag(-1, 1) have M = m = 1 and formula 1, and I + W2 W1 is singular).  What is true:

- cond(I + W2 W1) <= (1 + M1 M2) / (1 - M1 M2) where M1 M2 < 1;
- Lemma 2, with the condition number k of L = I + W2 W1 and not with the formula: a relative perturbation |d| / |y| is
  |L d| / |L y| <= k |d| / |y| behind the block, and at least 1/k times it.  The paper writes "=" in the proof where it
  has "<=".  Both bounds are attained, by singular vectors: so with the formula, where it is smaller, they are false;
- cond(W2 W1) <= M1 M2 / (m1 m2), of the branch without shortcut and activations, where W1 and W2 are square.

So the condition number itself is computed too, of the linear map (activations left out, batch norms in evaluation mode,
which are affine) and of the Jacobian at data: sigma_max / sigma_min over the min(m, n) singular values of an (m, n)
matrix:

- dense, where the smaller side is at most ``dense_limit``;
- else, of a map between images that is local (see `banded`), by block QR in the order of image rows, J = Q R, or
  J^T = Q R if J is wide: sigma_min = 1 / ||R^{-1}||;
- else matrix-free, by products with J and J^T, which may not converge, and then says so.

Source: Understanding ResNet from a Discrete Dynamical System Perspective (ICLR 2022 submission), eq. (2) and Lemma 1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from stabzoo.diagnostics.capture import named_modules_of, residual_blocks, run_hooked
from stabzoo.diagnostics.conditioning.condition_number import Condition, _ratio, condition_number
from stabzoo.diagnostics.measurement import Kind, Measurement
from stabzoo.networks.branch import Branch
from stabzoo.networks.past import advanced, given
from stabzoo.networks.resnet import Block

__all__ = ["BlockConditioning", "block_conditioning", "module_conditioning"]

ROUNDING = 1e-10  # relative to the largest singular value: far above what float64 loses at these dimensions
NOT_A_BOUND = "Lemma 1; not a bound of the condition number, in either direction"


@dataclass(frozen=True)
class BlockConditioning:
    """Formula and truth of one block; ``interval`` is what the formula gives for all smallest singular values.

    ``amplified`` is the growth of Gaussian noise through the block's linear map, relative to the state's: between 1/k
    and k by Lemma 2.
    """

    name: str
    formula: Measurement
    interval: tuple[float, float]
    branch_bound: Measurement
    block_bound: Measurement
    linear: Condition
    jacobian: Condition
    amplified: Measurement

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "name": self.name,
            "formula": self.formula.to_dict(),
            "interval": [end if math.isfinite(end) else str(end) for end in self.interval],
            "branch_bound": self.branch_bound.to_dict(),
            "block_bound": self.block_bound.to_dict(),
            "linear": self.linear.to_dict(),
            "jacobian": self.jacobian.to_dict(),
            "amplified": self.amplified.to_dict(),
        }


def block_conditioning(
    block: nn.Module, inputs: Tensor | Sequence[Tensor], name: str = "", **options: Any
) -> BlockConditioning:
    """Formula and truth of one residual block, at its input for one image.

    Args:
        block: A block of stabzoo's network, or timm's ResNet ``BasicBlock`` or ``Bottleneck``; it is not changed.
        inputs: What it is called with: a tensor (1, C, H, W), or the history, newest state first.  The maps are those
            from the newest state to the next one; older states are held fixed.
        name: Of the block.
        options: Those of `condition_number`.

    Raises:
        ValueError: the block is of another kind, or without its activations not affine, or see `condition_number`.
    """
    block = copy.deepcopy(block).double().eval().requires_grad_(False)
    history = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    history = [entry.detach().double() for entry in history]
    y = history[0]
    factors, skip, scale = _factors(block)
    jacobian = condition_number(_newest(block, history), y, **options)
    _remove_activations(block)
    step = _newest(block, history)
    _require_affine(step, y, name or type(block).__name__)
    linear = condition_number(step, y, **options)
    amplified = _amplified(step, y)
    # A missing skip (its coefficient is 0) makes the formula the one of the paper's base network.
    if skip is None:
        undefined = Measurement(math.nan, "heuristic", "the shortcut is not the identity: Lemma 1 says nothing")
        return BlockConditioning(
            name, undefined, (math.nan, math.nan), undefined, undefined, linear, jacobian, amplified
        )
    largest = smallest = abs(scale)
    low = high = abs(scale)  # smallest from below and largest from above, rounding included
    at, certain, square = y, True, True
    for factor in factors:
        found = condition_number(factor, at, **options)
        largest, smallest = largest * found.sigma_max.value, smallest * found.sigma_min.value
        margin = ROUNDING * found.sigma_max.value
        low *= max(found.sigma_min.value - margin, 0.0)
        high *= found.sigma_max.value + margin
        square = square and found.shape[0] == found.shape[1]
        certain = certain and found.value.kind == "exact"
        with torch.no_grad():
            at = factor(at)
    kind: Kind = "certified_upper" if certain else "heuristic"
    a = abs(skip)
    formula = Measurement(_ratio(largest + a, smallest + a), "heuristic", NOT_A_BOUND)
    interval = (_ratio(largest + a, smallest + a), _ratio(largest + a, a))
    if square:
        note = "M1 M2 / (m1 m2), of the branch's linear map alone, without shortcut and activations"
        branch = Measurement(_ratio(high, low), kind, note)
    else:
        branch = Measurement(math.inf, kind, "the branch narrows or widens: its linear map has no such bound")
    if high < a:
        whole = Measurement((a + high) / (a - high), kind, "(1 + M1 M2) / (1 - M1 M2), of the block's linear map")
    else:
        whole = Measurement(math.inf, kind, f"M1 M2 = {high:.4g} is not below {a:g}: nothing is proved")
    return BlockConditioning(name, formula, interval, branch, whole, linear, jacobian, amplified)


def module_conditioning(
    model: nn.Module, image: Tensor, blocks: Sequence[str] | None = None, **options: Any
) -> list[BlockConditioning]:
    """Formula and truth of every residual block of a model, each at what it gets for ``image`` (1, C, H, W).

    ``blocks`` names modules; by default all (see `residual_blocks`).  Takes the options of `condition_number` and
    raises what `block_conditioning` raises.
    """
    if image.shape[0] != 1:
        raise ValueError(f"image: expected one image (1, C, H, W), got {tuple(image.shape)}")
    modules = named_modules_of(model, residual_blocks(model) if blocks is None else blocks)
    found: dict[str, Any] = {}

    def keep(name: str, arguments: tuple[Any, ...]) -> None:
        # A copy: a block may work on its input in place.
        found[name] = [entry.clone() for entry in given(arguments)]

    handles = [
        module.register_forward_pre_hook(lambda _m, args, name=name: keep(str(name), args))
        for name, module in modules.items()
    ]
    run_hooked(model, image, handles)
    return [block_conditioning(modules[name], found[name], name, **options) for name in found]


def _newest(block: nn.Module, history: list[Tensor]) -> Callable[[Tensor], Tensor]:
    """The map from the newest state to the next."""
    if isinstance(block, Block):
        return lambda y: advanced(block, [y, *history[1:]])[0]
    return lambda y: block(y.clone())  # a clone: the block may add in place


def _remove_activations(block: nn.Module) -> None:
    for module in list(block.modules()):
        for child, layer in module.named_children():
            if type(layer).__module__ in ("torch.nn.modules.activation", "timm.layers.activations"):
                setattr(module, child, nn.Identity())


def _require_affine(function: Callable[[Tensor], Tensor], y: Tensor, name: str) -> None:
    """Refuse a map that does not satisfy f(y) + f(-y) = 2 f(0)."""
    with torch.no_grad():
        ends = function(y) + function(-y)
        middle = 2 * function(torch.zeros_like(y))
    if not torch.allclose(ends, middle, rtol=1e-8, atol=1e-8 * float(ends.abs().max())):
        raise ValueError(
            f"{name}: is not affine without its activation modules (attention, or an activation called as a function), "
            "so it has no linear map; use condition_number for its Jacobian"
        )


@torch.no_grad()
def _amplified(function: Callable[[Tensor], Tensor], y: Tensor) -> Measurement:
    """(|L d| / |L y|) / (|d| / |y|) for the linear part L of an affine map and Gaussian noise d, drawn with seed 0."""
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(y.device)
    zero = function(torch.zeros_like(y))
    ratio = (function(noise) - zero).norm() / (function(y) - zero).norm() * y.norm() / noise.norm()
    return Measurement(float(ratio), "exact", "of one draw of Gaussian noise, at the image's state")


def _factors(block: nn.Module) -> tuple[list[nn.Sequential], float | None, float]:
    """The branch's convolutions with the scale of their batch norm, what multiplies the skip and the branch.

    What multiplies a skip that is not the identity is None.
    """
    modules = dict(block.named_modules())
    if "step" in modules and isinstance(getattr(modules["step"], "f", None), nn.Module):
        step: Any = modules["step"]
        method = step.coefficients()
        if method.beta_next:
            raise ValueError(
                f"{type(step).__name__}: the formula is that of an explicit step, 1 + branch; condition numbers of "
                "implicit steps are not computed"
            )
        if type(step.f) is not Branch:
            raise ValueError(
                f"{type(step.f).__name__}: the formula is that of the usual branch; use condition_number for the "
                "Jacobian of another"
            )
        layers = [*cast(Any, block).preact.named_children(), *step.f.layers()]
        norms = [layer for key, layer in layers if key.startswith("norm")]
        convs = [layer for key, layer in layers if key.startswith("conv")]
        factors = [nn.Sequential(*pair) for pair in (zip(norms, convs, strict=True) if norms else zip(convs))]
        plain = all(isinstance(shortcut, nn.Identity) for shortcut in cast(Any, block).shortcuts)
        return factors, float(method.alpha[0]) if plain else None, float(method.beta[0])
    if "conv1" in modules and "bn1" in modules and "conv2" in modules and "bn2" in modules:
        count = 3 if "conv3" in modules else 2
        factors = [nn.Sequential(modules[f"conv{i}"], modules[f"bn{i}"]) for i in range(1, count + 1)]
        plain = getattr(block, "downsample", None) is None and getattr(block, "stride", 1) in (1, (1, 1))
        return factors, 1.0 if plain else None, 1.0
    raise ValueError(
        f"{type(block).__name__}: expected a block of stabzoo's network or timm's ResNet BasicBlock or Bottleneck; "
        "use condition_number for the Jacobian of another"
    )
