"""What one step does to the linear equations y' = lambda y and y'' = -omega^2 y, exactly: R(z), and what is more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from stabzoo.methods.multistep import LinearMultistep, sum_text

if TYPE_CHECKING:
    from flint import fmpq_poly

__all__ = ["OscillatorMatrix", "OscillatorPolynomial", "Polynomial", "StabilityFunction"]


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A polynomial in z over Q, as a state: the step of an explicit method on y' = lambda y, from y = 1, is R(z)."""

    coefficients: tuple[Fraction, ...]
    """Lowest power first."""

    def __add__(self, other: Polynomial) -> Polynomial:
        a, b = sorted((self.coefficients, other.coefficients), key=len)
        return Polynomial((*(x + y for x, y in zip(a, b, strict=False)), *b[len(a) :]))

    def __rmul__(self, factor: Fraction) -> Polynomial:
        return Polynomial(tuple(factor * c for c in self.coefficients))

    def times_z(self) -> Polynomial:
        """f(y) = lambda y."""
        return Polynomial((Fraction(0), *self.coefficients))


@dataclass(frozen=True, slots=True)
class StabilityFunction:
    """R(z) = P(z) / Q(z) in lowest terms with Q(0) = 1, coefficients lowest power first.

    Source: Hairer, Wanner, Solving ODEs II, IV.2-IV.3.

    >>> print(StabilityFunction.of((1, Fraction(1, 2)), (1, Fraction(-1, 2))))
    (1 + 1/2 z) / (1 - 1/2 z)

    """

    numerator: tuple[Fraction, ...]
    denominator: tuple[Fraction, ...] = (Fraction(1),)

    @classmethod
    def of(
        cls, numerator: tuple[Fraction | int, ...], denominator: tuple[Fraction | int, ...] = (1,)
    ) -> StabilityFunction:
        """Return P / Q reduced; Q(0) is not 0."""
        p, q = flint_polynomial(numerator), flint_polynomial(denominator)
        common = p.gcd(q)
        p, q = p // common, q // common
        scale = q[0]
        return cls(fractions_of(p / scale), fractions_of(q / scale))

    @classmethod
    def of_step(
        cls, step: Callable[[list[Polynomial], Callable[[Polynomial], Polynomial]], Polynomial]
    ) -> StabilityFunction:
        """Return R of an explicit one-step method: its step, taken with polynomials."""
        return cls.of(step([Polynomial((Fraction(1),))], Polynomial.times_z).coefficients)

    def __call__(self, z: complex) -> complex:
        """R(z) in floating point.

        Raises:
            ZeroDivisionError: z is a pole.
        """
        p, q = (sum(float(c) * z**j for j, c in enumerate(cs)) for cs in (self.numerator, self.denominator))
        return p / q

    def __str__(self) -> str:
        above, below = (polynomial_text(cs) for cs in (self.numerator, self.denominator))
        if self.denominator == (1,):
            return above
        return f"{f'({above})' if ' ' in above else above} / ({below})"


@dataclass(frozen=True, slots=True)
class OscillatorMatrix:
    """The step of a method of y and z on the oscillator y' = omega z, z' = -omega y, with q = h omega and x = q^2.

        y_{n+1} = ( yy(x) y_n + q yz(x) z_n ) / d(x),    z_{n+1} = ( -q zy(x) y_n + zz(x) z_n ) / d(x)

    Coefficients of the polynomials in x, lowest power first.
    """

    yy: tuple[Fraction, ...]
    yz: tuple[Fraction, ...]
    zy: tuple[Fraction, ...]
    zz: tuple[Fraction, ...]
    denominator: tuple[Fraction, ...] = (Fraction(1),)

    def __call__(self, x: Fraction) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """The entries yy, yz, zy and zz over d, exactly.

        Raises:
            ZeroDivisionError: d vanishes at x.
        """
        yy, yz, zy, zz, d = (
            sum((c * x**j for j, c in enumerate(entry)), Fraction(0))
            for entry in (self.yy, self.yz, self.zy, self.zz, self.denominator)
        )
        return yy / d, yz / d, zy / d, zz / d


@dataclass(frozen=True, slots=True)
class OscillatorPolynomial:
    """The step of a multistep method for y'' = f(y) on y'' = -omega^2 y: rho + (h omega)^2 sigma decides it."""

    multistep: LinearMultistep
    """Whose rho and sigma these are."""


def flint_polynomial(coefficients: tuple[Fraction | int, ...]) -> fmpq_poly:
    """FLINT's polynomial of coefficients, lowest power first."""
    from flint import fmpq, fmpq_poly

    return fmpq_poly([fmpq(*Fraction(c).as_integer_ratio()) for c in coefficients])


def fractions_of(polynomial: fmpq_poly) -> tuple[Fraction, ...]:
    """The coefficients of FLINT's polynomial, lowest power first."""
    return tuple(Fraction(int(c.p), int(c.q)) for c in polynomial.coeffs()) or (Fraction(0),)


def polynomial_text(coefficients: tuple[Fraction, ...]) -> str:
    """``1 + z + 1/2 z^2``, of coefficients lowest power first."""
    powers = ["1", "z", *(f"z^{j}" for j in range(2, len(coefficients)))]
    return sum_text(powers[: len(coefficients)], coefficients)
