"""Fractional residual networks: a step looks at all states since the start, as Caputo's derivative does.

References:
    Antil, Khatri, Lohner, Verma: Fractional deep neural network via constrained optimization.  Machine Learning:
    Science and Technology 2, 2020. Lin, Xu: Finite difference/spectral approximations for the time-fractional
    diffusion equation.  J. Comput. Phys. 225, 2007 (the L1 scheme).
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from stabzoo import ExplicitFamily, LinearMultistep, Rational, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from stabzoo import Place

BITS = 40
"""The weights, irrational for almost all a, are rounded to multiples of 2^-40."""


def weights(a: Fraction, states: int) -> tuple[Fraction, ...]:
    """The weights of y_n, ..., y_0 in an explicit L1 step that finds so many states, newest first.

    With b_j = (j+1)^(1-a) - j^(1-a), which decreases from b_0 = 1, they are b_0 - b_1, ..., b_{n-1} - b_n and b_n.
    Rounding is of the b_j, so that the weights still sum to 1, exactly; that none is negative is checked.

    Raises:
        ValueError: a weight is negative: there are so many states that rounding hides how the b_j decrease.
    """
    b = [Fraction(1)]
    for j in range(1, states):
        exact = (j + 1) ** float(1 - a) - j ** float(1 - a)
        b.append(Fraction(round(exact * 2**BITS), 2**BITS))
    found = (*(new - old for new, old in pairwise(b)), b[-1])
    if min(found) < 0:
        raise ValueError(f"a = {a}: the weights of {states} states cannot be distinguished from 0; take fewer")
    return found


class Fractional(ExplicitFamily):
    """y_{n+1} = sum_j (b_j - b_{j+1}) y_{n-j} + b_n y_0 + f(y_n), j = 0..n-1: the explicit L1 scheme of D^a y = f(y).

    D^a is Caputo's derivative, 0 < a < 1, with b_j = (j+1)^(1-a) - j^(1-a); the factor Gamma(2-a) h^a is absorbed by f.
    The history starts again where the feature maps change shape.  At a = 1 it is Euler's method.

    The weights are positive and sum to 1: with f = 0 a step is a mean of all states, and takes no state beyond the
    largest of them, whatever norm is taken.  That holds exactly of the weights that the network computes with, which
    are rounded as `weights` says.  As a method for y' = f(y), which rho and sigma are about, it is not consistent, and
    its coefficients vary with n: stated here are those of the first step of a stage, Euler's; the card of a network
    is about the product of all its steps.

    Attributes:
        a: The order of the derivative.
    """

    name = "fractional"
    at_downsampling = "restart"
    memory = None
    a: Annotated[Rational, Field(gt=0, le=1)] = Fraction(1, 2)

    def coefficients(self) -> LinearMultistep:
        """Euler's: the step that finds a single state."""
        return LinearMultistep((1,), (1,))

    def block(self, f: nn.Module, place: Place) -> nn.Module:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step with as many weights as there are states (see `stabzoo.Discretization.block`)."""
        from stabzoo import MultistepStep  # imports torch

        return MultistepStep(f, LinearMultistep(weights(self.a, place.states), (1,)))


@hookimpl
def stabzoo_discretizations() -> list[type]:
    """The discretizations of this plugin."""
    return [Fractional]
