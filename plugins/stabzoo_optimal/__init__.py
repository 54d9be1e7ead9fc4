"""The multistep schemes of order 2 with one evaluation of f a step and the smallest parasitic roots.

At 3 steps this is ZeroSNet-Opt: Chen, Jin, Shang: Zero stability well predicts performance of convolutional neural
networks.  AAAI 2022, Theorem 3.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb
from typing import Annotated

from pydantic import Field

from stabzoo import ExplicitFamily, LinearMultistep, hookimpl


class Optimal(ExplicitFamily):
    """rho(z) = (z - 1) (z + r)^(d-1), beta = rho'(1) = (1 + r)^(d-1), r = 1/(2d-3): d steps, order 2.

    No other explicit d-step method of order 2 with beta f(y_n) alone has all parasitic roots within r.  For order 2
    asks that rho''(1) / rho'(1) = 2d-3, which is that the mean of 1 / (1 - w) over the d-1 parasitic roots w is
    (2d-3) / (2d-2).  Where |w| <= s < 1 the real part of 1 / (1 - w) is at least 1 / (1 + s), and that at w = -s alone:
    so s >= (2d-2) / (2d-3) - 1 = r, and with s = r all of the roots are -r.

    Attributes:
        steps: d; 2 steps are the leapfrog method (r = 1), 3 are ZeroSNet-Opt.
    """

    name = "optimal"
    steps: Annotated[int, Field(ge=2, le=12)] = 4

    def coefficients(self) -> LinearMultistep:
        """The coefficients of rho, multiplied out."""
        r, others = Fraction(1, 2 * self.steps - 3), self.steps - 1
        power = [comb(others, j) * r**j for j in range(others + 1)]  # of (z + r)^(d-1), highest power of z first
        alpha = [a - b for a, b in zip(power, [*power[1:], Fraction(0)], strict=True)]
        return LinearMultistep(alpha, (sum(power),))


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Optimal]
