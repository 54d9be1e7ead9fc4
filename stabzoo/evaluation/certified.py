"""Certified radii of a data set's test images, from the certificate of the network itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from stabzoo.errors import ConfigError
from stabzoo.evaluation.batches import device_of, test_batches
from stabzoo.metric import TestImages

__all__ = ["Certifiable", "certified_radii"]


@runtime_checkable
class Certifiable(Protocol):
    """A network of pixels in [0, 1] that has a certificate, if only of radius 0."""

    def certificate(self, input_size: tuple[int, int, int]) -> Callable[[Tensor, Tensor], Tensor]:
        """Return what gives the certified l2 radius (B,) of pixels (B, C, H, W) and labels (B,)."""
        ...


def certified_radii(title: str, network: nn.Module, images: TestImages) -> Tensor:
    """The certified l2 radius of each test image, (N,), 0 where the answer is wrong or nothing is proved.

    Raises:
        ConfigError: the network has no certificate.
    """
    if not isinstance(network, Certifiable):
        raise ConfigError(
            f"{title}: expected a network with certificate(input_size), as trainings have, got {type(network).__name__}"
        )
    certificate = network.certificate(images.shape)
    return torch.cat([certificate(*batch).cpu() for batch in test_batches(images, device_of(network))])
