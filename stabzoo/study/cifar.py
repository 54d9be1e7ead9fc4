"""CIFAR's python batches, read without executing what a pickle may ask for.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (the archive ``cifar-10-python.tar.gz``, unpacked).
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stabzoo.config import ConfigError

__all__ = ["load_cifar10"]

FOLDER = "cifar-10-batches-py"
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


def _batch(path: Path) -> tuple[np.ndarray, list[int]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror or error}); expected a batch of CIFAR-10's python version: "
            f"unpack cifar-10-python.tar.gz so that {FOLDER} lies in the folder given"
        ) from None
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), [int(label) for label in batch[b"labels"]]
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise ConfigError(f"{path}: not a batch of CIFAR-10 ({type(error).__name__}: {error})") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape != (len(labels), 3072):
        raise ConfigError(
            f"{path}: expected uint8 pixels of shape ({len(labels)}, 3072), got {pixels.dtype} {pixels.shape}"
        )
    if labels and not 0 <= min(labels) <= max(labels) < 10:
        raise ConfigError(f"{path}: expected labels from 0 to 9, got {min(labels)} to {max(labels)}")
    return pixels, labels


def load_cifar10(root: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32), float32 in [0, 1], and labels (N,) of CIFAR-10 in ``root``/cifar-10-batches-py.

    Raises:
        ConfigError: a batch is missing or damaged; the message says which, and how to get it.
    """
    names = [f"data_batch_{i}" for i in range(1, 6)] if train else ["test_batch"]
    batches = [_batch(root / FOLDER / name) for name in names]
    pixels = torch.from_numpy(np.concatenate([pixels for pixels, _ in batches])).view(-1, 3, 32, 32)
    return pixels.float() / 255, torch.tensor([label for _, labels in batches for label in labels])
