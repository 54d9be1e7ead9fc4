"""What the weights of networks are kept within, and what a network of this plugin needs of its scheme."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from stabzoo import Discretization

__all__ = ["Bounds", "Caps", "ForwardScheme", "Layer"]

Layer = Literal["D", "S", "post"]

Caps = Literal["none", "paper", "certified"]


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
    """A discretization that says which residual layer its networks have, and what they are kept within."""

    @property
    def layer(self) -> Layer:
        """The residual layer: "D", eq. (14); "S", eq. (15); "post", the post-activation residual block."""
        ...

    @property
    def is_normed(self) -> bool:
        """Whether batch norms follow the convolutions; otherwise there are biases."""
        ...

    def bounds(self) -> Bounds:
        """What its networks are kept within."""
        ...
