"""Random changes of training images, drawn for each image from (seed, epoch, image): whatever ran before is the same.

Sources: He, Zhang, Ren, Sun, CVPR 2016, section 4.2 (crops of padded images, and flips); Szegedy et al., CVPR 2015,
section 6 (crops of a share of an image's area and of some aspect ratio).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Augmentation", "Window"]

PADDING = 4
_STREAM = 1  # of an epoch's random numbers; the order of the images is drawn from another


Kind: TypeAlias = Literal["none", "crop", "crop-flip", "turn-flip", "resized-crop-flip"]

ATTEMPTS = 10


class Window(NamedTuple):
    """The part of an image that is cut out, in pixels, and whether it is flipped."""

    top: int
    left: int
    height: int
    width: int
    flipped: bool


class Augmentation:
    """The changes of one epoch.

    Args:
        kind: ``"none"``; ``"crop"``, a random crop of the image padded with 4 black pixels on each side;
            ``"crop-flip"``, also a horizontal flip of every other image; ``"turn-flip"``, one of the eight symmetries
            of a square; or ``"resized-crop-flip"``, a random window of random size of the image as it is on disk,
            resized, and flipped every other time.
        count: Number of training images.
        seed: Of the run.
        epoch: From 0.
        area: Of a random window, as a share of the image's: least and largest.
        aspect: Of a random window, width by height: least and largest.
    """

    def __init__(
        self,
        kind: Kind,
        count: int,
        seed: int,
        epoch: int,
        area: tuple[float, float] = (0.08, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        self.resizes = kind == "resized-crop-flip"
        self.area, self.aspect = area, aspect
        self._key = (seed, epoch, _STREAM)
        draws = np.random.default_rng(self._key)
        moves = kind in ("crop", "crop-flip")
        self.shifts = torch.from_numpy(draws.integers(0, 2 * PADDING + 1, (count, 2))) if moves else None
        self.flips = torch.from_numpy(draws.random(count) < 0.5) if kind == "crop-flip" else None
        self.symmetries = torch.from_numpy(draws.integers(0, 8, count)) if kind == "turn-flip" else None

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Change ``images`` (B, C, H, W), the training images numbered ``indices`` (B,)."""
        if self.symmetries is not None:
            return _turned(images, self.symmetries[indices])
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

    def window(self, index: int, width: int, height: int) -> Window:
        """The window of the training image numbered ``index``, of ``width`` x ``height`` pixels.

        Where ten windows of random area and aspect ratio do not fit into it, the largest central one of an aspect ratio
        that is allowed.
        """
        draws = np.random.default_rng((*self._key, index))
        flipped = bool(draws.random() < 0.5)
        for _ in range(ATTEMPTS):
            area = width * height * draws.uniform(self.area[0], self.area[1])
            aspect = math.exp(draws.uniform(math.log(self.aspect[0]), math.log(self.aspect[1])))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top, left = draws.integers(0, height - h + 1), draws.integers(0, width - w + 1)
                return Window(int(top), int(left), h, w, flipped)
        w, h = min(width, round(height * self.aspect[1])), min(height, round(width / self.aspect[0]))
        return Window((height - h) // 2, (width - w) // 2, h, w, flipped)


def _turned(images: Tensor, symmetries: Tensor) -> Tensor:
    """Square images, each turned by a quarter ``symmetry % 4`` times, and flipped before where it is 4 or more."""
    turned = images.clone()
    for symmetry in range(8):
        chosen = symmetries == symmetry
        part = images[chosen].flip(3) if symmetry >= 4 else images[chosen]
        turned[chosen] = torch.rot90(part, symmetry % 4, (2, 3))
    return turned
