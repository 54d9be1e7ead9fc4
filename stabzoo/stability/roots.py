"""The roots of rho: certified enclosures, exact multiplicities, and the exact side of the unit circle of each.

rho is factored over Q. A root on the unit circle has its conjugate as inverse, so an irreducible factor f with such a
root is palindromic, f(z) = z^m g(z + 1/z), and its roots on the circle are the z with z + 1/z a root of g in (-2, 2).
Their number is known before any enclosure is looked at; the precision is raised until all the other roots are seen to
be off the circle.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from stabzoo.stability.enclosure import Enclosure, midpoint, rational_square_root

if TYPE_CHECKING:
    from flint import acb, arb, fmpz_poly

Position: TypeAlias = Literal["inside", "on", "outside"]
_RANK = {"outside": 0, "on": 1, "inside": 2}
PRECISION = 96  # bits: enclosures are a few units of the 90th bit wide, finer where the circle is near


@dataclass(frozen=True, slots=True)
class Root:
    """One root of rho.

    The root lies within `radius` of `midpoint`. `position` relative to the unit circle is exact, whatever the
    enclosure shows. `modulus` is a `Fraction` where it is rational and known to be: rational roots, roots on the
    circle, quadratic factors. `factor` is the irreducible factor over Q that has the root, integer coefficients,
    lowest power first. `is_real` is exact, also where the imaginary part is below all floats.
    """

    midpoint: complex
    radius: float
    multiplicity: int
    position: Position
    modulus: Fraction | Enclosure
    factor: tuple[int, ...]
    is_real: bool

    @property
    def rational(self) -> Fraction | None:
        """The root itself if it is rational."""
        return Fraction(-self.factor[0], self.factor[1]) if len(self.factor) == 2 else None


def factors(rho: tuple[Fraction, ...]) -> list[tuple[tuple[int, ...], int]]:
    """Return the irreducible primitive factors (lowest power first) of `rho` (highest first) with multiplicities."""
    return [(tuple(int(c) for c in f.coeffs()), m) for f, m in integer_polynomial(rho).factor()[1]]


@lru_cache(maxsize=8)
def roots(rho: tuple[Fraction, ...]) -> tuple[Root, ...]:
    """Return the distinct roots of `rho` (coefficients highest power first), largest modulus first."""
    found = [root for factor, multiplicity in factors(rho) for root in _roots_of_factor(factor, multiplicity)]
    found.sort(key=lambda r: (_RANK[r.position], -midpoint(r.modulus), -r.midpoint.real, -r.midpoint.imag))
    return tuple(found)


def integer_polynomial(coefficients: tuple[Fraction, ...]) -> fmpz_poly:
    """Return the FLINT polynomial of coefficients (highest power first) scaled by their common denominator."""
    from flint import fmpz_poly

    denominator = math.lcm(*[c.denominator for c in coefficients])
    return fmpz_poly([c.numerator * (denominator // c.denominator) for c in reversed(coefficients)])


def trace_polynomial(palindrome: list[int]) -> fmpz_poly:
    """Return g of f(z) = z^m g(z + 1/z) for a palindromic f of even degree 2m."""
    from flint import fmpz_poly

    m = len(palindrome) // 2
    w, previous, power = (
        fmpz_poly([0, 1]),
        fmpz_poly([2]),
        fmpz_poly([0, 1]),
    )  # z^j + z^-j as a polynomial in w, from j = 0, 1
    g = fmpz_poly([palindrome[m]])
    for j in range(1, m + 1):
        g += palindrome[m + j] * power
        previous, power = power, w * power - previous
    return g


def complex_roots(squarefree: fmpz_poly) -> list[acb]:
    """Return disjoint enclosures at FLINT's current precision; those of real roots have imaginary part exactly 0."""
    pairs = cast("list[tuple[acb, int]]", squarefree.complex_roots())  # FLINT's type stub says list[acb]
    return [ball for ball, _ in pairs]


def _roots_of_factor(factor: tuple[int, ...], multiplicity: int) -> list[Root]:
    from flint import ctx, fmpz_poly

    f, on_circle, precision = fmpz_poly(list(factor)), _count_on_circle(factor), PRECISION
    while True:
        with ctx.workprec(precision):
            balls = complex_roots(f)
            sides: list[Position] = [_side(ball) for ball in balls]
            if sides.count("on") == on_circle:
                return [_root(b, s, factor, multiplicity) for b, s in zip(balls, sides, strict=True)]
        precision *= 2


def _count_on_circle(factor: tuple[int, ...]) -> int:
    from flint import ctx

    if len(factor) == 2:
        return int(abs(factor[0]) == abs(factor[1]))
    if factor != factor[::-1]:
        return 0
    g, precision = trace_polynomial(list(factor)), 64
    while True:
        with ctx.workprec(precision):
            real = [ball.real for ball in complex_roots(g) if ball.imag == 0]
            inside, outside = sum(abs(w) < 2 for w in real), sum(abs(w) > 2 for w in real)
            if inside + outside == len(real):  # +-2 is no root: f would have the factor z -+ 1
                return 2 * inside
        precision *= 2


def _side(ball: acb) -> Position:
    """Return the side of the circle that the ball shows, "on" if it shows none."""
    modulus = abs(ball)
    return "inside" if modulus < 1 else "outside" if modulus > 1 else "on"


def _root(ball: acb, position: Position, factor: tuple[int, ...], multiplicity: int) -> Root:
    from flint import acb

    centre = complex(_nearest(ball.real), _nearest(ball.imag))
    error = (ball - acb(centre.real, centre.imag)).abs_upper()
    radius = 0.0 if error == 0 else math.nextafter(float(error), math.inf)  # also where the error is below all floats
    return Root(centre, radius, multiplicity, position, _modulus(ball, position, factor), factor, ball.imag == 0)


def _nearest(part: arb) -> float:
    """Return the float nearest to the middle of a ball, the largest one for what exceeds all floats."""
    return max(-sys.float_info.max, min(sys.float_info.max, float(part.mid())))


def _modulus(ball: acb, position: Position, factor: tuple[int, ...]) -> Fraction | Enclosure:
    if position == "on":
        return Fraction(1)
    if len(factor) == 2:
        return abs(Fraction(factor[0], factor[1]))
    if len(factor) == 3 and ball.imag != 0:
        root = rational_square_root(Fraction(factor[0], factor[2]))  # of the product of a conjugate pair
        if root is not None:
            return root
    return Enclosure.of_ball(abs(ball))
