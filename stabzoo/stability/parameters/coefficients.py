"""The coefficients of a family as rational functions of its parameter, recovered from exact values of it.

A family is a black box that gives a method for a number. A rational function of degree D (of numerator and denominator)
is known from 2D + 1 of its values; it is found by Cauchy interpolation, the extended Euclidean algorithm on the
interpolating polynomial, and compared with the family at every further value. No other rational function of degree at
most (N - 1) / 2 agrees with it at N values: that is what a proof about the family rests on.

Source: von zur Gathen, Gerhard, Modern Computer Algebra, 5.8 (Cauchy interpolation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.parameters.reduction import Reduction

if TYPE_CHECKING:
    from flint import fmpq, fmpq_poly, fmpz_poly

_DEGREES = (2, 4, 8, 16)


@dataclass(frozen=True)
class Coefficients:
    """rho and sigma, lowest power first, times their common denominator: polynomials in the parameter.

    Attributes:
        rho: d + 1 polynomials; the last one is the common denominator.
        sigma: As many.
        degree: If the coefficients of the family are rational functions of at most this degree, they are these.
        values: At how many values the family was found to agree.

    """

    rho: tuple[fmpz_poly, ...]
    sigma: tuple[fmpz_poly, ...]
    degree: int
    values: int

    @cached_property
    def at_zero(self) -> Reduction:
        """The reduction of rho: zero stability."""
        return Reduction.of(self.rho)

    @cached_property
    def at_minus_one(self) -> Reduction:
        """The reduction of rho - z sigma at z = -1, of rho where its leading coefficient vanishes for all values."""
        both = [r + s for r, s in zip(self.rho, self.sigma, strict=True)]
        return Reduction.of(both if both[-1] else self.rho)

    def at(self, value: Fraction) -> LinearMultistep | None:
        """Return the method at a value, None at a pole.

        Raises:
            ValueError: a coefficient is beyond what a `LinearMultistep` may have.

        """
        scale = polynomial_at(self.rho[-1], value)
        if not scale:
            return None
        alpha = [-polynomial_at(p, value) / scale for p in reversed(self.rho[:-1])]
        beta = [polynomial_at(p, value) / scale for p in reversed(self.sigma)]
        return LinearMultistep(alpha, beta[1:], beta[0])


def recover(samples: Mapping[Fraction, LinearMultistep]) -> Coefficients | None:
    """Return the coefficients, None if they are not rational functions of a degree that the samples could tell."""
    from flint import fmpq_poly, fmpz_poly

    rows = [(*m.rho, *m.sigma) for m in samples.values()]
    if not rows or len({len(row) for row in rows}) > 1:
        return None
    places = list(samples)
    fractions: list[tuple[fmpq_poly, fmpq_poly]] = []
    for values in zip(*rows, strict=True):
        found = _function(places, values)
        if found is None:
            return None
        fractions.append(found)
    scale = fmpz_poly([1])
    for _, below in fractions:
        part = below.numer()
        scale *= part // part.gcd(scale)
    cleared = [above * fmpq_poly(scale) / below for above, below in fractions]
    content = fmpz_poly([1])
    for p in cleared:
        content *= p.denom()
    integers = [(p * fmpq_poly(content)).numer() for p in cleared]
    common = fmpz_poly([0])
    for p in integers:
        common = common.gcd(p)
    integers = [p // common for p in integers]
    half = len(integers) // 2
    return Coefficients(
        tuple(reversed(integers[:half])), tuple(reversed(integers[half:])), (len(rows) - 1) // 2, len(rows)
    )


def _function(places: Sequence[Fraction], values: Sequence[Fraction]) -> tuple[fmpq_poly, fmpq_poly] | None:
    """Return numerator and denominator of the rational function with these values, found from some of them."""
    from flint import fmpq_poly

    if len(set(values)) == 1:
        return fmpq_poly([to_flint(values[0])]), fmpq_poly([1])
    for degree in _DEGREES:
        used = 2 * degree + 1
        if len(places) < used + degree:  # so many values are left to compare with
            return None
        above, below = _interpolate(places[:used], values[:used], degree)
        if all(
            below(t) != 0 and above(t) == below(t) * to_flint(v)
            for t, v in zip(map(to_flint, places), values, strict=True)
        ):
            return above, below
    return None


def _interpolate(places: Sequence[Fraction], values: Sequence[Fraction], degree: int) -> tuple[fmpq_poly, fmpq_poly]:
    from flint import fmpq_poly

    vanishing, f = fmpq_poly([1]), fmpq_poly([0])
    for place, value in zip(map(to_flint, places), map(to_flint, values), strict=True):  # Newton's form
        f += (value - f(place)) / vanishing(place) * vanishing
        vanishing *= fmpq_poly([-place, 1])
    previous, rest = vanishing, f
    cofactors = fmpq_poly([0]), fmpq_poly([1])
    while rest.degree() > degree:
        quotient, remainder = divmod(previous, rest)
        previous, rest = rest, remainder
        cofactors = cofactors[1], cofactors[0] - quotient * cofactors[1]
    common = rest.gcd(cofactors[1])
    return rest // common, cofactors[1] // common


def polynomial_at(p: fmpz_poly, value: Fraction) -> Fraction:
    """Return p(value)."""
    found = p(to_flint(value))
    return Fraction(int(found.p), int(found.q))


def to_flint(value: Fraction) -> fmpq:
    """Return the same number."""
    from flint import fmpq

    return fmpq(value.numerator, value.denominator)
