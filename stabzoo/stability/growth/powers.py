"""Powers of one companion matrix.

With the state (y_n, ..., y_{n-d+1}), newest first, a step without f is the companion matrix C: first row alpha, ones
below the diagonal. The first row r_n of C^n says how y_n depends on the initial state; the other rows of C^n are
r_{n-1}, ..., r_{n-d+1} (unit vectors for indices <= 0). So ||C^n||_inf = max of |r_m|_1 over n-d < m <= n, where all
norms below are the maximum norm's.
"""

from __future__ import annotations

import math
from fractions import Fraction

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure, Exact, Real
from stabzoo.stability.growth.hooks import hook_bound
from stabzoo.stability.growth.search import refined
from stabzoo.stability.growth.tail import Tail
from stabzoo.stability.root_condition import is_zero_stable

_FIRST, _LAST = 16, 1 << 12  # powers of C followed before the tail bound is asked, and at most
_WORK = 1 << 25  # products of 30-bit digits that following the rows may take
_NEGLIGIBLE = Fraction(1, 1 << 60)


def growth(method: LinearMultistep, n: int) -> Fraction:
    """Return max over 0 <= k <= n of ||C^k||, exactly.

    Raises:
        ValueError: n is negative.

    """
    if n < 0:
        raise ValueError(f"expected a number of steps n >= 0, got {n}")
    rows = _Rows(method.alpha)
    rows.advance(n)
    return rows.largest


def stability_constant(method: LinearMultistep) -> Real:
    """Return sup over n >= 0 of ||C^n||_inf: infinite if unstable, exact where it is proved, else an enclosure.

    Cheap proofs come first: sum |alpha_j| <= 1, and `hook_bound`, which is sharp for roots of one sign. Then the rows
    are followed exactly up to some n, and what is beyond is bounded by `Tail`. All of it is counted work: at the end
    of the budget the bounds that were reached are the answer.
    """
    if not is_zero_stable(method):
        return math.inf
    if sum(map(abs, method.alpha)) <= 1:
        return Exact(1)
    cap = hook_bound(method)
    if isinstance(cap, Fraction):
        return Exact(cap)
    rows, tail = _Rows(method.alpha), Tail.of(method)
    rows.advance(max(_FIRST, len(tail.phases) + method.steps))
    while True:
        result = tail.supremum(rows.largest, rows.seen)
        if isinstance(result, Fraction):
            return Exact(result)
        if result.upper - result.lower <= _NEGLIGIBLE * result.lower:
            return result.rounded()
        if 2 * rows.seen > _LAST or rows.work(2 * rows.seen) > _WORK:
            break
        rows.advance(rows.seen)
    result = refined(tail, rows.largest, rows.seen, result)
    upper = min(result.upper, cap.upper) if cap else result.upper
    return Exact(upper) if upper == result.lower else Enclosure(result.lower, upper).rounded()


class _Rows:
    """The rows r_1, r_2, ... in integers: r_n D^n, D the common denominator of alpha.

    r_n are the coefficients of z^{n+d-1} mod rho, so that r_{n+1,c} = r_{n,c+1} + r_{n,0} alpha_c.
    """

    def __init__(self, alpha: tuple[Fraction, ...]) -> None:
        self.scale, self.seen = math.lcm(*[a.denominator for a in alpha]), 0
        self._weights = [a.numerator * (self.scale // a.denominator) for a in alpha]
        self._row = [1] + [0] * (len(alpha) - 1)
        self._largest = self._power = 1

    @property
    def largest(self) -> Fraction:
        """Maximum of |r_m|_1 over m <= seen, unit vectors included."""
        return Exact(self._largest, self._power)

    def work(self, count: int) -> int:
        """Products of 30-bit digits that following `count` rows takes, about."""
        weights = sum(1 + w.bit_length() // 30 for w in [self.scale, *self._weights])
        return weights * count * (1 + count * self.scale.bit_length() // 60)

    def advance(self, count: int) -> None:
        """Follow `count` more rows."""
        for _ in range(count):
            first, *rest = self._row
            self._row = [w * first + self.scale * r for w, r in zip(self._weights, [*rest, 0], strict=True)]
            self._power *= self.scale
            self._largest = max(self._largest * self.scale, sum(map(abs, self._row)))
        self.seen += count
