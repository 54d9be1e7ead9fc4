"""Where the boundary locus of a method meets the axes: exact algebra over Q.

With x = cos(theta), after dividing out the common factor of rho and sigma, at zeta = e^{i theta}

    rho conj(sigma) = N(x) + i sin(theta) U(x),     |sigma|^2 = D(x),         N, U, D polynomials over Q,

so the locus z = rho(zeta) / sigma(zeta) meets the real axis at z = N/D where (1 - x^2) U = 0, and the imaginary axis
at z = iy with y^2 = (1 - x^2) U^2 / D^2 where N = 0, with x in [-1, 1]. Such values are algebraic numbers; they are
isolated by their minimal polynomials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure, Exact
from stabzoo.stability.roots import complex_roots, integer_polynomial, trace_polynomial

if TYPE_CHECKING:
    from flint import acb, arb, fmpq_poly, fmpz_poly

Ball = TypeVar("Ball", "arb", "acb")

_PRECISION = 96
_LONGEST = 256
_SEPARATING = 8 * _PRECISION  # bits at which numbers that still overlap are compared exactly


@dataclass(frozen=True, slots=True)
class Locus:
    """N, U, D, and a polynomial whose roots x = cos(theta) are the multiple roots on the circle."""

    real: fmpz_poly
    sine: fmpz_poly
    norm: fmpz_poly
    touching: fmpz_poly

    @classmethod
    @lru_cache(maxsize=8)
    def of(cls, method: LinearMultistep) -> Locus | None:
        """Return the locus, up to a positive scale of rho and sigma together; None if sigma = 0."""
        from flint import fmpz_poly

        if not any(method.sigma):
            return None
        both = integer_polynomial((*method.rho, *method.sigma))  # one common denominator
        coefficients = [int(both[j]) for j in range(2 * method.steps + 2)]
        rho, sigma = fmpz_poly(coefficients[method.steps + 1 :]), fmpz_poly(coefficients[: method.steps + 1])
        common = rho.gcd(sigma)
        rho, sigma = rho // common, sigma // common
        r, s = [int(c) for c in rho.coeffs()], [int(c) for c in sigma.coeffs()]
        real, sine = _cosine_form(r, s)
        multiple = (rho.derivative() * sigma - rho * sigma.derivative()) * common
        # if rho / sigma is constant, the whole circle is multiple at that one z: any point of it will do
        touching = _on_circle(multiple) if multiple != 0 else polynomial(-1, 1)
        return cls(real, sine, _cosine_form(s, s)[0], touching)


def _cosine_form(p: list[int], q: list[int]) -> tuple[fmpz_poly, fmpz_poly]:
    """Return A, B with p(zeta) conj(q(zeta)) = A(x) + i sin(theta) B(x), zeta = e^{i theta}, x = cos(theta)."""
    from flint import fmpz_poly

    cosine, sine = fmpz_poly([0]), fmpz_poly([0])
    for j, a in enumerate(p):
        for k, b in enumerate(q):
            cosine += a * b * fmpz_poly.chebyshev_t(abs(j - k))
            if j != k:
                sine += (a * b if j > k else -a * b) * fmpz_poly.chebyshev_u(abs(j - k) - 1)
    return cosine, sine


def _on_circle(p: fmpz_poly) -> fmpz_poly:
    """Return a polynomial in x = cos(theta) whose roots in [-1, 1] are those of `p` on the unit circle."""
    from flint import fmpz_poly

    rest = p.gcd(fmpz_poly(list(reversed(p.coeffs()))))  # roots in pairs z, 1/z, and +-1
    result = polynomial(1)
    for unit in (1, -1):
        while rest(unit) == 0:
            rest, result = rest // polynomial(-unit, 1), result * polynomial(-unit, 1)
    return result * trace_polynomial([int(c) for c in rest.coeffs()])(polynomial(0, 2))


@dataclass(frozen=True, slots=True)
class Critical:
    """A positive number at which the verdict may change; `fails`: a root on the circle is multiple there."""

    value: Enclosure
    fails: bool

    def simplified(self) -> Fraction | Enclosure:
        """The number, exactly if it is enclosed as one."""
        return Exact(self.value.lower) if self.value.lower == self.value.upper else self.value


@dataclass(frozen=True, slots=True)
class Crossing(Critical):
    """Where the locus meets an axis: numerator/denominator at a root of the irreducible `factor` in [-1, 1]."""

    factor: fmpz_poly
    numerator: fmpz_poly
    denominator: fmpz_poly

    def simplified(self) -> Fraction | Enclosure:
        """The number, exactly if it is a rational of at most `_LONGEST` bits: guessed, and then proved to be it."""
        if self.value.lower == self.value.upper:
            return Exact(self.value.lower)
        for value in _values(self.factor, self.numerator, self.denominator, 2 * _LONGEST + _PRECISION) or []:
            if value.lower <= self.value.upper and self.value.lower <= value.upper:
                guess = value.midpoint.limit_denominator(1 << _LONGEST)
                if (guess.denominator * self.numerator - guess.numerator * self.denominator) % self.factor == 0:
                    return guess
        return self.value

    def minimal_polynomial(self) -> fmpz_poly:
        """The minimal polynomial over Q, scaled to integers."""
        return _minimal_polynomial(_modulo(self.numerator, self.denominator, self.factor), self.factor)


def critical_values(p: fmpz_poly, numerator: fmpz_poly, denominator: fmpz_poly, touching: fmpz_poly) -> list[Crossing]:
    """Isolate the positive values of numerator/denominator at the roots of `p` in [-1, 1], ascending.

    The precision is raised until all of them are apart. Where that takes too much, two may be equal, which their
    minimal polynomials tell: they cost more than all the rest, and are computed for those alone.
    """
    factors = [u for u, _ in p.factor()[1] if denominator % u != 0 and numerator % u != 0]
    fails = [touching % u == 0 for u in factors]
    precision = _PRECISION
    while True:
        found: list[Crossing] | None = []
        for u, multiple in zip(factors, fails, strict=True):
            values = _values(u, numerator, denominator, precision)
            if values is None:
                found = None
                break
            found += [Crossing(v, multiple, u, numerator, denominator) for v in values if v.lower > 0]
        if found is not None:
            found.sort(key=lambda crossing: crossing.value.lower)
            merged = _merged(found, precision)
            if merged is not None:
                return merged
        precision *= 2


def _values(u: fmpz_poly, numerator: fmpz_poly, denominator: fmpz_poly, precision: int) -> list[Enclosure] | None:
    """Enclose numerator/denominator at the roots of `u` in [-1, 1]; None if the precision is too low."""
    from flint import ctx

    if u.degree() == 1:
        x = Fraction(-int(u[0]), int(u[1]))
        value = value_at(numerator, x) / value_at(denominator, x)
        return [Enclosure(value, value)] if abs(x) <= 1 else []
    found: list[Enclosure] = []
    with ctx.workprec(precision):
        for root in isolate([u], precision):
            if root.lower > 1 or root.upper < -1:
                continue
            value = value_at_ball(numerator, root.ball()) / value_at_ball(denominator, root.ball())
            if root.lower < -1 or root.upper > 1 or not value.is_finite() or value.contains(0):
                return None
            found.append(Enclosure.of_ball(value))
    return found


def _merged(ascending: list[Crossing], precision: int) -> list[Crossing] | None:
    """Make one of equal numbers; None if the precision is too low to tell."""
    apart: list[Crossing] = []
    for point in ascending:
        if apart and apart[-1].value.upper >= point.value.lower:
            before = apart[-1]
            if precision < _SEPARATING or not _are_equal(before, point, precision):
                return None
            apart[-1] = replace(before, fails=before.fails or point.fails)
        else:
            apart.append(point)
    return apart


def _are_equal(a: Crossing, b: Crossing, precision: int) -> bool:
    """Whether two numbers with overlapping enclosures are the same root of the same minimal polynomial."""
    minimal = a.minimal_polynomial()
    if minimal != b.minimal_polynomial():
        return False
    low, high = min(a.value.lower, b.value.lower), max(a.value.upper, b.value.upper)
    return sum(root.lower <= high and low <= root.upper for root in isolate([minimal], precision)) == 1


def isolate(irreducible: list[fmpz_poly], precision: int = _PRECISION) -> list[Enclosure]:
    """Return disjoint enclosures of the real roots of distinct irreducible polynomials, ascending, rational exact."""
    from flint import ctx

    while True:
        found: list[Enclosure] = []
        for f in irreducible:
            if f.degree() == 1:
                r = Fraction(-int(f[0]), int(f[1]))
                found.append(Enclosure(r, r))
            else:
                with ctx.workprec(precision):
                    found += [Enclosure.of_ball(ball.real) for ball in complex_roots(f) if ball.imag == 0]
        found.sort(key=lambda e: e.lower)
        if all(a.upper < b.lower for a, b in pairwise(found)):
            return found
        precision *= 2


def _modulo(numerator: fmpz_poly, denominator: fmpz_poly, u: fmpz_poly) -> fmpq_poly:
    """Return numerator/denominator in the field Q[x]/(u)."""
    from flint import fmpq_poly

    modulus = fmpq_poly(u)
    inverse = (fmpq_poly(denominator) % modulus).xgcd(modulus)[1]
    return (fmpq_poly(numerator) * inverse) % modulus


def _minimal_polynomial(value: fmpq_poly, u: fmpz_poly) -> fmpz_poly:
    """Return the minimal polynomial over Q, scaled to integers, of an element of the field Q[x]/(u)."""
    from flint import fmpq_mat, fmpq_poly

    n, modulus = u.degree(), fmpq_poly(u)
    products = [(value * fmpq_poly([0] * i + [1])) % modulus for i in range(n)]
    power = fmpq_mat([[row[j] for j in range(n)] for row in products]).charpoly()
    return power.numer().factor()[1][0][0]  # the characteristic polynomial is a power of the minimal one


def polynomial(*coefficients: int) -> fmpz_poly:
    """Return the polynomial with these coefficients, lowest power first."""
    from flint import fmpz_poly

    return fmpz_poly(list(coefficients))


def value_at(p: fmpz_poly, x: Fraction) -> Fraction:
    """Return p(x)."""
    total = Fraction(0)
    for c in reversed(p.coeffs()):
        total = total * x + int(c)
    return total


def value_at_ball(p: fmpz_poly | fmpq_poly, x: Ball) -> Ball:
    """Enclose p(x) for every x in a ball."""
    total = x * 0
    for c in reversed(p.coeffs()):
        total = total * x + c
    return total
