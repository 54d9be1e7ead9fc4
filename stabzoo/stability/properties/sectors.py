"""How much of the left half plane a method that is stable on all of the negative real axis has.

With the locus z = N/D + i sin(theta) U/D of `stabzoo.stability.locus`, x = cos(theta): every point of it is a limit of
z = rho(zeta) / sigma(zeta) with |zeta| > 1, where the root condition fails, and away from it the number of roots
outside is constant. So a sector around the negative real axis, or a half plane, is in the stability region exactly if
its interior has no point of the locus, and

    tan(alpha)^2 = min of (1 - x^2) U^2 / N^2 where N < 0,      D = max of -N / D,      -1 <= x <= 1.

Source: Hairer, Wanner, Solving ODEs II, V.2 (A(alpha)-stability: Widlund 1967; stiff stability: Gear 1971).
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure, Real, largest
from stabzoo.stability.locus import Locus, isolate, polynomial, value_at, value_at_ball

if TYPE_CHECKING:
    from flint import fmpz_poly

_PRECISION = 96


def sector_angle(method: LinearMultistep, real_interval: Real) -> Fraction | Enclosure | None:
    """Return the largest alpha, in degrees, such that every z != 0 with |arg(-z)| < alpha satisfies the root condition.

    A-stable methods have 90. None if it is not A(0)-stable: `real_interval`, which the caller knows, is finite.

    Example:
        >>> from stabzoo.methods.multistep import LinearMultistep
        >>> bdf3 = LinearMultistep(("18/11", "-9/11", "2/11"), (0, 0, 0), "6/11")
        >>> str(sector_angle(bdf3, math.inf))
        '86.0324'

    """
    from flint import arb, ctx

    locus = Locus.of(method)
    if real_interval != math.inf or locus is None:
        return None
    common = locus.real.gcd(locus.sine)
    n, u, square, x = locus.real // common, locus.sine // common, polynomial(1, 0, -1), polynomial(0, 1)
    stationary = (square * u.derivative() - x * u) * n - square * u * n.derivative()
    angles: list[Enclosure] = []
    with ctx.workprec(_PRECISION):
        for point in _on_the_left(locus.real, stationary * square):
            cosine = point.ball()
            real, sine = value_at_ball(n, cosine), (1 - cosine * cosine).nonnegative_part().sqrt()
            if not real.contains(0):
                angle = (abs(value_at_ball(u, cosine) / real) * sine).atan() * 180 / arb.pi()
                angles.append(Enclosure.of_ball(angle))
    return Enclosure(min(a.lower for a in angles), min(a.upper for a in angles)) if angles else Fraction(90)


def stiff_abscissa(method: LinearMultistep, real_interval: Real) -> Fraction | Enclosure | None:
    """Return the smallest D >= 0 such that every z with Re z < -D satisfies the root condition; None if there is none.

    A-stable methods have 0. Gear's stiff stability asks for such a D, and for accuracy near 0.

    Example:
        >>> from stabzoo.methods.multistep import LinearMultistep
        >>> bdf3 = LinearMultistep(("18/11", "-9/11", "2/11"), (0, 0, 0), "6/11")
        >>> str(stiff_abscissa(bdf3, math.inf))
        '1/12'

    """
    from flint import ctx

    locus = Locus.of(method)
    if real_interval != math.inf or locus is None:
        return None
    common = locus.real.gcd(locus.norm)
    n, d = locus.real // common, locus.norm // common
    values: list[Enclosure] = [Enclosure(Fraction(0), Fraction(0))]
    with ctx.workprec(_PRECISION):
        if _on_the_left(locus.real, d):
            return None  # the locus runs to infinity there
        for point in _on_the_left(locus.real, (n.derivative() * d - n * d.derivative()) * polynomial(1, 0, -1)):
            if point.lower == point.upper:
                exact = -value_at(n, point.lower) / value_at(d, point.lower)
                values.append(Enclosure(exact, exact))
            else:
                ball = point.ball()
                values.append(Enclosure.of_ball(-value_at_ball(n, ball) / value_at_ball(d, ball)))
    return largest([v.lower if v.lower == v.upper else v for v in values])


def _on_the_left(real: fmpz_poly, p: fmpz_poly) -> list[Enclosure]:
    """Enclose the roots of `p` in [-1, 1] where the locus is left of the imaginary axis, ends of such arcs included."""
    marks = [Enclosure(Fraction(end), Fraction(end)) for end in (-1, 1)]
    marks += [m for m in _roots(real) if m.lower > -1 and m.upper < 1]
    marks.sort(key=lambda mark: mark.lower)
    arcs = [(a.lower, b.upper) for a, b in pairwise(marks) if value_at(real, (a.upper + b.lower) / 2) < 0]
    return [root for root in _roots(p) if any(a <= root.upper and root.lower <= b for a, b in arcs)]


def _roots(p: fmpz_poly) -> list[Enclosure]:
    return isolate([u for u, _ in p.factor()[1]], _PRECISION) if p.degree() > 0 else []
