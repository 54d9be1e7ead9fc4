"""CIFAR's python batches, read without executing what a pickle may ask for.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (``cifar-10-python.tar.gz``, ``cifar-100-python.tar.gz``).
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stabzoo.data.archives import ARCHIVES, read_published
from stabzoo.errors import ConfigError

__all__ = ["load_cifar"]

HARMLESS = {  # all that an array of bytes in a pickle, of Python 2 or 3, needs
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds arrays, strings and containers, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _batch(path: Path, content: bytes, labels_key: bytes, classes: int) -> tuple[np.ndarray, list[int]]:
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), [int(label) for label in batch[labels_key]]
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise ConfigError(f"{path}: not a batch of CIFAR-{classes} ({type(error).__name__}: {error})") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape != (len(labels), 3072):
        raise ConfigError(
            f"{path}: expected uint8 pixels of shape ({len(labels)}, 3072), got {pixels.dtype} {pixels.shape}"
        )
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
