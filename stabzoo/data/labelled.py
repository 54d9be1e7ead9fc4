"""Images with their labels to measure a network on, as it takes them, and the network they fit.

``digits``: scikit-learn's, in memory.  ``cifar10``: the user's copy of the python version.  Anything else is a folder
with one folder of images a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn
from torchvision.datasets import ImageFolder

from stabzoo.data.cifar import load_cifar
from stabzoo.data.loading import load_images
from stabzoo.data.spec import DIGITS
from stabzoo.errors import ConfigError

__all__ = ["LabelledImages", "class_folders", "load_labelled_images"]

NAMES = ("digits", "cifar10")


@dataclass(frozen=True)
class LabelledImages:
    """Test images (N, C, H, W) normalised as the network takes them, labels (N,), and one unit of [0, 1] pixel noise.

    ``scale`` (C, 1, 1) is what a change of 1 on the pixel scale [0, 1] is after normalisation.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: int
    scale: Tensor

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


def load_labelled_images(data: str, root: Path, model: nn.Module, count: int) -> LabelledImages:
    """The first ``count`` test images of ``digits`` or ``cifar10`` (in ``root``), or every n-th of a folder's.

    Raises:
        ConfigError: the data are missing or damaged; the message says what was expected where.
    """
    if count < 2:
        raise ConfigError(f"images: expected at least 2, got {count}")
    if data == "digits":
        digits = load_images(DIGITS)
        images, labels = (digits.test[:count] - digits.mean) / digits.std, digits.test_labels[:count]
        return LabelledImages(data, images, labels, 10, 1 / digits.std)
    config = resolve_data_config({}, model=model)
    std = torch.tensor(config["std"])[:, None, None]
    if data == "cifar10":
        pixels, labels = load_cifar(root, 10, train=False, verified=False)
        images = (pixels[:count] / 255 - torch.tensor(config["mean"])[:, None, None]) / std
        return LabelledImages(data, images, labels[:count], 10, 1 / std)
    class_folders(Path(data))
    try:
        folder = ImageFolder(data, transform=cast(Any, create_transform(**config, is_training=False)))
    except FileNotFoundError as error:  # a class without an image
        raise ConfigError(f"{data}: {error}") from None
    chosen = np.unique(np.linspace(0, len(folder) - 1, min(count, len(folder)), dtype=int))
    try:
        pairs = [folder[i] for i in chosen]
    except OSError as error:
        raise ConfigError(f"{data}: an image cannot be read ({error})") from None
    labels = torch.tensor([label for _, label in pairs])
    return LabelledImages(data, torch.stack([image for image, _ in pairs]), labels, len(folder.classes), 1 / std)


def class_folders(path: Path) -> list[str]:
    """Names of the classes of an image folder, in order.

    Raises:
        ConfigError: there is no folder of images a class.
    """
    found = sorted(entry.name for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
    if not found:
        raise ConfigError(
            f"data: expected {' or '.join(NAMES)}, or a folder with a folder of images a class; got {str(path)!r}"
        )
    return found
