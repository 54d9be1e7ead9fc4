"""Implicit multistep networks: Adams-Moulton methods and backward differentiation formulas of 1 to 6 steps.

Reference: Hairer, Norsett, Wanner: Solving ordinary differential equations I, III.1; II, V.1 and V.2.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stabzoo import ImplicitFamily, LinearMultistep, adams_moulton, bdf, hookimpl

Steps = Annotated[int, Field(ge=1, le=6)]


class AdamsMoulton(ImplicitFamily):
    """y_{n+1} = y_n + the integral of the polynomial through the slopes f_{n+1}, f_n, ..., f_{n+1-k}, of order k + 1.

    With 2 steps (5 f_{n+1} + 8 f_n - f_{n-1}) / 12: zero-stable with the roots 1 and 0, but no longer A-stable, as of
    Dahlquist's second barrier; with 1 step the trapezoidal rule.

    Attributes:
        steps: k.
    """

    name = "adams_moulton"
    steps: Steps = 2

    def coefficients(self) -> LinearMultistep:
        """The coefficients of the interpolating polynomial, exactly."""
        return adams_moulton(self.steps)


class BDF(ImplicitFamily):
    """sum_j nabla^j y_{n+1} / j = f(y_{n+1}), j = 1..k: backward differentiation, of order k.

    With 2 steps y_{n+1} = 4/3 y_n - 1/3 y_{n-1} + 2/3 f(y_{n+1}): A- and L-stable; with more steps not A-stable, and
    with more than 6 not zero-stable.

    Attributes:
        steps: k.
    """

    name = "bdf"
    steps: Steps = 2

    def coefficients(self) -> LinearMultistep:
        """The coefficients of the differentiated polynomial, exactly."""
        return bdf(self.steps)


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [AdamsMoulton, BDF]
