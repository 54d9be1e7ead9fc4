"""Exact real and imaginary stability intervals of linear multistep methods.

The roots of pi(zeta; z) = rho(zeta) - z sigma(zeta) can leave or enter the unit disc only where one of them is on the
circle, that is for z on the boundary locus. Its points on an axis are isolated exactly (see `locus`). Between two of
them the verdict is constant, and one exact verdict at a rational point decides it; at one with good neighbours the
root condition fails just if a root on the circle is multiple, i.e. if rho' sigma - rho sigma', or the common factor,
vanishes there.

Source: Hairer, Wanner, Solving ODEs II, V.1 (root locus curve); Miller (1971) for the verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

from stabzoo.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure, Real, rational_square_root
from stabzoo.stability.locus import Critical, Locus, critical_values, isolate, polynomial, value_at
from stabzoo.stability.root_condition import satisfies_root_condition

_PRECISION = 96


def real_interval(method: LinearMultistep) -> Real:
    """Return the largest L such that rho - z sigma satisfies the root condition for every real z with -L < z < 0.

    0 if there is no such interval, infinity if the whole negative axis qualifies. Where the leading coefficient
    1 - z beta_next vanishes a root is infinite and the condition is violated.
    """
    locus = Locus.of(method)
    if locus is None:
        return math.inf if satisfies_root_condition(method, Fraction(0)) else Fraction(0)
    crossings = locus.touching if locus.sine == 0 else locus.sine * polynomial(-1, 0, 1)
    critical = critical_values(crossings, -locus.real, locus.norm, locus.touching)  # of -z
    return _first_failure(critical, lambda t: satisfies_root_condition(method, -t), _between)


def imaginary_interval(method: LinearMultistep) -> Real:
    """Return the largest I such that rho - z sigma satisfies the root condition for every z = iy with 0 < |y| < I."""
    locus = Locus.of(method)
    if locus is None:
        return math.inf if satisfies_root_condition(method, Fraction(0)) else Fraction(0)
    crossings = locus.touching if locus.real == 0 else locus.real
    squares = critical_values(crossings, locus.sine**2 * polynomial(1, 0, -1), locus.norm**2, locus.touching)  # of y^2
    return _square_root(_first_failure(squares, lambda t: _holds_at_imaginary(method, t), _square_between))


def is_A_stable(method: LinearMultistep) -> bool:  # noqa: N802
    """Decide whether rho - z sigma satisfies the root condition for every z with Re z <= 0.

    The locus must stay in Re z >= 0, i.e. N >= 0 on [-1, 1]; then one verdict decides the open left half-plane, and
    the verdicts at 0 and on the imaginary axis complete it.
    """
    if not satisfies_root_condition(method, Fraction(-1)) or not satisfies_root_condition(method, Fraction(0)):
        return False
    locus = Locus.of(method)
    if locus is not None and locus.real != 0:
        marks = [Fraction(-1), Fraction(1)]
        for root in isolate([u for u, _ in locus.real.factor()[1]]):
            marks += [root.lower, root.upper]
        marks.sort()
        if any(value_at(locus.real, (a + b) / 2) < 0 for a, b in pairwise(marks) if -1 <= a < b <= 1):
            return False
    return imaginary_interval(method) == math.inf


def _first_failure(
    critical: list[Critical], holds: Callable[[Fraction], bool], sample: Callable[[Fraction, Fraction], Fraction]
) -> Real:
    """Return the largest t such that the verdict holds on (0, t); between critical values it is that at a sample."""
    reached, before = Fraction(0), None  # `reached` is a bound on the point before
    for point in critical:
        if not holds(sample(reached, point.value.lower)):
            return before.simplified() if before else reached
        reached, before = point.value.upper, point
        if point.fails:
            return point.simplified()
    if holds(sample(reached, 4 * reached + 4)):
        return math.inf
    return before.simplified() if before else reached


def _between(low: Fraction, high: Fraction) -> Fraction:
    """Return a dyadic number of few bits in the open interval (low, high)."""
    scale = 1
    while not low * scale < (middle := math.floor((low + high) / 2 * scale)) < high * scale:
        scale *= 2
    return Fraction(middle, scale)


def _square_between(low: Fraction, high: Fraction) -> Fraction:
    """Return the square of a dyadic number in the open interval (low, high)."""
    scale = 1
    while not low * scale**2 < (root := math.isqrt(math.floor((low + high) / 2 * scale**2))) ** 2 < high * scale**2:
        scale *= 2
    return Fraction(root, scale) ** 2


def _square_root(value: Real) -> Real:
    """Return the square root, exactly if it is rational."""
    from flint import arb, ctx, fmpq

    if isinstance(value, float):
        return value
    if isinstance(value, Fraction) and (root := rational_square_root(value)) is not None:
        return root
    low, high = (value.lower, value.upper) if isinstance(value, Enclosure) else (value, value)
    with ctx.workprec(_PRECISION):
        bounds = [Enclosure.of_ball(arb(fmpq(*t.as_integer_ratio())).sqrt()) for t in (low, high)]
    return Enclosure(bounds[0].lower, bounds[1].upper)


def _holds_at_imaginary(method: LinearMultistep, square: Fraction) -> bool:
    y = rational_square_root(square)
    assert y is not None  # samples are squares
    return satisfies_root_condition(method, Fraction(0), y)
