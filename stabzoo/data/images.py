"""What a training and an evaluation ask of a data set, and the sets that are held in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from stabzoo.data.augmentation import Augmentation

__all__ = ["Batch", "ImageDataset", "InMemoryDataset", "to_unit_interval"]

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Pixels (B, C, H, W), float32 in [0, 1], and labels (B,) int64."""


class ImageDataset(ABC):
    """Images in classes, for training and for tests.

    Attributes:
        classes: Their number.
        mean, std: (C, 1, 1) float32, on the scale [0, 1], or a mean image (C, H, W); they normalise both parts.
        corrupted: The folder of the test images' corrupted copies, as CIFAR-10-C has them; None where there are none.
        names: Those of the classes, in the order of the labels; empty where they are not known.
    """

    classes: int
    mean: Tensor
    std: Tensor
    corrupted: Path | None = None
    names: tuple[str, ...] = ()

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @property
    @abstractmethod
    def train_count(self) -> int:
        """Number of training images."""

    @property
    @abstractmethod
    def test_count(self) -> int:
        """Number of test images."""

    @property
    def channels(self) -> int:
        """Number of colour channels."""
        return self.shape[0]

    @abstractmethod
    def training(self, parts: Sequence[Tensor], augmentation: Augmentation | None = None) -> Iterator[Batch]:
        """One batch for each of ``parts``, the indices of training images, in their order.

        What comes depends on the indices and the augmentation alone, not on what was read before.

        Raises:
            ConfigError: an image cannot be read; the message names its file.
        """

    @abstractmethod
    def testing(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """One batch for each of ``parts``, the indices of test images, in their order.

        Raises:
            ConfigError: an image cannot be read; the message names its file.
        """


@dataclass(frozen=True)
class InMemoryDataset(ImageDataset):
    """A data set that is small enough to be held whole."""

    train: Tensor  # (N, C, H, W), float32 in [0, 1] or bytes
    train_labels: Tensor  # (N,) int64
    test: Tensor  # (M, C, H, W) float32 in [0, 1]
    test_labels: Tensor  # (M,) int64
    classes: int
    mean: Tensor
    std: Tensor
    corrupted: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train.shape[1:]
        return channels, height, width

    @property
    def train_count(self) -> int:
        """Number of training images."""
        return len(self.train)

    @property
    def test_count(self) -> int:
        """Number of test images."""
        return len(self.test)

    def training(self, parts: Sequence[Tensor], augmentation: Augmentation | None = None) -> Iterator[Batch]:
        """One batch for each of ``parts``."""
        for part in parts:
            pixels = to_unit_interval(self.train[part])
            yield augmentation(pixels, part) if augmentation else pixels, self.train_labels[part]

    def testing(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """One batch for each of ``parts``."""
        for part in parts:
            yield self.test[part], self.test_labels[part]


def to_unit_interval(images: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1]; what is that already, as it is."""
    return images.float() / 255 if images.dtype == torch.uint8 else images
