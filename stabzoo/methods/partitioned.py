"""Partitioned Runge-Kutta methods for y' = f(z), z' = g(y), and the splittings among them: symplectic Euler, Verlet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import prod
from typing import ClassVar, TypeAlias

from stabzoo.methods.method import Method
from stabzoo.methods.multistep import FIXED_POINT_ITERATIONS, LinearMultistep, Number, State, combination, sum_text
from stabzoo.methods.runge_kutta import RungeKutta, increment_text, reversed_characteristic
from stabzoo.methods.stability_function import OscillatorMatrix, flint_polynomial, fractions_of
from stabzoo.methods.trees import Tree, density, trees

__all__ = ["PartitionedRungeKutta"]

Pair: TypeAlias = tuple[State, State]
Matrix: TypeAlias = Sequence[Sequence[Fraction]]


@dataclass(frozen=True, slots=True)
class PartitionedRungeKutta(Method):
    """Two tableaus of s stages, one for each half of a separable system y' = f(z), z' = g(y).

        k_i = f( z_n + h sum_j a^_ij l_j ),    y_{n+1} = y_n + h sum_i b_i k_i
        l_i = g( y_n + h sum_j a_ij k_j ),     z_{n+1} = z_n + h sum_i b^_i l_i,    i, j = 1..s

    With f = dH/dz and g = -dH/dy this is the Hamiltonian system of H = T(z) + V(y).  A state of `step` is the pair
    (y, z), of which its f makes the pair (f(z), g(y)).

    Attributes:
        first: The tableau (a, b) of y.
        second: The tableau (a^, b^) of z.

    Raises:
        ValueError: the tableaus differ in the number of stages, or y and z advance by different times, sum b != sum b^.

    Source: Hairer, Lubich, Wanner, Geometric Numerical Integration, II.2 and III.2.

    >>> verlet = PartitionedRungeKutta.splitting(first=(1, 0), second=("1/2", "1/2"))
    >>> print(verlet)
    z += 1/2 h g(y), y += h f(z), z += 1/2 h g(y)
    >>> verlet.order
    2
    >>> position, momentum = verlet.step([(1.0, 0.0)], lambda state: (0.1 * state[1], -0.1 * state[0]))
    >>> f"{position:.4f} {momentum:.6f}"
    '0.9950 -0.099750'

    """

    kind: ClassVar[str] = "partitioned Runge-Kutta"

    first: RungeKutta
    second: RungeKutta

    def __post_init__(self) -> None:
        if self.first.stages != self.second.stages:
            raise ValueError(
                f"expected two tableaus of as many stages, got {self.first.stages} and {self.second.stages}; "
                "append stages of weight 0"
            )
        advances = sum(self.first.b), sum(self.second.b)
        if advances[0] != advances[1]:
            raise ValueError(
                f"expected weights b and b^ with one sum, got {advances[0]} and {advances[1]}; "
                "y and z advance by one time"
            )

    @classmethod
    def splitting(cls, first: Iterable[Number], second: Iterable[Number]) -> PartitionedRungeKutta:
        """Return the composition of z += second_i h g(y), y += first_i h f(z) for i = 1, 2, ...

        Every such method is explicit and symplectic.

        Source: Ruth (1983); Hairer, Lubich, Wanner, Geometric Numerical Integration, II.5 and VI.4.
        """
        b, b_hat = tuple(first), tuple(second)
        earlier = [b[:i] for i in range(len(b))]
        known = [b_hat[: i + 1] for i in range(len(b_hat))]
        return cls(RungeKutta(earlier, b), RungeKutta(known, b_hat))

    @property
    def parts(self) -> int:
        """Two: y and z."""
        return 2

    @property
    def stages(self) -> int:
        """Number of evaluations of f, and of g, at most."""
        return self.first.stages

    @property
    def is_explicit(self) -> bool:
        """Whether no stage depends on itself, through y and z in turn: |A| |A^| is nilpotent."""
        sizes = [[[abs(x) for x in row] for row in half.a] for half in (self.first, self.second)]
        return not any(reversed_characteristic(_product(*sizes))[1:])

    @property
    def order(self) -> int:
        """Largest p such that the elementary weight of every tree of at most p nodes is 1 / gamma; 0 if sum b != 1.

        Of a separable system the trees are those whose nodes are f and g in turn: each rooted tree with f at its root,
        and with g (HLW, III.2.1).
        """
        known: tuple[dict[Tree, tuple[Fraction, ...]], ...] = {}, {}
        return next(p for p in count() if not all(self._is_integrated(tree, known) for tree in trees(p + 1)))

    def _is_integrated(self, tree: Tree, known: tuple[dict[Tree, tuple[Fraction, ...]], ...]) -> bool:
        return all(
            combination(tableau.b, self._slopes(tree, half, known)) * density(tree) == 1
            for half, tableau in enumerate((self.first, self.second))
        )

    def _slopes(
        self, tree: Tree, half: int, known: tuple[dict[Tree, tuple[Fraction, ...]], ...]
    ) -> tuple[Fraction, ...]:
        """The coefficients of a tree in k_1, ..., k_s, with f at its root, or in l_1, ..., l_s, with g."""
        if tree not in known[half]:
            other = 1 - half
            rows = (self.first, self.second)[other].a
            branches = [self._slopes(branch, other, known) for branch in tree]
            known[half][tree] = tuple(
                prod((combination(row, slopes) for slopes in branches), start=Fraction(1)) for row in rows
            )
        return known[half][tree]

    @property
    def linear(self) -> OscillatorMatrix:
        """The step on the oscillator y' = omega z, z' = -omega y."""
        one = (Fraction(1),) * self.stages
        (a, b), (a_hat, b_hat) = ((half.a, half.b) for half in (self.first, self.second))
        inner, outer = _product(a, a_hat), _product(a_hat, a)
        d = reversed_characteristic([[-x for x in row] for row in inner])  # det(I + x A A^), which is det(I + x A^ A)
        return OscillatorMatrix(
            yy=_sum(d, tuple(-c for c in (Fraction(0), *_resolvent(_times(b, a_hat), inner, one, d)))),
            yz=_resolvent(b, outer, one, d),
            zy=_resolvent(b_hat, inner, one, d),
            zz=_sum(d, tuple(-c for c in (Fraction(0), *_resolvent(_times(b_hat, a), outer, one, d)))),
            denominator=d,
        )

    def coefficients(self) -> LinearMultistep:
        """The linear multistep method y_{n+1} = y_n + h (sum b) f, of both halves."""
        return self.first.coefficients()

    def step(self, states: Sequence[Pair], f: Callable[[Pair], Pair]) -> Pair:
        """Return (y_{n+1}, z_{n+1}); ``f`` maps (y, z) to (f(z), g(y)).

        The equations of an implicit method are solved by fixed-point iterations.
        """
        y, z = states[0]
        slopes = [f((y, z))] * self.stages
        for _ in range(2 * self.stages if self.is_explicit else FIXED_POINT_ITERATIONS):
            k, ell = [slope[0] for slope in slopes], [slope[1] for slope in slopes]
            slopes = [
                f((y + combination(row, k), z + combination(other, ell)))
                for row, other in zip(self.first.a, self.second.a, strict=True)
            ]
        k, ell = [slope[0] for slope in slopes], [slope[1] for slope in slopes]
        return y + combination(self.first.b, k), z + combination(self.second.b, ell)

    def __str__(self) -> str:
        b, b_hat = self.first.b, self.second.b
        if self == PartitionedRungeKutta.splitting(b, b_hat):
            kicks = [("z", "g(y)", weight) for weight in b_hat]
            drifts = [("y", "f(z)", weight) for weight in b]
            moves = [move for pair in zip(kicks, drifts, strict=True) for move in pair if move[2]]
            return ", ".join(
                f"{part} {'-' if w < 0 else '+'}= {sum_text([f'h {slope}'], (abs(w),))}" for part, slope, w in moves
            )
        ks, ells = ([f"{name}{i + 1}" for i in range(self.stages)] for name in "kl")
        texts = [f"y[n+1] = y[n]{increment_text(ks, b)}", f"z[n+1] = z[n]{increment_text(ells, b_hat)}"]
        texts += [f"{k} = f(z[n]{increment_text(ells, row)})" for k, row in zip(ks, self.second.a, strict=True)]
        texts += [f"{ell} = g(y[n]{increment_text(ks, row)})" for ell, row in zip(ells, self.first.a, strict=True)]
        return ", ".join(texts)


def _product(left: Matrix, right: Matrix) -> list[list[Fraction]]:
    return [list(_times(row, right)) for row in left]


def _times(row: Sequence[Fraction], matrix: Matrix) -> tuple[Fraction, ...]:
    """The row w^T M."""
    return tuple(combination(row, column) for column in zip(*matrix, strict=True))


def _resolvent(
    row: Sequence[Fraction], matrix: Matrix, column: Sequence[Fraction], denominator: Sequence[Fraction]
) -> tuple[Fraction, ...]:
    """Return w^T (I + xM)^-1 v det(I + xM), lowest power first: of degree s-1, so that s terms of the series do."""
    moments: list[Fraction] = []
    for j in range(len(column)):
        moments.append((-1) ** j * combination(row, column))
        column = [combination(r, column) for r in matrix]
    found = fractions_of(flint_polynomial(tuple(moments)) * flint_polynomial(tuple(denominator)))
    return found[: len(moments)]


def _sum(one: tuple[Fraction, ...], other: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
    return fractions_of(flint_polynomial(one) + flint_polynomial(other))
