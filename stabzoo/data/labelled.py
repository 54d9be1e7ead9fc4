"""Test images with their labels to measure a network on, as it takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stabzoo.data.loading import load_images
from stabzoo.data.spec import Data, ReadFromDisk
from stabzoo.errors import ConfigError

__all__ = ["LabelledImages", "load_labelled_images"]

MOST, PIXELS = 256, 2**20
"""Images that a network is measured on if it is not said how many, and their pixels together."""


@dataclass(frozen=True)
class LabelledImages:
    """Test images (N, C, H, W) normalised as the network takes them, labels (N,), and one unit of [0, 1] pixel noise.

    ``scale`` (C, 1, 1) is what a change of 1 on the pixel scale [0, 1] is after normalisation, ``black`` a pixel of 0.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: int
    scale: Tensor
    black: Tensor

    def to(self, device: torch.device) -> LabelledImages:
        """The same on ``device``."""
        tensors = {name: getattr(self, name).to(device) for name in ("images", "labels", "scale", "black")}
        return replace(self, **tensors)

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def pixels(self) -> Tensor:
        """(N, C, H, W) in [0, 1]."""
        return ((self.images - self.black) / self.scale).clamp(0, 1)

    def normalise(self, pixels: Tensor) -> Tensor:
        """``pixels`` in [0, 1] as the network takes them."""
        return pixels * self.scale + self.black


def load_labelled_images(
    data: Data,
    root: Path,
    count: int | None = None,
    normalization: tuple[Sequence[float], Sequence[float]] | None = None,
) -> LabelledImages:
    """The first ``count`` test images of ``data``, normalised as a training normalises them.

    Of images on disk, which are in the order of their classes, ``count`` at equal distances.  By default as many as
    have 2^20 pixels together, at most 256.  ``normalization`` is the mean and the deviation of each channel that a
    network was trained with elsewhere.

    Raises:
        ConfigError: fewer than two are asked for, or they are missing or damaged; the message says which and where.
    """
    if count is not None and count < 2:
        raise ConfigError(f"images: expected at least 2, got {count}")
    images = load_images(data, root)
    if count is None:
        count = max(2, min(MOST, PIXELS // (images.shape[1] * images.shape[2])))
    count = min(count, images.test_count)
    chosen = np.linspace(0, images.test_count - 1, count, dtype=int) if isinstance(data, ReadFromDisk) else range(count)
    ((pixels, labels),) = images.testing([torch.tensor(chosen)])
    mean, std = images.mean, images.std
    if normalization is not None:
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in normalization)
    return LabelledImages(data.title, (pixels - mean) / std, labels, images.classes, 1 / std, -mean / std)
