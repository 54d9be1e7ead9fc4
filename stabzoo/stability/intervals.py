"""Exact real and imaginary stability intervals, A- and L-stability.

The roots of pi(zeta; z) = rho(zeta) - z sigma(zeta) can leave or enter the unit disc only where one of them is on the
circle, that is for z on the boundary locus. Its points on an axis are isolated exactly (see `locus`). Between two of
them the verdict is constant, and one exact verdict at a rational point decides it; at one with good neighbours the
root condition fails just if a root on the circle is multiple, i.e. if rho' sigma - rho sigma', or the common factor,
vanishes there.

Of a one-step method with R = P/Q the condition is |R(z)| <= 1, away from poles. On an axis it can change only at roots
of Q and of |Q|^2 - |P|^2, which on the imaginary axis is the E-polynomial, a polynomial in y^2.

Source: Hairer, Wanner, Solving ODEs II, V.1 (root locus curve), IV.3 (E-polynomial); Miller (1971) for the verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from stabzoo.methods.method import Linear
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.methods.stability_function import (
    OscillatorMatrix,
    OscillatorPolynomial,
    StabilityFunction,
    flint_polynomial,
)
from stabzoo.stability.enclosure import Enclosure, Real, rational_square_root
from stabzoo.stability.locus import Critical, Locus, critical_values, isolate, polynomial, value_at
from stabzoo.stability.root_condition import cleared, reduced, satisfies_root_condition

if TYPE_CHECKING:
    from flint import fmpq_poly, fmpz_poly

_PRECISION = 96


def real_interval(method: LinearMultistep | StabilityFunction) -> Real:
    """Return the largest L such that rho - z sigma satisfies the root condition for every real z with -L < z < 0.

    0 if there is no such interval, infinity if the whole negative axis qualifies. Where the leading coefficient
    1 - z beta_next vanishes a root is infinite and the condition is violated. Given R the condition is |R(z)| <= 1.
    """
    if isinstance(method, StabilityFunction):
        p, q = (flint_polynomial(c)(flint_polynomial((0, -1))) for c in (method.numerator, method.denominator))
        return _bounded_by_one(p * p, q * q)
    locus = Locus.of(method)
    if locus is None:
        return math.inf if satisfies_root_condition(method, Fraction(0)) else Fraction(0)
    crossings = locus.touching if locus.sine == 0 else locus.sine * polynomial(-1, 0, 1)
    critical = critical_values(crossings, -locus.real, locus.norm, locus.touching)  # of -z
    return _first_failure(critical, lambda t: satisfies_root_condition(method, -t), _between)


def imaginary_interval(method: Linear) -> Real:
    """Return the largest I such that rho - z sigma satisfies the root condition for every z = iy with 0 < |y| < I.

    Given R the condition is |R(z)| <= 1.  Given the step on the oscillator, whose eigenvalues are +-i omega, it is that
    its powers are bounded for 0 < h omega < I: of Verlet's method I = 2.
    """
    if isinstance(method, OscillatorMatrix):
        return _square_root(_while_powers_are_bounded(method))
    if isinstance(method, OscillatorPolynomial):
        return _square_root(real_interval(method.multistep))  # rho + x sigma is rho - z sigma at z = -x
    if isinstance(method, StabilityFunction):
        p, q = (_squared_modulus(coefficients) for coefficients in (method.numerator, method.denominator))
        return _square_root(_bounded_by_one(p, q))
    locus = Locus.of(method)
    if locus is None:
        return math.inf if satisfies_root_condition(method, Fraction(0)) else Fraction(0)
    crossings = locus.touching if locus.real == 0 else locus.real
    squares = critical_values(crossings, locus.sine**2 * polynomial(1, 0, -1), locus.norm**2, locus.touching)  # of y^2
    return _square_root(_first_failure(squares, lambda t: _holds_at_imaginary(method, t), _square_between))


def is_A_stable(method: LinearMultistep | StabilityFunction) -> bool:  # noqa: N802
    """Decide whether rho - z sigma satisfies the root condition for every z with Re z <= 0.

    The locus must stay in Re z >= 0, i.e. N >= 0 on [-1, 1]; then one verdict decides the open left half-plane, and
    the verdicts at 0 and on the imaginary axis complete it. Given R, all poles lie in Re z > 0 and |R| <= 1 on the
    imaginary axis, from which the maximum principle carries it to the left half-plane.
    """
    if isinstance(method, StabilityFunction):
        return _poles_are_right(method) and imaginary_interval(method) == math.inf
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


def is_L_stable(method: LinearMultistep | StabilityFunction) -> bool:  # noqa: N802
    """Decide whether it is A-stable and infinitely stiff components die out in d steps: sigma = beta_next z^d.

    As z -> infinity the roots of rho - z sigma tend to those of sigma, which are all zero. For a one-step method
    this is R(infinity) = 0 (Hairer, Wanner, Solving ODEs II, IV.3).
    """
    if isinstance(method, StabilityFunction):
        dies_out = len(method.numerator) < len(method.denominator)
    else:
        dies_out = method.beta_next != 0 and not any(method.beta)
    return dies_out and is_A_stable(method)


def _bounded_by_one(above: fmpq_poly, below: fmpq_poly) -> Real:
    """Return the largest t such that above <= below and below != 0 on (0, t), for polynomials that are >= 0 there."""
    from flint import fmpq

    def holds(t: Fraction) -> bool:
        x = fmpq(*t.as_integer_ratio())
        return below(x) != 0 and above(x) <= below(x)

    return _first_failure(critical_roots(below - above, below), holds, _between)


def critical_roots(*polynomials: fmpq_poly, fails: Callable[[fmpz_poly], bool] = lambda u: False) -> list[Critical]:
    """Isolate the positive roots of polynomials, ascending; ``fails`` says it of the roots of an irreducible factor."""
    marks = [polynomial(0, 1)]  # 0 is among them, so that no enclosure reaches across it
    for p in polynomials:
        marks += [u for u, _ in p.numer().factor()[1] if u not in marks] if p else []
    failing = [u for u in marks if fails(u)]
    return [
        Critical(value, fails=any(value_at(u, value.lower) * value_at(u, value.upper) <= 0 for u in failing))
        for value in isolate(marks)
        if value.lower > 0
    ]


def _while_powers_are_bounded(matrix: OscillatorMatrix) -> Real:
    """Return the largest t such that the powers of the matrix are bounded for every x in (0, t), x = (h omega)^2.

    With T its trace and D its determinant, zeta^2 - T zeta + D has its roots in the disc just if |D| <= 1 and
    |T| <= 1 + D, and a double root on the circle just if D = 1 and T = +-2: then the matrix must be +-I.
    """
    from flint import fmpq, fmpq_poly

    yy, yz, zy, zz, d = (
        flint_polynomial(entry) for entry in (matrix.yy, matrix.yz, matrix.zy, matrix.zz, matrix.denominator)
    )
    trace, determinant, square = (yy + zz) * d, yy * zz + flint_polynomial((0, 1)) * yz * zy, d * d

    def holds(t: Fraction) -> bool:
        if not d(fmpq(*t.as_integer_ratio())):
            return False
        a, b, c, e = matrix(t)
        whole, size = a + e, a * e + t * b * c
        if abs(size) > 1 or abs(whole) > 1 + size:
            return False
        return not (size == 1 and abs(whole) == 2) or b == c == 0

    def fails(u: fmpz_poly) -> bool:
        """Whether the powers grow where the irreducible u vanishes, though they may be bounded beside it."""
        vanishes = [p % fmpq_poly(u) == 0 for p in (d, determinant - square, trace**2 - 4 * square**2, yz, zy)]
        return vanishes[0] or (vanishes[1] and vanishes[2] and not (vanishes[3] and vanishes[4]))

    one = square + determinant
    marks = critical_roots(square - determinant, one, one - trace, one + trace, d, fails=fails)
    return _first_failure(marks, holds, _between)


def _squared_modulus(coefficients: tuple[Fraction, ...]) -> fmpq_poly:
    """Return |p(iy)|^2 as a polynomial in y^2."""
    even, odd = (
        flint_polynomial(tuple([(-1) ** j * c for j, c in enumerate(coefficients[start::2])])) for start in (0, 1)
    )
    return even * even + flint_polynomial((0, 1)) * odd * odd


def _poles_are_right(function: StabilityFunction) -> bool:
    """Decide whether every root of Q lies in Re z > 0, which w = (z - 1) / (z + 1) maps to the open unit disc."""
    above, below = flint_polynomial((1, 1)), flint_polynomial((1, -1))  # z = (1 + w) / (1 - w)
    coefficients, degree = function.denominator, len(function.denominator) - 1
    image = flint_polynomial((0,))
    for j, c in enumerate(coefficients):
        image += flint_polynomial((c,)) * above**j * below ** (degree - j)
    if image.degree() < degree:  # a pole at -1
        return False
    phi = cleared([Fraction(int(c.p), int(c.q)) for c in image.coeffs()])
    return len(reduced(phi if phi[-1] > 0 else [-c for c in phi])[1]) == 1


def _first_failure(
    critical: Sequence[Critical], holds: Callable[[Fraction], bool], sample: Callable[[Fraction, Fraction], Fraction]
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
