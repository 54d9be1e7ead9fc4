"""Where the boundary locus of a method meets the axes: exact algebra over Q.

With x = cos(theta), after dividing out the common factor of rho and sigma, at zeta = e^{i theta}

    rho conj(sigma) = N(x) + i sin(theta) U(x),     |sigma|^2 = D(x),         N, U, D polynomials over Q,

so the locus z = rho(zeta) / sigma(zeta) meets the real axis at z = N/D where (1 - x^2) U = 0, and the imaginary axis
at z = iy with y^2 = (1 - x^2) U^2 / D^2 where N = 0, with x in [-1, 1]. Such values are algebraic numbers; they are
isolated by their minimal polynomials.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from stabzoo.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.roots import complex_roots, integer_polynomial, trace_polynomial

if TYPE_CHECKING:
    from flint import fmpq_poly, fmpz_poly

_PRECISION = 96


@dataclass(frozen=True, slots=True)
class Locus:
    """N, U, D, and a polynomial whose roots x = cos(theta) are the multiple roots on the circle."""

    real: fmpz_poly
    sine: fmpz_poly
    norm: fmpz_poly
    touching: fmpz_poly

    @classmethod
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


def critical_values(p: fmpz_poly, numerator: fmpz_poly, denominator: fmpz_poly, touching: fmpz_poly) -> list[Critical]:
    """Isolate the positive values of numerator/denominator at the roots of `p` in [-1, 1], ascending.

    Conjugates over Q of these values may be among them; they only split cells.
    """
    branches: list[tuple[fmpz_poly, fmpq_poly, bool]] = []
    minimal: list[fmpz_poly] = []
    for u, _ in p.factor()[1]:
        value = _modulo(numerator, denominator, u)
        if value:
            branches.append((u, value, touching % u == 0))
            m = _minimal_polynomial(value, u)
            if m not in minimal:
                minimal.append(m)
    precision = _PRECISION
    while True:
        values = isolate(minimal, precision)
        matched = [_matches(u, value, values, precision) for u, value, _ in branches]
        if None not in matched and not any(v.lower < 0 < v.upper for v in values):
            failing = {i for m, (_, _, fails) in zip(matched, branches, strict=True) if fails for i in m or ()}
            return [Critical(v, i in failing) for i, v in enumerate(values) if v.lower > 0]
        precision *= 2


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


def _modulo(numerator: fmpz_poly, denominator: fmpz_poly, u: fmpz_poly) -> fmpq_poly | None:
    """Return numerator/denominator in the field Q[x]/(u), None if the denominator vanishes there."""
    from flint import fmpq_poly

    modulus = fmpq_poly(u)
    gcd, inverse, _ = (fmpq_poly(denominator) % modulus).xgcd(modulus)
    return (fmpq_poly(numerator) * inverse) % modulus if gcd.degree() == 0 else None


def _minimal_polynomial(value: fmpq_poly, u: fmpz_poly) -> fmpz_poly:
    """Return the minimal polynomial over Q, scaled to integers, of an element of the field Q[x]/(u)."""
    from flint import fmpq_mat, fmpq_poly

    n, modulus = u.degree(), fmpq_poly(u)
    products = [(value * fmpq_poly([0] * i + [1])) % modulus for i in range(n)]
    power = fmpq_mat([[row[j] for j in range(n)] for row in products]).charpoly()
    return power.numer().factor()[1][0][0]  # the characteristic polynomial is a power of the minimal one


def _matches(u: fmpz_poly, value: fmpq_poly, values: list[Enclosure], precision: int) -> list[int] | None:
    """Return which of `values` the element takes at the roots of `u` in [-1, 1]; None if the precision is too low."""
    from flint import arb, ctx, fmpq

    found: list[int] = []
    with ctx.workprec(precision):
        for root in isolate([u], precision):
            if root.lower > 1 or root.upper < -1:
                continue
            if root.lower < -1 or root.upper > 1:
                return None
            centre, radius = root.midpoint, root.upper - root.midpoint
            x = arb(fmpq(*centre.as_integer_ratio()), arb(fmpq(*radius.as_integer_ratio())))
            total = arb(0)
            for c in reversed(value.coeffs()):
                total = total * x + arb(c)
            ball = Enclosure.of_ball(total)
            candidates = [i for i, v in enumerate(values) if v.lower <= ball.upper and ball.lower <= v.upper]
            if len(candidates) != 1:
                return None
            found += candidates
    return found


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
