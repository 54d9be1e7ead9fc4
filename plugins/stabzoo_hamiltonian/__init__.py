"""Reversible architectures: midpoint, leapfrog (Verlet) and two-layer Hamiltonian networks.

Reference: Chang, Meng, Haber, Ruthotto, Begert, Holtham: Reversible architectures for arbitrarily deep residual neural
networks.  AAAI 2018.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stabzoo import (
    ExplicitFamily,
    ExplicitMultistep,
    LinearMultistep,
    PartitionedRungeKutta,
    SecondOrderMultistep,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place


class Midpoint(ExplicitMultistep):
    """y_{n+1} = y_{n-1} + 2 f(y_n): the midpoint network, with h in f; f(y) = s((K - K')y + b) in the models.

    Two steps, order 2; weakly stable: its roots are 1 and -1, so that no real lambda < 0 lies in its stability region.
    It runs backwards as it runs forwards: y_{n-1} = y_{n+1} - 2 f(y_n), and no rounding error is multiplied.
    """

    name = "midpoint"
    at_downsampling = "restart"
    alpha, beta = (0, 1), (2,)


class Verlet(ExplicitMultistep):
    """y_{n+1} = 2 y_n - y_{n-1} + f(y_n): the leapfrog network, with h^2 in f; f(y) = -K' s(K y + b) in the models.

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
    """z += -K1' s(K1 y + b1), then y += K2' s(K2 z + b2): the two-layer Hamiltonian network, eqs. (10)-(11), h in K.

    (y, z) are the halves of the channels.  The slopes are those of the network's branches, g for z and -f for y; of the
    models' branch, "parabolic", K' is the transpose of the convolution K, and g and f are gradients: a block is a
    symplectic map, whatever the weights (with batch norms, in evaluation mode).  With any branch it is inverted by
    subtracting what it added.
    """

    name = "hamiltonian"
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
        from stabzoo_hamiltonian.negated import Negated

        half = place.here.channels // 2
        return PartitionedStep(Negated(place.branch(half, half)), place.branch(half, half), self.method())


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Midpoint, Verlet, Hamiltonian]
