"""CIFAR-10-C and CIFAR-100-C, from the user's copy: one array a corruption, mapped from the disk and never unpickled.

Source: Hendrycks & Dietterich, ICLR 2019; https://zenodo.org/records/2535967 and 3555552.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stabzoo.data.images import ImageDataset, to_unit_interval
from stabzoo.errors import ConfigError
from stabzoo.evaluation.spec import CORRUPTIONS, Corruption
from stabzoo.files import open_regular

__all__ = ["CorruptedImages"]

SEVERITIES = 5


class CorruptedImages:
    """The corrupted copies that an evaluation asks for: by default all severities of the benchmark's corruptions.

    Raises:
        ConfigError: there are none of these images, or a file is missing, damaged, or of other images.
    """

    def __init__(self, evaluation: Corruption, images: ImageDataset) -> None:
        if images.corrupted is None:
            raise ConfigError(
                f"{evaluation.title}: expected cifar10 or cifar100 as the data, whose corrupted copies are published"
            )
        labels = np.concatenate(
            [labels.numpy() for _, labels in images.testing(torch.arange(images.test_count).split(1000))]
        )
        path = images.corrupted / "labels.npy"
        if not np.array_equal(_mapped(path, (SEVERITIES * len(labels),)), np.tile(labels, SEVERITIES)):
            raise ConfigError(f"{path}: expected the labels of the test images, {SEVERITIES} times; got others")
        channels, height, width = images.shape
        shape = (SEVERITIES * len(labels), height, width, channels)
        names = CORRUPTIONS if evaluation.name is None else (evaluation.name,)
        severities = range(1, SEVERITIES + 1) if evaluation.severity is None else (evaluation.severity,)
        arrays = [_mapped(images.corrupted / f"{name}.npy", shape) for name in names]
        self._copies = [array[(s - 1) * len(labels) : s * len(labels)] for array in arrays for s in severities]

    def batches(self, first: int, count: int) -> Iterator[Tensor]:
        """Every copy's pixels (count, C, H, W) in [0, 1] of the images from ``first`` on."""
        for copy in self._copies:
            pixels = torch.from_numpy(np.array(copy[first : first + count]))
            yield to_unit_interval(pixels.permute(0, 3, 1, 2))


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
        raise ConfigError(f"{path}: not an array of numbers ({error}); get the file anew") from None
    if array.dtype != np.uint8 or array.shape != shape:
        raise ConfigError(f"{path}: expected uint8 {shape}, got {array.dtype} {array.shape}; get the file anew")
    return array
