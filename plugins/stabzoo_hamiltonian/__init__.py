"""Reversible architectures: midpoint, leapfrog (Verlet) and two-layer Hamiltonian networks.

Reference: Chang, Meng, Haber, Ruthotto, Begert, Holtham: Reversible architectures for arbitrarily deep residual neural
networks.  AAAI 2018.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from stabzoo import (
    ExplicitFamily,
    ExplicitMultistep,
    LinearMultistep,
    PartitionedRungeKutta,
    Rational,
    SecondOrderMultistep,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place


class Midpoint(ExplicitMultistep):
    """y_{n+1} = y_{n-1} + 2 f(y_n): the midpoint network, eq. (14) of the paper, with the step size in f.

    Two steps, order 2; weakly stable: its roots are 1 and -1, so that no real lambda < 0 lies in its stability region.
    It runs backwards as it runs forwards: y_{n-1} = y_{n+1} - 2 f(y_n), and no rounding error is multiplied.
    """

    name = "midpoint"
    at_downsampling = "restart"
    alpha, beta = (0, 1), (2,)


class Verlet(ExplicitMultistep):
    """y_{n+1} = 2 y_n - y_{n-1} + f(y_n), y'' = f(y): the leapfrog network of the paper, with h^2 in f.

    Stormer's method, of order 2 for y'' = f(y), and symplectic where f is a gradient.  Of y' = f(y) it is neither
    consistent nor zero-stable.  The first step is y_1 = y_0 + f(y_0), which is the same formula with y_{-1} = y_0.
    """

    name = "verlet"
    at_downsampling = "restart"
    alpha, beta = (2, -1), (1,)

    def method(self) -> SecondOrderMultistep:
        """What a block computes: the formula, of which f is the second derivative."""
        return SecondOrderMultistep(self.coefficients())


class Hamiltonian(ExplicitFamily):
    """z += -h K1' s(K1 y + b1), then y += h K2' s(K2 z + b2): the two-layer Hamiltonian network, eqs. (10)-(11).

    (y, z) are the halves of the channels, K' is the transpose of the convolution K, s is ReLU.  Both slopes are
    gradients, of V(y) = |s(K1 y + b1)|^2 / 2 and T(z): a block is a symplectic map, whatever the weights, and is
    inverted by subtracting what it added.

    Attributes:
        h: The step size, 1/10 as in the release; part of f, as always.
    """

    name = "hamiltonian"
    at_downsampling = "restart"
    needs_equal_shapes = True
    h: Rational = Fraction(1, 10)

    def coefficients(self) -> LinearMultistep:
        """What is left of the step when K is small: Euler's, of both halves."""
        return self.method().coefficients()

    def method(self) -> PartitionedRungeKutta:
        """What a block computes: symplectic Euler."""
        return PartitionedRungeKutta.splitting((1,), (1,))

    def block(self, f: nn.Module, place: Place) -> nn.Module:
        """One step around two gradients; ``f`` is left out (see `stabzoo.Discretization.block`)."""
        from stabzoo import PartitionedStep  # imports torch
        from stabzoo_hamiltonian.gradient import Gradient

        def slope(h: float) -> nn.Module:
            half = place.here.channels // 2
            return Gradient(half, half, h, device=place.device, dtype=place.dtype)

        return PartitionedStep(slope(float(self.h)), slope(-float(self.h)), self.method())


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Midpoint, Verlet, Hamiltonian]
