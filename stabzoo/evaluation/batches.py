"""Test images through a network, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from stabzoo.metric import TestImages

__all__ = ["BATCH", "device_of", "logits_of", "test_batches"]

BATCH = 256


def device_of(network: nn.Module) -> torch.device:
    """Where the network is."""
    return next(network.parameters()).device


def test_batches(images: TestImages, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels and labels of the test images, in their order, on ``device``."""
    for pixels, labels in images.testing(torch.arange(images.test_count).split(BATCH)):
        yield pixels.to(device), labels.to(device)


@torch.inference_mode()
def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """The network's answers, float32."""
    return network(pixels).float()
