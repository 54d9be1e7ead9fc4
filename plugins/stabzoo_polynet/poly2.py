"""The poly-2 block as a numerical method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from stabzoo import ExplicitFamily, LinearMultistep, Method, StabilityFunction

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place

__all__ = ["EULER", "Poly2", "SquaredSlope"]

EULER = LinearMultistep((1,), (1,))


class SquaredSlope(Method):
    """y_{n+1} = y_n + h f(y_n) + h f(h f(y_n)): I + F + F^2 with F = h f.

    R(z) = 1 + z + z^2, as of two fixed-point iterations of backward Euler, y_n + h f(y_n + h f(y_n)); the two are one
    where f is linear.  Elsewhere f(h f(y)) is the slope at an increment, which tends to f(0): y_{n+1} - y_n is
    h (f(y_n) + f(0)) + O(h^2).  So the order is 1 where f(0) = 0, and elsewhere the method is not consistent.

    >>> str(SquaredSlope().linear)
    '1 + z + z^2'

    """

    kind: ClassVar[str] = "polynomial in f"

    @property
    def linear(self) -> StabilityFunction:
        """R(z)."""
        return StabilityFunction.of_step(self.step)

    def coefficients(self) -> LinearMultistep:
        """Euler's: what is left of the step when f is small and f(0) = 0."""
        return EULER

    def step(self, states: Sequence[Any], f: Callable[[Any], Any]) -> Any:
        """Return y_{n+1}."""
        slope = f(states[0])
        return states[0] + slope + f(slope)

    def __str__(self) -> str:
        return "y[n+1] = y[n] + h f[n] + h f(h f[n])"


class Poly2(ExplicitFamily):
    """y_{n+1} = y_n + f(y_n) + f(f(y_n)): poly-2, whose two evaluations of f share its weights.

    Lu et al. read it as backward Euler, (I - F)^-1 = I + F + F^2 + ..., cut off; it is where f is linear.  The block
    that is so for any f is that of ``implicit_resnet*_be`` with ``solver={"fixed_iterations": 2}``.
    """

    name = "poly2"
    at_downsampling = "restart"
    needs_equal_shapes = True

    def coefficients(self) -> LinearMultistep:
        """Euler's (see `SquaredSlope.coefficients`)."""
        return EULER

    def method(self) -> Method:
        """What a block computes."""
        return SquaredSlope()

    def block(self, f: nn.Module, place: Place | None = None) -> nn.Module:
        """One step, which evaluates ``f`` twice (see `stabzoo.Discretization.block`)."""
        from stabzoo_polynet.layers import Poly2Step  # imports torch

        return Poly2Step(f, self.coefficients())
