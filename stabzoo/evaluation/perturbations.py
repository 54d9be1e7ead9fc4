"""What noises and attacks do to test images, batch after batch.

A perturbation is called with the network, pixels (B, C, H, W) in [0, 1] and labels (B,), of all test images in their
order, once each: noise is one stream over all of them, from a generator of its own, so every network meets the same
noise, whatever else is tested.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stabzoo.errors import ConfigError
from stabzoo.evaluation.attacks import fgsm, pgd
from stabzoo.metric import TestImages

if TYPE_CHECKING:
    from stabzoo.metric import Perturbation

__all__ = [
    "constant",
    "fast_gradient_sign",
    "gaussian",
    "projected_gradient",
    "structured",
    "uniform",
]


def constant(mu: float) -> Perturbation:
    """Add a grey image."""
    return lambda network, pixels, labels: (pixels + mu).clamp(0, 1)


def structured(title: str, epsilon: float, image: int, images: TestImages) -> Perturbation:
    """Add ``epsilon`` times the test image of this number.

    Raises:
        ConfigError: there is none.
    """
    if image >= images.test_count:
        raise ConfigError(f"{title}: there are {images.test_count} test images, numbered from 0; got image {image}")
    ((fixed, _),) = images.testing([torch.tensor([image])])
    return lambda network, pixels, labels: (pixels + epsilon * fixed.to(pixels.device)).clamp(0, 1)


def gaussian(sigma: float, seed: int) -> Perturbation:
    """Add normal noise of this standard deviation."""
    return _noise(seed, lambda shape, generator: sigma * torch.randn(shape, generator=generator))


def uniform(low: float, high: float, seed: int) -> Perturbation:
    """Add uniform noise."""
    return _noise(seed, lambda shape, generator: low + (high - low) * torch.rand(shape, generator=generator))


def fast_gradient_sign(epsilon: float) -> Perturbation:
    """Attack by one step along the sign of the gradient."""
    return lambda network, pixels, labels: fgsm(network, pixels, labels, epsilon)


def projected_gradient(epsilon: float, steps: int, seed: int) -> Perturbation:
    """Attack by several steps, from random points."""
    generator = torch.Generator().manual_seed(seed)
    return lambda network, pixels, labels: pgd(network, pixels, labels, epsilon, steps, generator)


def _noise(seed: int, draw: Callable[[torch.Size, torch.Generator], Tensor]) -> Perturbation:
    generator = torch.Generator().manual_seed(seed)
    return lambda network, pixels, labels: (pixels + draw(pixels.shape, generator).to(pixels.device)).clamp(0, 1)
