"""Attacks on images, on the scale of their pixels: the model's normalisation is a part of what is attacked.

The ball ||x' - x|| <= epsilon, of the largest change or of the Euclidean norm, and the box [0, 1] are never left.
Gradients are those of the network in evaluation mode; of implicit networks they come from the implicit function
theorem.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Norm", "fgsm", "margin", "pgd"]

Norm: TypeAlias = Literal["linf", "l2"]

_INWARD = 1 - 1e-6  # an l2 ball is shrunk by more than the rounding of a norm in float32
_TARGETS = 9


def fgsm(network: nn.Module, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Return clip(x + epsilon sign grad loss(x)) for pixels x (N, C, H, W) in [0, 1] and labels (N,)."""
    return _within(images + epsilon * _ascent(network, images, labels).sign(), images, epsilon, "linf")


def pgd(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int,
    generator: torch.Generator,
    norm: Norm = "linf",
) -> Tensor:
    """Return the ends of ``steps`` steps x <- P(x + 2.5 epsilon / steps g), P the projection onto ball and box.

    g is the sign of the loss' gradient, in the norm l2 the gradient over its length.  Every image starts at a point of
    its ball, drawn by ``generator``, which is on the CPU: uniformly, or in the norm l2 in a uniform direction at a
    uniform distance.
    """
    if norm == "linf":
        start = (2 * torch.rand(images.shape, generator=generator) - 1) * epsilon
    else:
        start = _unit(torch.randn(images.shape, generator=generator))
        start *= epsilon * torch.rand(len(images), generator=generator).view(-1, 1, 1, 1)
    point = _within(images + start.to(images.device), images, epsilon, norm)
    for _ in range(steps):
        gradient = _ascent(network, point, labels)
        step = gradient.sign() if norm == "linf" else _unit(gradient)
        point = _within(point + 2.5 * epsilon / steps * step, images, epsilon, norm)
    return point


def margin(network: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int) -> Tensor:
    """Return, of each image, the point of its l2 ball that the margin's own directions reach with the least margin.

    Towards each of the likeliest other classes j, ``steps`` times from x' = x: x' <- clip(x + epsilon g), where g is
    the unit vector along the gradient of f_j - f_y at x'.
    """
    own = labels[:, None]
    with torch.no_grad():
        others = network(images).scatter(1, own, -torch.inf).argsort(1, descending=True)
    best, least = images, torch.full((len(images),), torch.inf, device=images.device)
    for target in others[:, : min(_TARGETS, others.shape[1] - 1)].unbind(1):
        point = images
        for step in range(steps + 1):
            with torch.enable_grad():
                point = point.detach().requires_grad_()
                logits = network(point)
                (gradient,) = torch.autograd.grad(
                    (logits.gather(1, target[:, None]) - logits.gather(1, own)).sum(), point
                )
            found = logits.detach()
            left = found.gather(1, own)[:, 0] - found.scatter(1, own, -torch.inf).amax(1)
            nearer = left < least
            least = torch.where(nearer, left, least)
            best = torch.where(nearer.view(-1, 1, 1, 1), point.detach(), best)
            if step < steps:
                point = _within(images + epsilon * _unit(gradient), images, epsilon, "l2")
    return best


def _ascent(network: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the cross-entropy."""
    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        loss = functional.cross_entropy(network(pixels), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
    return gradient


def _unit(directions: Tensor) -> Tensor:
    """Each over its length; 0 stays 0."""
    return functional.normalize(directions.flatten(1), dim=1, eps=torch.finfo(directions.dtype).tiny).view_as(
        directions
    )


def _within(pixels: Tensor, centre: Tensor, epsilon: float, norm: Norm) -> Tensor:
    if norm == "linf":
        return pixels.clamp(centre - epsilon, centre + epsilon).clamp(0, 1).detach()
    # the box last: its projection moves no point of it, such as the centre, further away
    return (centre + (pixels - centre).renorm(2, 0, epsilon * _INWARD)).clamp(0, 1).detach()
