"""Batch norms in evaluation mode, which are affine; and the norms that are not, refused with the reason."""

from __future__ import annotations

import math
import sys
from typing import cast

import torch
from timm.layers import LayerScale2d
from torch import Tensor, nn

from stabzoo.diagnostics.bounds.genuine import altered
from stabzoo.diagnostics.bounds.step_bound import Shape, StepBound, rounded_up
from stabzoo.diagnostics.spectra.folding import scale_and_shift

__all__ = [
    "BATCH_NORMS",
    "STATE_NORMS",
    "affine",
    "batch_norm",
    "fold_batch_norm",
    "layer_scale",
    "pixel_normalization",
    "refuse_state_norm",
]

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
STATE_NORMS = (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.RMSNorm, nn.LocalResponseNorm)
"""Exact types, and those derived from them: norms that divide by a statistic of the state itself."""


def fold_batch_norm(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Return scale and shift (channels,) of a batch norm in evaluation mode, float64; None for an identity.

    Raises:
        ValueError: It is another module, it uses the batch's statistics, or they give no finite scale.
    """
    if type(norm) not in (nn.Identity, *BATCH_NORMS):
        raise ValueError(f"{type(norm).__name__} is not a batch norm")
    if reason := altered(norm):
        raise ValueError(reason)
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
        return None
    return scale_and_shift(norm)


def batch_norm(norm: nn.Module, shape: Shape) -> StepBound:
    """Bound a batch norm that stands alone: x -> scale x + shift in each channel.

    Raises:
        ValueError: As `fold_batch_norm`, or the state is not one that it takes.
    """
    folded = fold_batch_norm(norm)
    assert folded is not None
    if shape[0] not in (None, len(folded[0])) or None in shape[1:]:
        raise ValueError(f"{type(norm).__name__} of {len(folded[0])} channels on a state of shape {tuple(shape)}")
    return affine(*folded, (len(folded[0]), *shape[1:]), "largest |gamma/sigma|")


def affine(scale: Tensor, shift: Tensor, shape: Shape, theorem: str) -> StepBound:
    """Bound x -> scale x + shift, a scale and a shift (channels,) for every pixel of a channel."""
    pixels = math.prod(cast(tuple[int, ...], shape[1:]))
    offset = rounded_up(math.sqrt(pixels) * float(shift.double().norm()))
    return StepBound.of(theorem, rounded_up(float(scale.double().abs().max())), shape, offset=offset)


def layer_scale(module: LayerScale2d, shape: Shape) -> StepBound:
    """Bound timm's scale of each channel.

    Raises:
        ValueError: The state is not one that it takes.
    """
    scale = module.gamma.detach().double().cpu()
    if len(shape) != 3 or shape[0] not in (None, len(scale)):
        raise ValueError(f"LayerScale2d of {len(scale)} channels on a state of shape {tuple(shape)}")
    return affine(scale, torch.zeros_like(scale), (len(scale), *shape[1:]), "largest |gamma|")


def pixel_normalization(module: nn.Module, shape: Shape) -> StepBound | None:
    """Bound torchvision's Normalize, (x - mean) / std in each channel; None of another module."""
    file = sys.modules.get("torchvision.transforms.transforms")  # where nothing imported it, this is none of it
    if file is None or type(module) is not file.Normalize:
        return None
    if None in shape[1:]:
        raise ValueError("Normalize: the number of pixels is not known")
    mean, std = (torch.as_tensor(value, dtype=torch.float64).flatten() for value in (module.mean, module.std))  # pyright: ignore
    mean, std = torch.broadcast_tensors(mean, std)
    return affine(1 / std, (mean / std).expand(shape[0] or len(mean)), shape, "largest 1/std")


def refuse_state_norm(norm: nn.Module) -> StepBound:
    """Say why nothing useful is proved of a norm that divides by what it finds in the state."""
    eps = getattr(norm, "eps", None)
    slope = f" (up to 1/sqrt(eps) = {eps**-0.5:.4g} times, where the state is nearly constant)" if eps else ""
    return StepBound.unknown(
        f"{type(norm).__name__} divides by the deviation of its own input, which expands small differences{slope}: "
        "no useful bound exists; a batch norm is affine in evaluation mode"
    )
