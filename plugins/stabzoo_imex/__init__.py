"""IMEXnet: an explicit step whose increment is smoothed by an implicit one.

Reference: Haber, Lensink, Treister, Ruthotto: IMEXnet: a forward stable deep neural network.  ICML 2019.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from stabzoo import ExplicitFamily, LinearMultistep, Rational, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place


class IMEX(ExplicitFamily):
    """(I + L) y_{n+1} = y_n + L y_n + f(y_n), L = K^T K: forward Euler of f + L, backward Euler of -L; h is in f and L.

    K is a trained 3x3 convolution of each channel, on a periodic grid, where (I + L)^-1 is a division in Fourier space.
    Subtracting y_n, the step is y_{n+1} = y_n + (I + L)^-1 f(y_n), from which follows, whatever K is:

    - rho is z - 1: zero-stable, and where f = 0 nothing is smoothed;
    - |(I + L)^-1| <= 1 in the Euclidean norm: a Lipschitz constant of a block is at most 1 + that of f, as a ResNet's;
    - order 1 for y' = f(y), if L is divided by N with f as h = 1/N;
    - on f(y) = -a y, with an eigenvalue c of L / h, R = 1 - h a / (1 + h c): |R| <= 1 for every h > 0 exactly if a >= 0
      and c >= a / 2.  The step is stable at any step size if L is large enough, and not because it is implicit.

    K starts as ``start`` times the identity: the first networks take Euler steps of f / (1 + start^2), which are the
    coefficients stated.  A trained K has no scalar coefficients, and the order of a step whose f alone is scaled, as
    stabzoo measures it, is not decided.

    Attributes:
        start: The identity's weight in K at the start.
    """

    name = "imex"
    at_downsampling = "restart"
    needs_equal_shapes = True
    start: Annotated[Rational, Field(gt=0, le=100)] = Fraction(1)

    def coefficients(self) -> LinearMultistep:
        """The coefficients at initialisation, alpha = (1), beta = (1 / (1 + start^2))."""
        return LinearMultistep((1,), (1 / (1 + self.start**2),))

    def block(self, f: nn.Module, place: Place) -> nn.Module:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step, with a kernel of its own (see `stabzoo.Discretization.block`)."""
        from stabzoo_imex.layers import IMEXStep  # imports torch

        return IMEXStep(f, place.there.channels, float(self.start), device=place.device, dtype=place.dtype)


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [IMEX]
