"""Images with their labels to measure a network on, as it takes them, and the network they fit.

``digits``: scikit-learn's, in memory.  ``cifar10``: the user's copy of the python version.  Anything else is a folder
with one folder of images a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn
from torchvision.datasets import ImageFolder

import stabzoo  # registers its models with timm  # noqa: F401
from stabzoo.errors import ConfigError
from stabzoo.plugins import unknown_name
from stabzoo.study.cifar import load_cifar
from stabzoo.study.data import load_images
from stabzoo.study.spec import DIGITS

__all__ = ["LabelledImages", "load_labelled_images", "load_model"]

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


def load_model(name: str, data: str, checkpoint: Path | None) -> nn.Module:
    """A timm model for ``data``: with its channels and classes, and the weights of ``checkpoint``.

    Without a checkpoint the weights are random, drawn with seed 0.

    Raises:
        ConfigError: no such model, it cannot be built, or the checkpoint does not fit it.
    """
    if not timm.is_model(name):
        raise unknown_name("model", name, timm.list_models())
    channels, classes = (1, 10) if data == "digits" else (3, 10 if data == "cifar10" else len(_folders(Path(data))))
    torch.manual_seed(0)
    try:
        model = timm.create_model(name, in_chans=channels, num_classes=classes)
    except Exception as error:  # whatever a model of anyone raises about its arguments
        raise ConfigError(
            f"{name} cannot be built for {data} ({channels} channels, {classes} classes): {error}"
        ) from error
    if checkpoint is not None:
        _load(model, checkpoint, name)
    return model.eval()


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
    _folders(Path(data))
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


def _folders(path: Path) -> list[str]:
    found = sorted(entry.name for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
    if not found:
        raise ConfigError(
            f"data: expected {' or '.join(NAMES)}, or a folder with a folder of images a class; got {str(path)!r}"
        )
    return found


def _load(model: nn.Module, checkpoint: Path, name: str) -> None:
    from stabzoo.checkpoints import checkpoint_filter_fn, fit_weights, read_weights
    from stabzoo.network import StagedNetwork

    state = read_weights(checkpoint)
    if isinstance(model, StagedNetwork):
        state = checkpoint_filter_fn(state, model)
    fit_weights(model, state, str(checkpoint), name)
