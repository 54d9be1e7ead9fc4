"""Random changes of training images, drawn for each image from (seed, epoch, image): whatever ran before is the same.

Source: He, Zhang, Ren, Sun, CVPR 2016, section 4.2 (crops of padded images, and flips).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Augmentation"]

PADDING = 4
_STREAM = 1  # of an epoch's random numbers; the order of the images is drawn from another


class Augmentation:
    """The changes of one epoch.

    Args:
        kind: ``"none"``; ``"crop"``, a random crop of the image padded with 4 black pixels on each side; or
            ``"crop-flip"``, also a horizontal flip of every other image.
        count: Number of training images.
        seed: Of the run.
        epoch: From 0.
    """

    def __init__(self, kind: Literal["none", "crop", "crop-flip"], count: int, seed: int, epoch: int) -> None:
        draws = np.random.default_rng((seed, epoch, _STREAM))
        self.shifts = torch.from_numpy(draws.integers(0, 2 * PADDING + 1, (count, 2))) if kind != "none" else None
        self.flips = torch.from_numpy(draws.random(count) < 0.5) if kind == "crop-flip" else None

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Change ``images`` (B, C, H, W), the training images numbered ``indices`` (B,)."""
        if self.shifts is None:
            return images
        height, width = images.shape[2:]
        padded = functional.pad(images, (PADDING,) * 4)
        down, right = self.shifts[indices].unbind(1)
        rows, columns = down[:, None] + torch.arange(height), right[:, None] + torch.arange(width)
        if self.flips is not None:
            columns = torch.where(self.flips[indices][:, None], columns.flip(1), columns)
        batch = torch.arange(len(images))[:, None, None]
        return (
            padded.transpose(1, 3).transpose(1, 2)[batch, rows[:, :, None], columns[:, None]].movedim(3, 1).contiguous()
        )
