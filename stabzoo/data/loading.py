"""Opening the data set that a study or a command names, once a process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from stabzoo.data.archives import download
from stabzoo.data.cifar import load_cifar
from stabzoo.data.from_disk import fetch_timm, open_folder, open_timm
from stabzoo.data.generated.percolation import CLASSES, percolation_images
from stabzoo.data.images import ImageDataset, InMemoryDataset, to_unit_interval
from stabzoo.data.mnist import load_mnist
from stabzoo.data.spec import Archived, Constants, Data, Digits, Folder, Percolation, SolarCells, Timm
from stabzoo.errors import ConfigError

__all__ = ["DATA_FOLDER", "ImageDataset", "fetch", "load_images"]

DATA_FOLDER = Path("data")
"""Where data sets are looked for, unless it is said otherwise."""

NAMES = {
    "mnist": tuple("0123456789"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}
"""Of the classes, by data set."""


def fetch(data: Data, root: Path = DATA_FOLDER) -> None:
    """Download what ``data`` needs into ``root``, where it is not there already.

    Raises:
        ConfigError: it cannot be had.
    """
    if isinstance(data, Archived):
        download(data.name, root)
    elif isinstance(data, Timm):
        fetch_timm(data, root)


@overload
def load_images(
    data: Digits | Percolation | SolarCells | Archived, root: Path = ..., workers: int = ...
) -> InMemoryDataset: ...
@overload
def load_images(data: Data, root: Path = ..., workers: int = ...) -> ImageDataset: ...
@cache
def load_images(data: Data, root: Path = DATA_FOLDER, workers: int = 0) -> ImageDataset:
    """Open a data set, once a process.

    Digits and solar cells are resized and split, and grids of percolation drawn, as ``data`` says; all others have a
    test set of their own, and lie below ``root``.
    Images that do not fit in memory are decoded by ``workers`` processes, by this one with 0.

    Raises:
        ConfigError: files are missing, damaged or not the published ones; the message says which and how to get them.
    """
    match data:
        case Digits():
            return _digits(data.size, data.test_images, data.split_seed)
        case Percolation():
            return _percolation(data)
        case SolarCells():
            return _solar_cells(data)
        case Archived():
            return _archived(data, root)
        case Folder():
            return open_folder(data, root, workers)
        case Timm():
            return open_timm(data, root, workers)


def _digits(size: int, test_images: int, split_seed: int) -> InMemoryDataset:
    digits: Any = load_digits()
    pixels = torch.from_numpy(digits.images).float().unsqueeze(1) / 16  # (1797, 1, 8, 8), the scans count 0..16
    pixels = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    return _held_out(pixels, torch.from_numpy(digits.target).long(), test_images, split_seed, tuple("0123456789"))


def _solar_cells(data: SolarCells) -> InMemoryDataset:
    try:
        from elpv_dataset.utils import load_dataset  # an extra
    except ImportError:
        raise ConfigError("elpv: expected the package elpv_dataset; pip install 'stabzoo[elpv]'") from None
    images, probability, _ = load_dataset()
    pixels = torch.from_numpy(images).unsqueeze(1)  # (2624, 1, 300, 300) bytes
    small = [functional.interpolate(p.float() / 255, size=data.size, mode="area") for p in pixels.split(256)]
    labels = torch.from_numpy(np.asarray(probability) > 0.5).long()
    return _held_out(torch.cat(small), labels, data.test_images, data.split_seed, ("functional", "defective"))


def _held_out(pixels: Tensor, labels: Tensor, test: int, seed: int, names: tuple[str, ...]) -> InMemoryDataset:
    """Grey images in [0, 1], ``test`` of them held out, of each class its share."""
    kept, held = train_test_split(range(len(pixels)), test_size=test, random_state=seed, stratify=labels)
    return InMemoryDataset(
        train=pixels[kept],
        train_labels=labels[kept],
        test=pixels[held],
        test_labels=labels[held],
        classes=len(names),
        mean=pixels[kept].mean().view(1, 1, 1),
        std=pixels[kept].std().view(1, 1, 1),
        names=names,
    )


def _percolation(data: Percolation) -> InMemoryDataset:
    try:
        (train, train_labels), (test, test_labels) = (percolation_images(data, train=part) for part in (True, False))
    except ValueError as error:
        raise ConfigError(f"percolation: {error}") from None
    mean, std = _moments(train)
    return InMemoryDataset(
        train, train_labels, to_unit_interval(test), test_labels, len(CLASSES), mean, std, names=CLASSES
    )


def _archived(data: Archived, root: Path) -> InMemoryDataset:
    name, verified, corrupted = data.name, data.verified, None
    if name == "mnist":
        classes = 10
        (train, train_labels), (test, test_labels) = (
            load_mnist(root, train=part, verified=verified) for part in (True, False)
        )
    else:
        classes = int(name.removeprefix("cifar"))
        corrupted = root / f"CIFAR-{classes}-C"
        (train, train_labels), (test, test_labels) = (
            load_cifar(root, classes, train=part, verified=verified) for part in (True, False)
        )
    mean, std = _normalization(train, data.normalization)
    names = NAMES.get(name, ())
    return InMemoryDataset(
        train, train_labels, to_unit_interval(test), test_labels, classes, mean, std, corrupted, names
    )


def _normalization(images: Tensor, how: str | Constants) -> tuple[Tensor, Tensor]:
    """What bytes (N, C, H, W) are normalised by, on the scale [0, 1]: mean (C, 1, 1) or (C, H, W), and deviation."""
    if isinstance(how, Constants):
        return torch.tensor(how.mean).view(-1, 1, 1), torch.tensor(how.std).view(-1, 1, 1)
    if how == "mean-image":
        return (images.sum(0, dtype=torch.int64).double() / (255 * len(images))).float(), torch.ones(
            len(images[0]), 1, 1
        )
    return _moments(images)


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of bytes (N, C, H, W), on the scale [0, 1]: (C, 1, 1) each."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ levels
    variance = shares @ levels.square() - mean.square()
    return mean.float().view(-1, 1, 1), variance.clamp(min=1e-12).sqrt().float().view(-1, 1, 1)
