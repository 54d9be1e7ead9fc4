"""Dropped pixels: accuracy on images of which a share of the pixels is black."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from stabzoo import Evaluation, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn


class DroppedPixels(Evaluation):
    """The accuracy on images of which a share of the pixels is black.

    Attributes:
        share: Of the pixels.
        seed: Of the generator that draws them.
    """

    kind: Literal["dropped-pixels"]
    share: float = Field(ge=0, le=1)
    seed: int = 0

    def perturbation(self, images: object) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
        """What is done to images; one stream of random numbers over all of them, the same for every network."""
        import torch

        generator = torch.Generator().manual_seed(self.seed)

        def drop(network: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
            count, _, height, width = pixels.shape
            kept = torch.rand(count, 1, height, width, generator=generator) >= self.share
            return pixels * kept.to(pixels)

        return drop


@hookimpl
def stabzoo_evaluations() -> list[type]:
    """The evaluations of this plugin."""
    return [DroppedPixels]
