"""Accuracy on clean, noisy and attacked test images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from stabzoo.study.attacks import fgsm, pgd
from stabzoo.study.evaluations import Clean, Constant, Evaluation, Fgsm, Gaussian, Pgd, Structured, Uniform

__all__ = ["accuracy", "accuracy_under", "hits", "logits_of", "perturb"]


def accuracy_under(network: nn.Module, images: Tensor, labels: Tensor, evaluation: Evaluation) -> float:
    """Percentage of ``images`` (N, C, H, W), pixels in [0, 1], that are put in their class under a condition."""
    network.eval()
    match evaluation:
        case Fgsm(epsilon=epsilon):
            pixels = fgsm(network, images, labels, epsilon)
        case Pgd(epsilon=epsilon, steps=steps, seed=seed):
            pixels = pgd(network, images, labels, epsilon, steps, seed)
        case _:
            pixels = perturb(images, evaluation)
    return accuracy(network, pixels, labels)


def perturb(images: Tensor, evaluation: Clean | Gaussian | Uniform | Constant | Structured) -> Tensor:
    """Add the noise of ``evaluation`` to ``images`` (N, C, H, W) in [0, 1], and clip to [0, 1].

    The noise of all images is one draw from a generator of its own, so every network meets the same noise; the x_0 of
    structured noise is one of ``images``.
    """
    match evaluation:
        case Clean():
            return images
        case Constant(mu=mu):
            return (images + mu).clamp(0, 1)
        case Structured(epsilon=epsilon, image=image):
            return (images + epsilon * images[image]).clamp(0, 1)
        case Gaussian(sigma=sigma, seed=seed):
            noise = sigma * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
        case Uniform(low=low, high=high, seed=seed):
            noise = low + (high - low) * torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images + noise).clamp(0, 1)


@torch.inference_mode()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percentage of ``images`` (N, C, H, W), pixels in [0, 1], that ``network`` puts in their class of ``labels``."""
    network.eval()
    right = sum(
        (network(batch).argmax(1) == label).sum().item()
        for batch, label in zip(images.split(256), labels.split(256), strict=True)
    )
    return 100 * right / len(images)


@torch.inference_mode()
def logits_of(network: nn.Module, pixels: Callable[[Tensor], Tensor], count: int) -> Tensor:
    """Logits (count, classes), on the CPU, of the images that ``pixels`` gives for indices."""
    device = next(network.parameters()).device
    return torch.cat([network(pixels(part).to(device)).float().cpu() for part in torch.arange(count).split(256)])


def hits(logits: Tensor, labels: Tensor, k: int) -> float:
    """Percentage of rows of ``logits`` (N, classes) with their label among the k largest; NaN is no hit."""
    own = logits.gather(1, labels[:, None])
    better = ((logits > own) | logits.isnan()).sum(1)
    return 100 * float((better < k).double().mean())
