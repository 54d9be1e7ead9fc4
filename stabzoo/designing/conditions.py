"""The order conditions and what zero stability asks linearly, over Q: all that is linear in the coefficients.

The schemes of order p are an affine space: the method is exact for t^q, q = 0 .. p,

    sum_i alpha_i (-i)^q + q ( beta_next + sum_i beta_i (-i)^(q-1) ) = 1,        with 0^0 = 1.

Let q(z) = rho(z) / (z - 1).  Its roots are in the closed unit disc, none at 1, just if those of

    Q(s) = (s - 1)^(d-1) q((s + 1) / (s - 1)) = sum_k c_k s^k

lie in Re s <= 0, and a real polynomial of that kind has coefficients of one sign, that of c_{d-1} = q(1) = sigma(1).
The c_k are linear in alpha: c_k >= 0 is necessary for zero stability, and where no scheme has it a combination of
these inequalities proves that none is zero-stable. It is how Dahlquist proved his first barrier.

Source: Hairer, Norsett, Wanner, Solving ODEs I, III.3 (Lemma 3.6, Theorem 3.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from stabzoo.designing.spec import SIGNS, Problem
from stabzoo.methods.general_linear.starting import row_reduced, solution
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.properties.energy import shifted_powers

__all__ = ["Inequality", "Space", "transformed"]

Row = Sequence[Fraction]


@dataclass(frozen=True)
class Inequality:
    """``weights . x + constant >= 0`` of the coefficients x of a problem, and what it says."""

    weights: tuple[Fraction, ...]
    constant: Fraction
    text: str

    def at(self, x: Row) -> Fraction:
        """The left-hand side."""
        return sum((w * c for w, c in zip(self.weights, x, strict=True) if w), self.constant)


@dataclass(frozen=True)
class Space:
    """The schemes of a problem's order, as points x of its coefficients, and inequalities that they have to meet."""

    problem: Problem

    @cached_property
    def equations(self) -> tuple[list[list[Fraction]], list[Fraction]]:
        """The order conditions A x = b, one row a power q."""
        rows: list[list[Fraction]] = []
        for q in range(self.problem.order + 1):
            rows.append([_moment(name, q) for name in self.problem.coefficients])
        return rows, [Fraction(1)] * len(rows)

    @cached_property
    def _reduced(self) -> tuple[list[list[Fraction]], list[int]]:
        """Rows of (A | b) reduced, slopes and the oldest states as far as possible given by the others."""
        rows, right = self.equations
        order = self._reversed
        return row_reduced([[*(row[i] for i in order), b] for row, b in zip(rows, right, strict=True)])

    @property
    def _reversed(self) -> list[int]:
        return list(range(len(self.problem.coefficients)))[::-1]

    @cached_property
    def contradiction(self) -> list[Fraction] | None:
        """Weights of the order conditions whose sum reads 0 = 1; None where the order can be had."""
        _, pivots = self._reduced
        count = len(self.problem.coefficients)
        if count not in pivots:
            return None
        rows, right = self.equations
        identity = [[Fraction(i == j) for j in range(len(rows))] for i in range(len(rows))]
        stacked = [[*row, *unit, b] for row, unit, b in zip(rows, identity, right, strict=True)]
        reduced, _ = row_reduced(stacked)
        for row in reduced:
            if not any(row[:count]) and row[-1]:
                return [w / row[-1] for w in row[count:-1]]
        raise AssertionError("a pivot in the right-hand side has a row")

    @cached_property
    def free(self) -> list[str]:
        """The coefficients that the others follow from."""
        names, order = self.problem.coefficients, self._reversed
        _, pivots = self._reduced
        return [names[order[j]] for j in range(len(order)) if j not in pivots][::-1]

    @property
    def dimension(self) -> int:
        """How many coefficients are free."""
        return len(self.free)

    @cached_property
    def particular(self) -> list[Fraction]:
        """The point whose free coefficients are 0."""
        return self._point([Fraction(0)] * self.dimension)

    @cached_property
    def directions(self) -> list[list[Fraction]]:
        """How the point changes with each of the free coefficients."""
        units = [[Fraction(i == j) for j in range(self.dimension)] for i in range(self.dimension)]
        return [[a - b for a, b in zip(self._point(unit), self.particular, strict=True)] for unit in units]

    def _point(self, free: Row) -> list[Fraction]:
        names, order = self.problem.coefficients, self._reversed
        reduced, pivots = self._reduced
        values = dict(zip(self.free, free, strict=True))
        for row, pivot in zip(reduced, pivots, strict=False):
            known = sum((row[j] * values[names[i]] for j, i in enumerate(order) if j not in pivots), Fraction(0))
            values[names[order[pivot]]] = row[-1] - known
        return [values[name] for name in names]

    def point(self, free: Row) -> list[Fraction]:
        """The coefficients that have these for the free ones: exactly of the order."""
        return [
            base + sum((t * step[i] for t, step in zip(free, self.directions, strict=True)), Fraction(0))
            for i, base in enumerate(self.particular)
        ]

    def completed(self, alpha: Row) -> list[Fraction] | None:
        """The point with these alphas that has the order; betas that may be chosen are 0.  None where there is none."""
        rows, right = self.equations
        names = self.problem.coefficients
        chosen = {f"alpha_{j}": a for j, a in enumerate(alpha)}
        if any(a and name not in names for name, a in chosen.items()):
            return None
        slopes = [i for i, name in enumerate(names) if name not in chosen]
        left = [
            b - sum((c * chosen[name] for c, name in zip(row, names, strict=True) if name in chosen), Fraction(0))
            for row, b in zip(rows, right, strict=True)
        ]
        betas = solution([[row[i] for i in slopes] for row in rows], left)
        if betas is None:
            return None
        values = chosen | dict(zip((names[i] for i in slopes), betas, strict=True))
        return [values[name] for name in names]

    def free_of(self, x: Sequence[Fraction]) -> list[Fraction]:
        """The free ones among all coefficients."""
        values = dict(zip(self.problem.coefficients, x, strict=True))
        return [values[name] for name in self.free]

    def method(self, x: Row) -> LinearMultistep:
        """The scheme with these coefficients."""
        values = dict(zip(self.problem.coefficients, x, strict=True))
        alpha, beta = (
            [values.get(f"{letter}_{j}", Fraction(0)) for j in range(self.problem.steps)]
            for letter in ("alpha", "beta")
        )
        return LinearMultistep(alpha, beta, values.get("beta_next", Fraction(0)))

    def coefficients_of(self, method: LinearMultistep) -> list[Fraction]:
        """The point of a method."""
        values = {"beta_next": method.beta_next}
        for letter, weights in (("alpha", method.alpha), ("beta", method.beta)):
            values |= {f"{letter}_{j}": weight for j, weight in enumerate(weights)}
        return [values[name] for name in self.problem.coefficients]

    @cached_property
    def signs(self) -> list[Inequality]:
        """The signs that are asked for."""
        found: list[Inequality] = []
        for i, name in enumerate(self.problem.coefficients):
            sign = self.problem.sign(name)
            if sign in ("+", "-"):
                unit = tuple(Fraction((i == j) * (1 if sign == "+" else -1)) for j in range(len(self.particular)))
                found.append(Inequality(unit, Fraction(0), f"{name} {SIGNS[sign]}"))
        return found

    @cached_property
    def hurwitz(self) -> list[Inequality]:
        """c_k >= 0, k = 0 .. d-1: necessary for zero stability."""
        d, names = self.problem.steps, self.problem.coefficients
        moved = [transformed([Fraction(0)] * j + [Fraction(1)] + [Fraction(0)] * (d - 1 - j)) for j in range(d)]
        # q(z) = z^{d-1} + sum_i (1 - alpha_0 - ... - alpha_{i-1}) z^{d-1-i}, highest power first: with sum alpha = 1
        found: list[Inequality] = []
        for k in range(d):
            constant = sum((row[k] for row in moved), Fraction(0))
            weights = [
                -sum((moved[i][k] for i in range(int(name[6:]) + 1, d)), Fraction(0))
                if name.startswith("alpha")
                else Fraction(0)
                for name in names
            ]
            found.append(Inequality(tuple(weights), constant, f"c_{k} >= 0"))
        return found


def _moment(name: str, q: int) -> Fraction:
    """What a coefficient contributes to the order condition of t^q, with time 0 at n and 1 at n+1."""
    letter, _, index = name.partition("_")
    time = Fraction(1) if index == "next" else Fraction(-int(index))
    if letter == "alpha":
        return time**q
    return q * time ** (q - 1) if q else Fraction(0)


def transformed(q: Row) -> list[Fraction]:
    """The coefficients, lowest power first, of sum_j q_j (s+1)^(n-j) (s-1)^j, n the degree; twice is 2^n times q."""
    n = len(q) - 1
    found = [Fraction(0)] * (n + 1)
    for j, c in enumerate(q):
        if c:
            for k, e in enumerate(shifted_powers(j, n - j)):
                found[k] += c * e
    return found
