"""What the weights of networks are kept within, and what a network of this plugin needs of its scheme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from stabzoo import Discretization

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Bounds", "Caps", "Downsampling", "ForwardScheme"]

Caps = Literal["none", "paper", "certified"]


Downsampling = Literal["mean", "space-to-depth"]
"""How a state gets to half the resolution: by means of 2x2 pixels, or by a matrix that reads all four of them."""


class Bounds(NamedTuple):
    """Bounds of the spectral norms that a network is kept within; ``None``: free.

    Attributes:
        is_signed: Whether ResNet-D's A_2 >= 0 is kept.
        residual: Of the residual layers, ||A||_2.
        stem: Of the first convolution, ||A_0||_2.
        head: Of the classifier, ||W||_2.
        pool: Of the pooling layers, ||A||_2.
    """

    is_signed: bool = True
    residual: float | None = None
    stem: float | None = None
    head: float | None = None
    pool: float | None = None


class ForwardScheme(Discretization, Protocol):
    """A discretization that says which layers its networks have, and what they are kept within."""

    @property
    def layer(self) -> str:
        """The residual layer, by name: "D", eq. (14); "S", eq. (15); "post", the post-activation residual block."""
        ...

    @property
    def is_normed(self) -> bool:
        """Whether batch norms follow the convolutions; otherwise there are biases."""
        ...

    @property
    def is_rectified(self) -> bool:
        """Whether states are >= 0, so that a relu before the classifier, eq. (19), changes none."""
        ...

    def bounds(self) -> Bounds:
        """What its networks are kept within."""
        ...

    def residual(self, channels: int, grid: tuple[int, int], drop_path: float, **dd: Any) -> nn.Module:
        """A layer that keeps the shape, for states of this height and width."""
        ...

    def transition(self, channels: int, out: int, drop_path: float, **dd: Any) -> nn.Module:
        """A layer to half the resolution and ``out`` channels."""
        ...
