"""Multistep methods for y'' = f(y): Verlet's in its two-step form, Stormer's, Cowell's, Numerov's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import factorial
from typing import ClassVar

from stabzoo.methods.method import Method
from stabzoo.methods.multistep import LinearMultistep, State
from stabzoo.methods.stability_function import OscillatorPolynomial

__all__ = ["SecondOrderMultistep"]


@dataclass(frozen=True, slots=True)
class SecondOrderMultistep(Method):
    """A linear multistep method whose f is the second derivative, newest value first.

        y_{n+1} = sum_j alpha_j y_{n-j} + h^2 ( beta_next f(y_{n+1}) + sum_j beta_j f(y_{n-j}) ),   y'' = f(y)

    It is zero-stable if the roots of rho lie in the unit disc and those on the circle are at most double: solutions of
    y'' = 0 grow linearly, and a consistent rho has the double root 1.  As a method for y' = f(y) it is not zero-stable.

    Attributes:
        formula: alpha, beta and beta_next.

    Source: Hairer, Norsett, Wanner, Solving ODEs I, III.10; Henrici (1962), chapter 6.

    >>> verlet = SecondOrderMultistep(LinearMultistep((2, -1), (1,)))
    >>> print(verlet)
    y[n+1] = 2 y[n] - y[n-1] + h^2 f[n]
    >>> verlet.order, verlet.error_constant
    (2, Fraction(1, 12))

    """

    kind: ClassVar[str] = "second-order multistep"

    formula: LinearMultistep

    @property
    def is_explicit(self) -> bool:
        """Whether beta_next = 0."""
        return self.formula.is_explicit

    def truncation_constant(self, q: int) -> Fraction:
        """Return C_q of the local error sum_q C_q h^q y^(q), expanded at the oldest value.

            C_q = ( sum_j a_j j^q - q (q-1) sum_j b_j j^{q-2} ) / q!,   rho = sum_j a_j z^j,  sigma = sum_j b_j z^j

        Source: Hairer, Norsett, Wanner, Solving ODEs I, III.10.
        """
        rho, sigma = self.formula.rho[::-1], self.formula.sigma[::-1]
        total = sum((a * j**q for j, a in enumerate(rho)), Fraction(0))
        if q > 1:
            total -= q * (q - 1) * sum((b * j ** (q - 2) for j, b in enumerate(sigma)), Fraction(0))
        return total / factorial(q)

    @property
    def order(self) -> int | None:
        """Largest p with C_0 = ... = C_{p+1} = 0; 0 if rho(1) = 0 and no more; None if rho(1) != 0."""
        first = next(q for q in count() if self.truncation_constant(q))
        return max(first - 2, 0) if first else None

    @property
    def error_constant(self) -> Fraction | None:
        """C_{p+2} / sigma(1) of a method of order p >= 1; None if not consistent or sigma(1) = 0."""
        scale = sum(self.formula.sigma)
        return self.truncation_constant(self.order + 2) / scale if self.order and scale else None

    @property
    def linear(self) -> OscillatorPolynomial:
        """Its rho + (h omega)^2 sigma."""
        return OscillatorPolynomial(self.formula)

    def coefficients(self) -> LinearMultistep:
        """The formula, with which f enters the block as it does a multistep method's."""
        return self.formula

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1}, h = 1 (see `LinearMultistep.step`)."""
        return self.formula.step(states, f)

    def __str__(self) -> str:
        return str(self.formula).replace("h f[", "h^2 f[")
