"""What each evaluation does to test images, batch after batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from stabzoo.data.images import ImageDataset
from stabzoo.errors import ConfigError
from stabzoo.evaluation.attacks import fgsm, pgd
from stabzoo.evaluation.autoattack import autoattack
from stabzoo.evaluation.corruptions import CorruptedImages
from stabzoo.evaluation.spec import (
    AutoAttack,
    Clean,
    Constant,
    Corruption,
    Evaluation,
    Fgsm,
    Gaussian,
    Pgd,
    Structured,
    Uniform,
)

__all__ = ["Perturbation", "perturbation", "perturbations"]

Perturbation: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Iterator[Tensor]]
"""From the network, pixels (B, C, H, W) in [0, 1] and labels (B,): the pixels to be tested on, one batch or several.

It is called with all test images in their order, once each: noise is one stream over all of them, from a generator of
its own, so every network meets the same noise, whatever else is tested.
"""


def perturbations(evaluations: Sequence[Evaluation], images: ImageDataset) -> list[Perturbation]:
    """One for each evaluation, in their order.

    Raises:
        ConfigError: what an evaluation needs is not there, with the evaluation or the file.
    """
    return [perturbation(evaluation, images) for evaluation in evaluations]


def perturbation(evaluation: Evaluation, images: ImageDataset) -> Perturbation:
    """What ``evaluation`` does to the test images of ``images``; noisy pixels are clipped to [0, 1].

    Raises:
        ConfigError: what it needs is not there.
    """
    match evaluation:
        case Clean():
            return _each(lambda network, x, y: x)
        case Constant(mu=mu):
            return _each(lambda network, x, y: (x + mu).clamp(0, 1))
        case Structured(epsilon=epsilon, image=image):
            if image >= images.test_count:
                raise ConfigError(
                    f"{evaluation.title}: there are {images.test_count} test images, numbered from 0; got image {image}"
                )
            ((fixed, _),) = images.testing([torch.tensor([image])])
            return _each(lambda network, x, y: (x + epsilon * fixed.to(x.device)).clamp(0, 1))
        case Gaussian(sigma=sigma, seed=seed):
            return _noise(seed, lambda shape, generator: sigma * torch.randn(shape, generator=generator))
        case Uniform(low=low, high=high, seed=seed):
            return _noise(seed, lambda shape, generator: low + (high - low) * torch.rand(shape, generator=generator))
        case Corruption():
            return _Copies(CorruptedImages(evaluation, images))
        case Fgsm(epsilon=epsilon):
            return _each(lambda network, x, y: fgsm(network, x, y, epsilon))
        case Pgd(epsilon=epsilon, steps=steps, seed=seed):
            generator = torch.Generator().manual_seed(seed)
            return _each(lambda network, x, y: pgd(network, x, y, epsilon, steps, generator))
        case AutoAttack(epsilon=epsilon, seed=seed):
            return _each(autoattack(images.classes, epsilon, seed))


def _each(change: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Perturbation:
    def changed(network: nn.Module, pixels: Tensor, labels: Tensor) -> Iterator[Tensor]:
        yield change(network, pixels, labels)

    return changed


def _noise(seed: int, draw: Callable[[torch.Size, torch.Generator], Tensor]) -> Perturbation:
    generator = torch.Generator().manual_seed(seed)
    return _each(lambda network, x, y: (x + draw(x.shape, generator).to(x.device)).clamp(0, 1))


class _Copies:
    def __init__(self, corrupted: CorruptedImages) -> None:
        self._corrupted, self._first = corrupted, 0

    def __call__(self, network: nn.Module, pixels: Tensor, labels: Tensor) -> Iterator[Tensor]:
        first, self._first = self._first, self._first + len(pixels)
        for copy in self._corrupted.batches(first, len(pixels)):
            yield copy.to(pixels.device)
