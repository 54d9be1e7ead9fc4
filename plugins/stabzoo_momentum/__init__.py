"""Momentum residual networks: a velocity with memory, which makes every block invertible.

Reference: Sander, Ablin, Blondel, Peyre: Momentum residual neural networks.  ICML 2021.
"""

from fractions import Fraction

from stabzoo import ExplicitFamily, LinearMultistep, Rational, hookimpl


class Momentum(ExplicitFamily):
    """v_{n+1} = g v_n + (1-g) f(y_n), y_{n+1} = y_n + v_{n+1}: eq. (4) of the paper.

    Without v, which is y_n - y_{n-1}, a 2-step method: y_{n+1} = (1+g) y_n - g y_{n-1} + (1-g) f(y_n), whose roots are
    1 and g.  It is zero-stable exactly when -1 <= g < 1, weakly at -1 (leapfrog, of order 2), and consistent, of order
    1, for every other g != 1: as h -> 0 a momentum network solves y' = f(y), as a ResNet does.  At g = 1 the root 1 is
    double and f has no weight: y_{n+1} = 2 y_n - y_{n-1} coasts, and y grows linearly.

    The network starts with an Euler step, which is the initial velocity v_0 = f(y_0).

    Attributes:
        gamma: g, 9/10 as in the release.
    """

    name = "momentum"
    at_downsampling = "restart"
    gamma: Rational = Fraction(9, 10)

    def coefficients(self) -> LinearMultistep:
        """The coefficients alpha = (1+g, -g), beta = (1-g)."""
        return LinearMultistep((1 + self.gamma, -self.gamma), (1 - self.gamma,))


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Momentum]
