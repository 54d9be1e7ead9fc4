"""Reversible residual networks: RevNet's additive coupling, and the block of i-RevNet, which is the midpoint rule.

References:
    Gomez, Ren, Urtasun, Grosse: The reversible residual network: backpropagation without storing activations.
    NeurIPS 2017. Jacobsen, Smeulders, Oyallon: i-RevNet: deep invertible networks.  ICLR 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stabzoo import ExplicitFamily, ExplicitMultistep, LinearMultistep, PartitionedRungeKutta, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place


class RevNet(ExplicitFamily):
    """z += g(y), then y += f(z): RevNet, eq. (6), of the halves (y, z) = (x_2, x_1) of the channels.

    Symplectic Euler for y' = f(z), z' = g(y) with any f and g (which need not be gradients, so that the block need not
    be a symplectic map); it is inverted by subtracting what it added, and no rounding error is multiplied.
    """

    name = "revnet"
    at_downsampling = "restart"
    needs_equal_shapes = True

    def coefficients(self) -> LinearMultistep:
        """What is left of the step when f and g are small: Euler's, of both halves."""
        return self.method().coefficients()

    def method(self) -> PartitionedRungeKutta:
        """What a block computes: symplectic Euler."""
        return PartitionedRungeKutta.splitting((1,), (1,))

    def block(self, f: nn.Module, place: Place) -> nn.Module:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step around two branches of half the channels; ``f`` is left out (see `Discretization.block`)."""
        from stabzoo import PartitionedStep  # imports torch

        half = place.here.channels // 2
        return PartitionedStep(place.branch(half, half), place.branch(half, half), self.method())


class IRevNet(ExplicitMultistep):
    """y_{n+1} = y_{n-1} + f(y_n): the block (x_1, x_2) -> (x_2, x_1 + F(x_2)) of i-RevNet, x_2 = y_n, x_1 = y_{n-1}.

    The midpoint rule y_{n+1} = y_{n-1} + 2h f(y_n) with 2h in F; with h in F, as elsewhere in stabzoo, its weight is
    half of what consistency needs.  Where the feature maps change shape both states are projected (the release
    rearranges pixels to channels instead, which makes the whole network a bijection).
    """

    name = "irevnet"
    alpha, beta = (0, 1), (1,)


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [RevNet, IRevNet]
