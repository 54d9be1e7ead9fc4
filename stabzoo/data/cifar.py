"""CIFAR's python batches, parsed without executing what a pickle may ask for.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (``cifar-10-python.tar.gz``, ``cifar-100-python.tar.gz``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stabzoo.data.archives import ARCHIVES, read_published
from stabzoo.data.pickled import read_pickled
from stabzoo.errors import ConfigError

__all__ = ["load_cifar"]


def _batch(path: Path, content: bytes, labels_key: bytes, classes: int) -> tuple[np.ndarray, list[int]]:
    try:
        batch = read_pickled(content)
    except ValueError as error:
        raise ConfigError(f"{path}: not a batch of CIFAR-{classes} ({error})") from None
    pixels, labels = batch.get(b"data"), batch.get(labels_key)
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list | np.ndarray):
        raise ConfigError(
            f"{path}: not a batch of CIFAR-{classes}: expected an array 'data' and a list {labels_key.decode()!r}, got "
            f"{', '.join(sorted(map(repr, batch)))[:200] or 'nothing'}"
        )
    if pixels.shape != (len(labels), 3072):
        raise ConfigError(f"{path}: expected pixels of shape ({len(labels)}, 3072), got {pixels.shape}")
    if not all(isinstance(label, int | np.integer) for label in labels):
        raise ConfigError(f"{path}: expected whole numbers for labels")
    labels = [int(label) for label in labels]
    if labels and not 0 <= min(labels) <= max(labels) < classes:
        raise ConfigError(f"{path}: expected labels from 0 to {classes - 1}, got {min(labels)} to {max(labels)}")
    return pixels, labels


def load_cifar(root: Path, classes: int, *, train: bool, verified: bool = True) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32), bytes, and labels (N,) of CIFAR-10 or CIFAR-100 (fine labels) below ``root``.

    Raises:
        ConfigError: a batch is missing, damaged or not the published one; the message says which, and how to get it.
    """
    name = f"cifar{classes}"
    archive, key = ARCHIVES[name], b"labels" if classes == 10 else b"fine_labels"
    batches = []
    for file, md5 in archive.train if train else archive.test:
        content = read_published(name, root, file, md5 if verified else None)
        batches.append(_batch(root / archive.folder / file, content, key, classes))
    pixels = torch.from_numpy(np.concatenate([pixels for pixels, _ in batches])).view(-1, 3, 32, 32)
    return pixels, torch.tensor([label for _, labels in batches for label in labels])
