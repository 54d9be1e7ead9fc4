"""Images in memory, split once for all runs of a study."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from stabzoo.study.archives import download
from stabzoo.study.cifar import load_cifar
from stabzoo.study.mnist import load_mnist
from stabzoo.study.spec import Archived, Data, Digits

__all__ = ["DATA_FOLDER", "Images", "fetch", "load_images"]

DATA_FOLDER = Path("data")
"""Where data sets are looked for, unless it is said otherwise."""


@dataclass(frozen=True)
class Images:
    """A data set; ``mean`` and ``std`` are the training pixels' on the scale [0, 1] and normalise both parts."""

    train: Tensor  # (N, C, H, W), float32 in [0, 1] or bytes
    train_labels: Tensor  # (N,) int64
    test: Tensor  # (M, C, H, W) float32 in [0, 1]
    test_labels: Tensor  # (M,) int64
    classes: int
    mean: Tensor  # (C, 1, 1) float32
    std: Tensor  # (C, 1, 1) float32

    @property
    def channels(self) -> int:
        """Number of colour channels."""
        return self.train.shape[1]

    def training_pixels(self, indices: Tensor) -> Tensor:
        """Training images (B, C, H, W), float32 in [0, 1]."""
        return _pixels(self.train[indices])


def fetch(data: Data, root: Path = DATA_FOLDER) -> None:
    """Download what ``data`` needs into ``root``, where it is not there already.

    Raises:
        ConfigError: it cannot be had.
    """
    if isinstance(data, Archived):
        download(data.name, root)


def load_images(data: Data, root: Path = DATA_FOLDER) -> Images:
    """Load a data set, once a process.

    Digits are resized and split, as ``data`` says; all others have a test set of their own, and lie below ``root``.

    Raises:
        ConfigError: files are missing, damaged or not the published ones; the message says which and how to get them.
    """
    if isinstance(data, Digits):
        return _digits(data.size, data.test_images, data.split_seed)
    return _archived(data.name, root, data.verified)


def _pixels(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


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
        mean=pixels[train].mean().view(1, 1, 1),
        std=pixels[train].std().view(1, 1, 1),
    )


@cache
def _archived(name: str, root: Path, verified: bool) -> Images:
    if name == "mnist":
        classes = 10
        (train, train_labels), (test, test_labels) = (
            load_mnist(root, train=part, verified=verified) for part in (True, False)
        )
    else:
        classes = int(name.removeprefix("cifar"))
        (train, train_labels), (test, test_labels) = (
            load_cifar(root, classes, train=part, verified=verified) for part in (True, False)
        )
    mean, std = _moments(train)
    return Images(train, train_labels, _pixels(test), test_labels, classes, mean, std)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of bytes (N, C, H, W), on the scale [0, 1]: (C, 1, 1) each."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ levels
    variance = shares @ levels.square() - mean.square()
    return mean.float().view(-1, 1, 1), variance.clamp(min=1e-12).sqrt().float().view(-1, 1, 1)
