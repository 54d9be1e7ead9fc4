"""CIFAR-10-C and CIFAR-100-C, from the user's copy: one array a corruption, mapped from the disk and never unpickled.

Source: Hendrycks & Dietterich, ICLR 2019; https://zenodo.org/records/2535967 and 3555552.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stabzoo.data.images import ImageDataset, to_unit_interval
from stabzoo.errors import ConfigError
from stabzoo.files import open_regular
from stabzoo.metric import TestImages

__all__ = ["CorruptedImages"]


class CorruptedImages:
    """The copies of test images corrupted in each of the ways ``names``, at each of ``severities`` of ``most``.

    Called with all test images in their order, it gives the copies in their place.

    Raises:
        ConfigError: there are none of these images, or a file is missing, damaged, or of other images.
    """

    def __init__(
        self, title: str, names: Sequence[str], severities: Sequence[int], most: int, images: TestImages
    ) -> None:
        if not isinstance(images, ImageDataset) or images.corrupted is None:
            raise ConfigError(
                f"{title}: expected cifar10 or cifar100 as the data, whose corrupted copies are published"
            )
        labels = np.concatenate(
            [labels.numpy() for _, labels in images.testing(torch.arange(images.test_count).split(1000))]
        )
        path = images.corrupted / "labels.npy"
        if not np.array_equal(_mapped(path, (most * len(labels),)), np.tile(labels, most)):
            raise ConfigError(f"{path}: expected the labels of the test images, {most} times; got others")
        channels, height, width = images.shape
        shape = (most * len(labels), height, width, channels)
        arrays = [_mapped(images.corrupted / f"{name}.npy", shape) for name in names]
        self._copies = [array[(s - 1) * len(labels) : s * len(labels)] for array in arrays for s in severities]
        self._first = 0

    def __call__(self, network: nn.Module, pixels: Tensor, labels: Tensor) -> Iterator[Tensor]:
        """Every copy's pixels in [0, 1] of the next images."""
        first, self._first = self._first, self._first + len(pixels)
        for copy in self._copies:
            found = torch.from_numpy(np.array(copy[first : first + len(pixels)]))
            yield to_unit_interval(found.permute(0, 3, 1, 2)).to(pixels.device)


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        open_regular(path).close()
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror or error}); expected a file of {path.parent.name}: unpack its "
            f"archive so that {path.parent.name} lies in {path.parent.parent}"
        ) from None
    except (ValueError, EOFError) as error:
        raise ConfigError(f"{path}: not an array of numbers ({error}); get the file again") from None
    if array.dtype != np.uint8 or array.shape != shape:
        raise ConfigError(f"{path}: expected uint8 {shape}, got {array.dtype} {array.shape}; get the file again")
    return array
