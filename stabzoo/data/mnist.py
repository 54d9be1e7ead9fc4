"""MNIST's IDX files, compressed as they are published.

Source: http://yann.lecun.com/exdb/mnist (magic number, sizes as big-endian integers, bytes).
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stabzoo.data.archives import ARCHIVES, read_published
from stabzoo.errors import ConfigError

__all__ = ["load_mnist"]

UNSIGNED_BYTES = 8  # IDX's code of the type


def _array(path: Path, compressed: bytes, dimensions: int) -> np.ndarray:
    try:
        content = gzip.decompress(compressed)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path}: not a gzip file of MNIST ({error})") from None
    header = 4 * (1 + dimensions)
    kind, *shape = np.frombuffer(content[:header], ">u4").tolist() if len(content) >= header else [0]
    if kind != UNSIGNED_BYTES << 8 | dimensions or len(content) != header + int(np.prod(shape, dtype=object)):
        raise ConfigError(f"{path}: not an IDX file of bytes in {dimensions} dimensions, as MNIST has it")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load_mnist(root: Path, *, train: bool, verified: bool = True) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28), bytes, and labels (N,) of MNIST in ``root``/MNIST/raw.

    Raises:
        ConfigError: a file is missing, damaged or not the published one; the message says which, and how to get it.
    """
    archive = ARCHIVES["mnist"]
    arrays = []
    for (name, md5), dimensions in zip(archive.train if train else archive.test, (3, 1), strict=True):
        path = root / archive.folder / name
        arrays.append(_array(path, read_published("mnist", root, name, md5 if verified else None), dimensions))
    pixels, labels = arrays
    if len(pixels) != len(labels) or pixels.shape[1:] != (28, 28) or (labels > 9).any():
        raise ConfigError(
            f"{root / archive.folder}: expected as many images of 28x28 pixels as labels from 0 to 9, got "
            f"{len(pixels)} images of {'x'.join(map(str, pixels.shape[1:]))} and {len(labels)} labels"
        )
    return torch.from_numpy(pixels[:, None].copy()), torch.from_numpy(labels.astype(np.int64))
