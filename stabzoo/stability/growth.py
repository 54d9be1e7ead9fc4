"""How large the bounded amplification is: norms of powers and of products of companion matrices.

With the state (y_n, ..., y_{n-d+1}), newest first, a step without f is the companion matrix C: first row alpha, ones
below the diagonal. The first row r_n of C^n says how y_n depends on the initial state; the other rows of C^n are
r_{n-1}, ..., r_{n-d+1} (unit vectors for indices <= 0). So ||C^n||_inf = max of |r_m|_1 over n-d < m <= n, where all
norms below are the maximum norm's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stabzoo.multistep import HasCoefficients, LinearMultistep
from stabzoo.stability.enclosure import Real, as_float
from stabzoo.stability.root_condition import is_zero_stable, rational_text
from stabzoo.stability.spectral import Tail

_FIRST, _LAST = 16, 1 << 12  # powers of C followed before the tail bound is asked, and at most
_LAST_APERIODIC = 1 << 9  # without a period the bound stays above what is seen: more powers add little
_NEGLIGIBLE = Fraction(1, 1 << 60)
_BITS = 1 << 19  # bits the exact rows may grow to


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
    """Return sup over n >= 0 of ||C^n||: infinite if unstable, exact where it is attained or a proved limit, else an
    enclosure.

    The rows are followed exactly up to some n; what is beyond is bounded by `Tail`.
    """
    if not is_zero_stable(method):
        return math.inf
    if sum(map(abs, method.alpha)) <= 1:
        return Fraction(1)
    rows, tail = _Rows(method.alpha), Tail.of(method)
    last = _LAST if tail.phases else _LAST_APERIODIC
    rows.advance(max(_FIRST, len(tail.phases or ()) + method.steps))
    while True:
        result = tail.supremum(rows.largest, rows.seen)
        if isinstance(result, Fraction) or result.upper - result.lower <= _NEGLIGIBLE * result.lower:
            return result
        if 2 * rows.seen > min(last, _BITS // rows.scale.bit_length()):
            return result
        rows.advance(rows.seen)


class _Rows:
    """The rows r_1, r_2, ... in integers: r_n D^{n+d-1}, D the common denominator of alpha."""

    def __init__(self, alpha: tuple[Fraction, ...]) -> None:
        d, self.scale, self.seen = len(alpha), math.lcm(*[a.denominator for a in alpha]), 0
        self._weights = [a.numerator * (self.scale // a.denominator) * self.scale**j for j, a in enumerate(alpha)]
        self._history = deque(
            ([self.scale ** (d - 1 - i) * (i == c) for c in range(d)] for i in range(d)), maxlen=d
        )  # newest first
        self._largest = self._power = self.scale ** (d - 1)

    @property
    def largest(self) -> Fraction:
        """Maximum of |r_m|_1 over m <= seen, unit vectors included."""
        return Fraction(self._largest, self._power)

    def advance(self, count: int) -> None:
        """Follow `count` more rows."""
        for _ in range(count):
            columns = zip(*self._history, strict=True)
            row = [sum([w * entry for w, entry in zip(self._weights, column, strict=True)]) for column in columns]
            self._history.appendleft(row)
            self._largest = max(self._largest * self.scale, sum(map(abs, row)))
            self._power *= self.scale
        self.seen += count


@dataclass(frozen=True, slots=True)
class ProductGrowth:
    """The largest product of consecutive companion matrices of a network whose blocks have their own coefficients.

    `norm` = ||C_last ... C_first||_inf, maximal over all first <= last: indices into the given sequence, the earliest
    `first` and for it the earliest `last` that attain it. `is_preconsistent`: every block has sum alpha = 1, so that
    constants are kept throughout.
    """

    norm: Fraction
    first: int
    last: int
    is_preconsistent: bool

    def __str__(self) -> str:
        where = f"blocks {self.first} to {self.last}"
        return (
            f"max over m <= n of ||C_n ... C_m||_inf = {as_float(self.norm):.6g} ({where}), evaluated exactly: "
            "coefficients vary from block to block, so it is products of companion matrices that bound the growth"
        )

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form, the norm as a string and as a float."""
        return {
            "norm": rational_text(self.norm),
            "approximately": as_float(self.norm),
            "first": self.first,
            "last": self.last,
            "is_preconsistent": self.is_preconsistent,
        }


def product_growth(methods: Sequence[HasCoefficients]) -> ProductGrowth:
    """Return max over m <= n of ||C_n ... C_m||_inf exactly, for blocks with varying (trained) coefficients.

    Zero-stability of each block says nothing about their products; this is what bounds a trained network. Methods of
    fewer steps are embedded into the largest state by zero coefficients. O(len(methods)^2 d^2) integer operations.

    Raises:
        ValueError: no methods.

    """
    alphas = [method.coefficients().alpha for method in methods]
    if not alphas:
        raise ValueError(
            "expected at least one block, got none; pass the blocks' methods in the order they are applied"
        )
    d = max(map(len, alphas))
    scales = [math.lcm(*[a.denominator for a in alpha]) for alpha in alphas]
    weights = [
        [a.numerator * (scales[n] // a.denominator) * math.prod(scales[max(n - j, 0) : n]) for j, a in enumerate(alpha)]
        for n, alpha in enumerate(alphas)
    ]
    best, where = Fraction(int(d > 1)), (0, 0)
    for first in range(len(alphas)):
        largest, last, power = _largest_product(first, weights, scales, d)
        if largest * best.denominator > best.numerator * power:
            best, where = Fraction(largest, power), (first, last)
    return ProductGrowth(best, *where, all(sum(alpha) == 1 for alpha in alphas))


def _largest_product(first: int, weights: list[list[int]], scales: list[int], d: int) -> tuple[int, int, int]:
    """Return p, n, q with p/q the maximum over n >= first of |first row of C_n ... C_first|_1, and the first n that
    attains it.

    In integers: the row of the product up to n is scaled by the product of scales[first-d+1 .. n].
    """
    history = deque(
        ([math.prod(scales[max(first - d + 1, 0) : max(first - i, 0)]) * (i == c) for c in range(d)] for i in range(d)),
        maxlen=d,
    )
    largest, attained, power = 0, first, math.prod(scales[max(first - d + 1, 0) : first])
    for n in range(first, len(scales)):
        row = [sum([w * r[c] for w, r in zip(weights[n], history)]) for c in range(d)]  # noqa: B905 (fewer steps: zero weights)
        history.appendleft(row)
        power *= scales[n]
        largest *= scales[n]
        size = sum(map(abs, row))
        if size > largest:
            largest, attained = size, n
    return largest, attained, power
