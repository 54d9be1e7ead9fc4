"""From a point of floats to a scheme of rationals: the simplest whose proved numbers are as good as the point's."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stabzoo.designing.conditions import Space
from stabzoo.designing.objectives import find
from stabzoo.stability import StabilityCard, card

__all__ = ["Judged", "chosen", "rounded"]

TOLERANCE = 1e-7
"""By how much the proved cost may be worse than that of the point, relatively, before more digits are taken."""


@dataclass(frozen=True)
class Judged:
    """A scheme that meets what is asked, proved, and its cost."""

    card: StabilityCard
    cost: float


def judged(space: Space, x: Sequence[Fraction]) -> Judged | None:
    """Prove what is asked of a scheme: order, zero stability, signs and bounds; None if something is missing."""
    problem = space.problem
    if any(row.at(x) < 0 for row in space.signs):
        return None
    try:
        proved = card(space.method(x))
    except ValueError:  # coefficients beyond what a method may have
        return None
    if not proved.is_zero_stable or not isinstance(proved.order, int) or proved.order < problem.order:
        return None
    for name, bound in problem.bounds.items():
        goal = find(name)
        if not goal.meets(goal.exactly(proved, problem), bound):
            return None
    return Judged(proved, sum(float(w) * find(name).cost(proved, problem) for name, w in problem.objective.items()))


def chosen(space: Space, candidates: Iterable[Sequence[Fraction]], cost: float) -> Judged | None:
    """The first candidate whose proved cost is that of the point, or the best; None if none meets what is asked."""
    best: Judged | None = None
    for x in candidates:
        found = judged(space, x)
        if found is None or math.isnan(found.cost):
            continue
        if best is None or found.cost < best.cost:
            best = found
        if found.cost <= cost + TOLERANCE * (1 + abs(cost)):
            break
    return best


def rounded(space: Space, point: Sequence[float], inner: Sequence[Fraction] | None) -> Iterator[list[Fraction]]:
    """Schemes near the point, exactly of the order: the simplest first, then some that are moved towards ``inner``.

    The best point lies on the boundary of what is allowed, and a rounded one beside it may lie outside.
    """
    exact = [Fraction(t) for t in point]
    for bound in (10, 30, 100, 300, 1000, 10**4, 10**6, 10**9, 10**12):
        yield space.point([t.limit_denominator(bound) for t in exact])
    if inner is not None:
        centre = space.free_of(list(inner))
        for digits in (12, 10, 9, 8, 7, 6, 5, 4, 3, 2):
            share = Fraction(1, 10**digits)
            moved = [(1 - share) * t + share * c for t, c in zip(exact, centre, strict=True)]
            yield space.point([t.limit_denominator(10 ** (digits + 2)) for t in moved])
