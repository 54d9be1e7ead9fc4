"""The largest SSP coefficient, with a proof: it is linear once the coefficient is given.

All alpha_i >= r beta_i and all beta >= 0 are linear in the scheme, and what meets them for r meets them for less.  So r
is bisected, and every verdict of `stabzoo.designing.farkas` is exact: a scheme, or a refutation.

Source: Ketcheson, Computation of optimal monotonicity preserving general linear methods, Math. Comp. 78 (2009),
1497-1513; Gottlieb, Ketcheson, Shu, Strong Stability Preserving Runge-Kutta and Multistep Time Discretizations (2011).
"""

from __future__ import annotations

from fractions import Fraction

from stabzoo.designing.conditions import Inequality, Space
from stabzoo.designing.farkas import Refutation, decide

__all__ = ["largest_threshold", "threshold_conditions"]

_LARGE = Fraction(1000)  # a coefficient that only methods without a bound have
_NARROW = Fraction(1, 10**9)


def threshold_conditions(space: Space, r: Fraction) -> list[Inequality]:
    """alpha_i >= r beta_i, beta_i >= 0 and the signs of the problem."""
    names, found = space.problem.coefficients, list(space.signs)
    unit = {name: [Fraction(i == j) for j in range(len(names))] for i, name in enumerate(names)}
    nought = [Fraction(0)] * len(names)
    for j in range(space.problem.steps):
        alpha, beta = unit.get(f"alpha_{j}", nought), unit.get(f"beta_{j}", nought)
        weights = tuple(a - r * b for a, b in zip(alpha, beta, strict=True))
        if any(weights):
            found.append(Inequality(weights, Fraction(0), f"alpha_{j} - r beta_{j} >= 0"))
    betas = [name for name in names if name.startswith("beta")]
    return [*found, *(Inequality(tuple(unit[name]), Fraction(0), f"{name} >= 0") for name in betas)]


def largest_threshold(space: Space) -> tuple[Fraction, list[Fraction], tuple[Fraction, Refutation] | None] | None:
    """Return an r, a scheme that has it, and an r above with the refutation of it; None if no scheme has r >= 0.

    The two differ by `_NARROW`, or by what floating point could tell; the last is None if r is not bounded.
    """
    low, best = Fraction(0), decide(space, threshold_conditions(space, Fraction(0)))
    if not isinstance(best, list):
        return None
    unbounded = decide(space, threshold_conditions(space, _LARGE))
    if isinstance(unbounded, list):
        return _LARGE, unbounded, None
    high, proof = (_LARGE, unbounded) if isinstance(unbounded, Refutation) else (_LARGE, None)
    while high - low > _NARROW:
        middle = _simplest(low, high)
        found = decide(space, threshold_conditions(space, middle))
        if found is None:
            break
        if isinstance(found, Refutation):
            high, proof = middle, found
        else:
            low, best = middle, found
            above = low + _NARROW
            if isinstance(tight := decide(space, threshold_conditions(space, above)), Refutation):
                high, proof = above, tight
    return low, best, (high, proof) if proof is not None else None


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the least denominator in the middle half between them."""
    quarter, middle = (high - low) / 4, (low + high) / 2
    bound = 1
    while abs(middle.limit_denominator(bound) - middle) > quarter:
        bound *= 2
    return middle.limit_denominator(bound)
