"""Accuracy on clean, noisy and attacked test images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stabzoo.study.attacks import fgsm, pgd
from stabzoo.study.evaluations import Clean, Constant, Evaluation, Fgsm, Gaussian, Pgd, Structured, Uniform

__all__ = ["accuracy", "accuracy_under", "perturb"]


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
