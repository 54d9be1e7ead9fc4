"""Attacks on images, on the scale of their pixels: the model's normalisation is a part of what is attacked.

The ball ||x' - x||_inf <= epsilon and the box [0, 1] are never left.  Gradients are those of the network in evaluation
mode; of implicit networks they come from the implicit function theorem.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["fgsm", "pgd"]


def fgsm(network: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Return clip(x + epsilon sign grad loss(x)) for pixels x (N, C, H, W) in [0, 1] and labels (N,)."""
    return _within(images + epsilon * _ascent(network, images, labels), images, epsilon)


def pgd(
    network: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int, generator: torch.Generator
) -> Tensor:
    """Return the ends of ``steps`` steps x <- P(x + 2.5 epsilon / steps sign grad loss(x)), P the projection.

    Every image starts at a point of its ball, drawn uniformly by ``generator``, which is on the CPU.
    """
    start = (2 * torch.rand(images.shape, generator=generator) - 1) * epsilon
    point = _within(images + start.to(images.device), images, epsilon)
    for _ in range(steps):
        point = _within(point + 2.5 * epsilon / steps * _ascent(network, point, labels), images, epsilon)
    return point


def _ascent(network: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    """The sign of the gradient of the cross-entropy."""
    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        loss = functional.cross_entropy(network(pixels), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
    return gradient.sign()


def _within(pixels: Tensor, centre: Tensor, epsilon: float) -> Tensor:
    return pixels.clamp(centre - epsilon, centre + epsilon).clamp(0, 1).detach()
