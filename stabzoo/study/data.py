"""Images in memory, split once for all runs of a study."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from stabzoo.study.spec import Digits

__all__ = ["Images", "load_images"]


@dataclass(frozen=True)
class Images:
    """A data set on the pixel scale [0, 1]; ``mean`` and ``std`` are the training pixels' and normalise both parts."""

    train: Tensor  # (N, C, H, W) float32 in [0, 1]
    train_labels: Tensor  # (N,) int64
    test: Tensor  # (M, C, H, W) float32 in [0, 1]
    test_labels: Tensor  # (M,) int64
    classes: int
    mean: float
    std: float

    @property
    def channels(self) -> int:
        """Number of colour channels."""
        return self.train.shape[1]


def load_images(data: Digits) -> Images:
    """Load, resize and split scikit-learn's digits, once a process; the split depends on ``data`` alone."""
    return _digits(data.size, data.test_images, data.split_seed)


@cache
def _digits(size: int, test_images: int, split_seed: int) -> Images:
    digits: Any = load_digits()
    pixels = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # (1797, 1, 8, 8), the scans count 0..16
    pixels = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    train, test = train_test_split(
        range(len(pixels)), test_size=test_images, random_state=split_seed, stratify=digits.target
    )
    labels = torch.from_numpy(digits.target).long()
    return Images(
        train=pixels[train],
        train_labels=labels[train],
        test=pixels[test],
        test_labels=labels[test],
        classes=10,
        mean=pixels[train].mean().item(),
        std=pixels[train].std().item(),
    )
