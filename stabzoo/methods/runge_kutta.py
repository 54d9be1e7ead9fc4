"""Runge-Kutta methods, explicit and implicit, with exact rational tableaus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import factorial, prod
from typing import ClassVar

from stabzoo.methods.method import Method
from stabzoo.methods.multistep import (
    FIXED_POINT_ITERATIONS,
    LinearMultistep,
    Number,
    State,
    combination,
    exact_sequence,
    sum_text,
)
from stabzoo.methods.stability_function import StabilityFunction
from stabzoo.methods.trees import Tree, density, trees

__all__ = ["MAX_STAGES", "RungeKutta"]

MAX_STAGES = 16
"""Largest number of stages of a `RungeKutta`."""


@dataclass(frozen=True, slots=True, init=False)
class RungeKutta(Method):
    """An s-stage Runge-Kutta method with the tableau (A, b) for autonomous y' = f(y).

        k_i = f( y_n + h sum_j a_ij k_j ),    y_{n+1} = y_n + h sum_i b_i k_i,    i, j = 1..s

    Rows of A shorter than b are padded with zeros, so rows of an explicit method may end at the diagonal.

    Raises:
        ValueError: no stage, more than `MAX_STAGES`, not as many rows as weights, a row longer than b, or an entry
            that `exact` refuses.

    Source: Hairer, Norsett, Wanner, Solving ODEs I, II.1-II.2; Hairer, Wanner, Solving ODEs II, IV.3.

    >>> heun = RungeKutta(((), (1,)), ("1/2", "1/2"))
    >>> print(heun)
    y[n+1] = y[n] + h (1/2 k1 + 1/2 k2), k1 = f(y[n]), k2 = f(y[n] + h k1)
    >>> heun.order, str(heun.linear)
    (2, '1 + z + 1/2 z^2')

    """

    kind: ClassVar[str] = "Runge-Kutta"

    a: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]

    def __init__(self, a: Iterable[Iterable[Number]], b: Iterable[Number]) -> None:
        weights = exact_sequence(b, "b")
        rows = [exact_sequence(row, f"a[{i}]") for i, row in enumerate(a)]
        stages = len(weights)
        if not 0 < stages <= MAX_STAGES:
            raise ValueError(f"expected 1 to {MAX_STAGES} weights b, one a stage; got {stages}")
        if len(rows) != stages or max(map(len, rows)) > stages:
            raise ValueError(
                f"expected {stages} rows of a with at most {stages} entries, one row for each weight b; "
                f"got {len(rows)} rows of {', '.join(str(len(row)) for row in rows)} entries"
            )
        padded = tuple((*row, *[Fraction(0)] * (stages - len(row))) for row in rows)
        object.__setattr__(self, "a", padded)
        object.__setattr__(self, "b", weights)

    @property
    def stages(self) -> int:
        """Number of evaluations of f in a step."""
        return len(self.b)

    @property
    def is_explicit(self) -> bool:
        """Whether A is strictly lower triangular: no equation is solved."""
        return not any(any(row[i:]) for i, row in enumerate(self.a))

    @property
    def order(self) -> int:
        """Largest p such that the elementary weight of every tree of at most p nodes is 1 / gamma; 0 if sum b != 1."""
        p = 0
        while all(ratio == 1 for ratio in self._ratios(p + 1)):  # ends at p <= 2 s
            p += 1
        return p

    @property
    def error_constant(self) -> Fraction | None:
        """C of the leading error C h^{p+1} y^{(p+1)}; None if it is no multiple of y^{(p+1)}, or the order is 0."""
        p = self.order
        ratios = set(self._ratios(p + 1))
        return (1 - ratios.pop()) / factorial(p + 1) if p and len(ratios) == 1 else None

    def _ratios(self, order: int) -> list[Fraction]:
        """Of every tree of an order the method's weight to that of the exact solution: 1 where the condition holds."""
        known: dict[Tree, tuple[Fraction, ...]] = {}
        return [combination(self.b, self._slopes(tree, known)) * density(tree) for tree in trees(order)]

    def _slopes(self, tree: Tree, known: dict[Tree, tuple[Fraction, ...]]) -> tuple[Fraction, ...]:
        """The coefficients of a tree in the slopes k_1, ..., k_s: HNW I, II.2, (2.16)."""
        if tree not in known:
            branches = [self._slopes(branch, known) for branch in tree]
            known[tree] = tuple(
                prod((combination(row, slopes) for slopes in branches), start=Fraction(1)) for row in self.a
            )
        return known[tree]

    @property
    def linear(self) -> StabilityFunction:
        """R(z) = det(I - zA + z 1 b^T) / det(I - zA): HW II, IV.3, (3.3)."""
        return StabilityFunction.of(
            reversed_characteristic([[x - w for x, w in zip(row, self.b, strict=True)] for row in self.a]),
            reversed_characteristic(self.a),
        )

    def coefficients(self) -> LinearMultistep:
        """The linear multistep method y_{n+1} = y_n + h (sum b) f(y_n): what is left of the step when f is small."""
        return LinearMultistep((1,), (sum(self.b, Fraction(0)),))

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1}; the equations of an implicit tableau are solved by fixed-point iterations."""
        y = states[0]
        slopes = [f(y)] * self.stages
        for _ in range(self.stages - 1 if self.is_explicit else FIXED_POINT_ITERATIONS):
            slopes = [f(y + combination(row, slopes)) for row in self.a]
        return y + combination(self.b, slopes)

    def __str__(self) -> str:
        names = [f"k{i + 1}" for i in range(self.stages)]
        texts = [f"y[n+1] = y[n]{increment_text(names, self.b)}"]
        texts += [f"{name} = f(y[n]{increment_text(names, row)})" for name, row in zip(names, self.a, strict=True)]
        return ", ".join(texts)


def increment_text(names: Sequence[str], weights: Sequence[Fraction]) -> str:
    """`` + h (1/2 k1 + 1/2 k2)``, `` - 2 h k1``, or nothing."""
    used = [(name, weight) for name, weight in zip(names, weights, strict=True) if weight]
    if len(used) < 2:
        return "".join(f" {sum_text(['x', f'h {name}'], (Fraction(1), w))[2:]}" for name, w in used)
    return f" + h ({sum_text(names, weights)})"


def reversed_characteristic(matrix: Sequence[Sequence[Fraction]]) -> tuple[Fraction, ...]:
    """Return det(I - z M), lowest power first: the characteristic polynomial of M read from the top."""
    from flint import fmpq, fmpq_mat

    found = fmpq_mat([[fmpq(*x.as_integer_ratio()) for x in row] for row in matrix]).charpoly()
    coefficients = [Fraction(int(c.p), int(c.q)) for c in found.coeffs()]
    return tuple(reversed(coefficients))
