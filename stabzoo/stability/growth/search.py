"""The supremum of the rows of all powers beyond those that were followed: a search by intervals of n.

On an interval of n, |r_n|_1 is at most the sum of moduli of `Tail.row` there, evaluated in ball arithmetic, and at most
the peak of its phase plus the bound on E_n at the start of the interval. The interval with the largest bound is halved,
until it is no larger than what a single n has, or the budget is used up.
"""

from __future__ import annotations

import math
from fractions import Fraction
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.growth.tail import Tail

if TYPE_CHECKING:
    from flint import arb

_WORK = 6000  # entries of rows that may be evaluated
_CLOSE = 1 + Fraction(1, 1 << 44)
_NEGLIGIBLE = Fraction(1, 1 << 60)


def refined(tail: Tail, largest: Fraction, seen: int, known: Enclosure) -> Enclosure:
    """Return sup_n |r_n|_1 in a part of the enclosure `known`; `largest` is the maximum over n <= `seen`."""
    from flint import ctx

    start, period = seen + tail.steps, math.lcm(2, len(tail.phases))
    budget = _WORK // (tail.steps * (1 + len(tail.modes) + len(tail.free)))
    with ctx.workprec(tail.precision):
        ends = [start]
        while sum(tail.bounds(ends[-1])) > _NEGLIGIBLE * known.lower:
            if len(ends) * period > budget:
                return known
            ends.append(2 * ends[-1])
        settled = max(peak.upper for peak in tail.peaks) + sum(tail.bounds(ends[-1]))
    with ctx.workprec(tail.precision + 2 * ends[-1].bit_length()):
        search = _Search(tail, known.lower, settled)
        heap = [
            search.piece(low, high, (low - tail.steps + j) % period)
            for low, high in pairwise(ends)
            for j in range(period)
        ]
        return search.run(heap, budget, known)


_Piece = tuple[Fraction, int, int, int]  # minus the bound, N from, N to (exclusive), phase


class _Search:
    def __init__(self, tail: Tail, best: Fraction, settled: Fraction) -> None:
        self.tail, self.best, self.settled = tail, best, settled

    def piece(self, low: int, high: int, phase: int) -> _Piece:
        """An interval low <= N < high, of the N of one phase, with its bound."""
        from flint import arb

        ball = arb(0, (high - low) // 2) + (low + high) // 2
        row = Enclosure.of_ball(_norm(self.tail.row(phase, ball))) if high - low < low else None
        bound = self.tail.peak(phase, low)
        return -min(bound, row.upper) if row else -bound, low, high, phase

    def at(self, power: int, phase: int) -> Fraction:
        """Evaluate |r_n|_1 at one N of this phase, keep it if it is the largest, and return an upper bound on it."""
        from flint import arb

        value = Enclosure.of_ball(_norm(self.tail.row(phase, arb(power))))
        self.best = max(self.best, value.lower)
        return value.upper

    def run(self, heap: list[_Piece], budget: int, known: Enclosure) -> Enclosure:
        """Split the pieces of the largest bound."""
        period, single = math.lcm(2, len(self.tail.phases)), Fraction(0)
        heapify(heap)
        for _ in range(budget):
            if not heap or -heap[0][0] <= self.best * _CLOSE or -heap[0][0] <= max(self.settled, single):
                break
            _, low, high, phase = heappop(heap)
            first = low + (phase - (low - self.tail.steps)) % period  # the first N >= low of this phase
            if first >= high:
                continue
            if first + period >= high:
                single = max(single, self.at(first, phase))
                continue
            middle = math.isqrt(low * high) if high > 2 * low else (low + high) // 2
            self.at(first + (middle - first) // period * period, phase)
            heappush(heap, self.piece(low, middle, phase))
            heappush(heap, self.piece(middle, high, phase))
        upper = max(self.best, self.settled, single, -heap[0][0] if heap else self.best)
        return Enclosure(max(known.lower, self.best), min(known.upper, upper))


def _norm(row: list[arb]) -> arb:
    """The sum of moduli, no more exact than 2^-1024: the exponent of a ball far below is all that fits in memory."""
    from flint import arb

    return sum((abs(x) for x in row), arb(0, arb(2) ** -1024))
