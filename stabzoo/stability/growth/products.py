"""Products of companion matrices: how much a network may amplify whose blocks have coefficients of their own.

As with powers (`stabzoo.stability.growth.powers`), the first row of C_n ... C_m follows a recurrence, and the norm of
the product is the largest |row|_1 of its last d ones. All norms are the maximum norm's.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stabzoo.methods.multistep import HasCoefficients
from stabzoo.stability.enclosure import Exact, as_float, short
from stabzoo.stability.root_condition import rational_text


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
            f"max over m <= n of ||C_n ... C_m||_inf = {short(self.norm)} ({where}), evaluated exactly: "
            "coefficients vary from block to block, so it is products of companion matrices that bound the growth"
        )

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form, the norm as a string, and as a float if it is not too large for one."""
        return {
            "norm": rational_text(self.norm),
            "approximately": number if math.isfinite(number := as_float(self.norm)) else None,
            "first": self.first,
            "last": self.last,
            "is_preconsistent": self.is_preconsistent,
        }


def product_growth(methods: Sequence[HasCoefficients]) -> ProductGrowth:
    """Return max over m <= n of ||C_n ... C_m||_inf exactly, for blocks with varying (trained) coefficients.

    Zero stability of each block says nothing about their products; this is what bounds a trained network. Methods of
    fewer steps are embedded into the largest state by zero coefficients. O(len(methods)^2 d^2) integer operations.

    Raises:
        ValueError: no methods.

    """
    rows = _ProductRows(methods)
    best, where = Exact(int(rows.steps > 1)), (0, 0)
    for first in range(len(methods)):
        largest, last, scale = 0, first, 1  # of the rows from `first`, as an integer over `scale`
        for n, size, power in rows.sizes(first):
            largest, scale = largest * rows.scales[n], power
            if size > largest:
                largest, last = size, n
        if largest * best.denominator > best.numerator * scale:
            best, where = Exact(largest, scale), (first, last)
    return ProductGrowth(best, *where, rows.is_preconsistent)


def growth_curve(methods: Sequence[HasCoefficients]) -> tuple[Fraction, ...]:
    """Return max over m <= n of ||C_n ... C_m||_inf for every n: the growth along the depth, exactly.

    Its maximum is the norm of `product_growth`, whose arguments and errors it has. Where it falls again, what blocks
    amplify later blocks damp.

    >>> from stabzoo.methods.multistep import LinearMultistep
    >>> [str(g) for g in growth_curve([LinearMultistep((2,), (1,)), LinearMultistep(("1/2",), (1,))])]
    ['2', '1']

    """
    rows = _ProductRows(methods)
    ending = [(0, 1)] * len(methods)  # the largest row of a product that ends at n, as p, q
    for first in range(len(methods)):
        for n, size, power in rows.sizes(first):
            p, q = ending[n]
            if size * q > p * power:
                ending[n] = size, power
    sizes = [Exact(p, q) for p, q in ending]
    units = [Exact(1)] if rows.steps > 1 else []  # rows of the state that are older than the product
    return tuple(max(sizes[max(n - rows.steps + 1, 0) : n + 1] + units) for n in range(len(sizes)))


class _ProductRows:
    """The first rows of products, as integers: of C_n ... C_first times the product of scales[first-d+1 .. n]."""

    def __init__(self, methods: Sequence[HasCoefficients]) -> None:
        alphas = [method.coefficients().alpha for method in methods]
        if not alphas:
            raise ValueError(
                "expected at least one block, got none; pass the blocks' methods in the order they are applied"
            )
        self.steps = max(map(len, alphas))
        self.is_preconsistent = all(sum(alpha) == 1 for alpha in alphas)
        self.scales = [math.lcm(*[a.denominator for a in alpha]) for alpha in alphas]
        self._weights = [
            [
                a.numerator * (self.scales[n] // a.denominator) * math.prod(self.scales[max(n - j, 0) : n])
                for j, a in enumerate(alpha)
            ]
            for n, alpha in enumerate(alphas)
        ]

    def sizes(self, first: int) -> Iterator[tuple[int, int, int]]:
        """Yield n, p, q for n >= first: |first row of C_n ... C_first|_1 is p/q."""
        d, scales = self.steps, self.scales
        history = deque(
            (
                [math.prod(scales[max(first - d + 1, 0) : max(first - i, 0)]) * (i == c) for c in range(d)]
                for i in range(d)
            ),
            maxlen=d,
        )  # newest first
        power = math.prod(scales[max(first - d + 1, 0) : first])
        for n in range(first, len(scales)):
            row = [sum([w * r[c] for w, r in zip(self._weights[n], history)]) for c in range(d)]  # noqa: B905 (fewer steps: zero weights)
            history.appendleft(row)
            power *= scales[n]
            yield n, sum(map(abs, row)), power
