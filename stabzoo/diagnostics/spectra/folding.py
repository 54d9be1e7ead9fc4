"""A batch norm in evaluation mode, which is affine: its scale and shift, folded into the convolution before it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["scale_and_shift"]


def scale_and_shift(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return s and t, (channels,) each, of x -> s x + t: s = gamma / sqrt(var + eps), t = beta - mean s; float64.

    >>> scale_and_shift(torch.nn.BatchNorm2d(1, eps=3.0).eval())[0].tolist()
    [0.5]

    Raises:
        ValueError: It uses the batch's statistics, or its own give no finite scale.
    """
    if norm.training or norm.running_var is None or norm.running_mean is None:
        raise ValueError("a batch norm that uses the batch's statistics couples the images: call model.eval()")
    scale = (norm.running_var.detach().double().cpu() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double().cpu()
    shift = -norm.running_mean.detach().double().cpu() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.detach().double().cpu()
    if not bool(torch.cat([scale, shift]).isfinite().all()):
        raise ValueError("a batch norm's running variance is negative or not finite: its scale is not a number")
    return scale, shift
