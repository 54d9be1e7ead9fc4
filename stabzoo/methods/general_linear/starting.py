"""The order of a general linear method: is there a starting method that its steps follow the solution from?

A starting method S gives each of the r quantities as a B-series, whose coefficients are a vector xi(t) for every tree
t, and a step follows the solution to order p if the step after S is S after the exact flow E,

    eta(t) = A etaD(t) + U xi(t),    (E xi)(t) = B etaD(t) + V xi(t)    for all trees of at most p nodes,

with etaD the coefficients of the slopes and xi(empty) = q, the preconsistency vector: V q = q, U q = 1.  Tree by tree
this is (I - V) xi(t) = r(t), where r knows smaller trees alone.  If 1 is a simple eigenvalue of V, with the left
eigenvector w, it can be solved just if w r(t) = 0, which is the order condition of t, and then up to a multiple c_t q.
The c_s of the trees s of k-1 nodes enter the conditions of those of k nodes linearly, by

    c_s ( [t = (s)] - number of leaves of t without which it is s ),

and are determined by them: a starting method of order p exists or not, by linear algebra, order by order.  That of
the tree of one node is a shift of time, and 0.

Source: Butcher, Numerical Methods for Ordinary Differential Equations, 53 (order relative to a starting method);
Hairer, Norsett, Wanner, Solving ODEs I, III.8.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import count
from math import prod
from typing import TYPE_CHECKING, TypeAlias

from stabzoo.methods.trees import Tree, density, trees

if TYPE_CHECKING:
    from flint import fmpq_mat

__all__ = ["Matrix", "Vector", "row_reduced", "solution", "starting_series", "times", "to_flint"]

Vector: TypeAlias = Sequence[Fraction]
Matrix: TypeAlias = Sequence[Vector]


def starting_series(a: Matrix, u: Matrix, b: Matrix, v: Matrix, q: Vector) -> tuple[int, Mapping[Tree, Vector]] | None:
    """Return the order of a method with the preconsistency vector q, and xi(t) of its starting method up to there.

    None if 1 is no simple eigenvalue of V: then more than a multiple of q is free, and nothing is decided.
    """
    fixed = [[(i == j) - x for j, x in enumerate(row)] for i, row in enumerate(v)]  # I - V
    w = _left_eigenvector(fixed, q)
    if w is None:
        return None
    bordered = to_flint([[x + y * z for x, z in zip(row, w, strict=True)] for row, y in zip(fixed, q, strict=True)])
    inverse = _fractions(bordered.inv())  # times r: the solution with w xi = 0
    xi: dict[Tree, Vector] = {}
    eta: dict[Tree, Vector] = {}

    def slopes(tree: Tree) -> Vector:
        return [prod((eta[branch][i] for branch in tree), start=Fraction(1)) for i in range(len(a))]

    def rest(tree: Tree) -> Vector:
        found = _added(times(b, slopes(tree)), -Fraction(1, density(tree)), q)
        for smaller, weight in _before_exact(tree).items():
            if smaller != tree:
                found = _added(found, -weight, xi[smaller])
        return found

    for order in count(1):  # ends: no rational M(z) has the eigenvalue e^z
        shifts = _shifts(order, [_product(w, rest(tree)) for tree in trees(order)])
        if shifts is None:
            return order - 1, {tree: tuple(xi[tree]) for n in range(1, order) for tree in trees(n)}
        for tree, shift in shifts.items():
            xi[tree] = _added(xi[tree], shift, q)
            eta[tree] = [x + shift for x in eta[tree]]
        for tree in trees(order):
            xi[tree] = times(inverse, rest(tree))
            eta[tree] = _added(times(a, slopes(tree)), Fraction(1), times(u, xi[tree]))
    raise AssertionError  # pragma: no cover


def _left_eigenvector(fixed: Matrix, q: Vector) -> Vector | None:
    """Return w with w (I - V) = 0 and w q = 1, None if 1 is no simple eigenvalue of V."""
    columns = [list(column) for column in zip(*fixed, strict=True)]
    if to_flint(columns).rank() != len(q) - 1:
        return None
    return solution([*columns, list(q)], [*[Fraction(0)] * len(q), Fraction(1)])


def _shifts(order: int, failures: Vector) -> dict[Tree, Fraction] | None:
    """Return c_s of the trees of one node less that make up for w r(t) of those of an order, None if none do."""
    if order <= 2:  # there is none, or the shift of time, which makes up for nothing
        return None if any(failures) else {}
    smaller = trees(order - 1)
    rows = [[(tree == (s,)) - _before_exact(tree).get(s, Fraction(0)) for s in smaller] for tree in trees(order)]
    found = solution(rows, [-failure for failure in failures])
    return None if found is None else dict(zip(smaller, found, strict=True))


@cache
def _before_exact(tree: Tree) -> Mapping[Tree, Fraction]:
    """The weights of the xi(s) in (E xi)(t), but for that of the empty tree, which is 1 / gamma(t).

    s is what is left of t about its root when branches are cut off; each cut branch is weighed by 1 / gamma.
    """
    kept: dict[Tree, Fraction] = {(): Fraction(1)}
    for branch in tree:
        longer: dict[Tree, Fraction] = defaultdict(Fraction)
        for found, weight in kept.items():
            longer[found] += weight / density(branch)
            for part, factor in _before_exact(branch).items():
                longer[tuple(sorted((*found, part)))] += weight * factor
        kept = longer
    return kept


def solution(matrix: Matrix, right: Vector) -> list[Fraction] | None:
    """Return a solution of M x = r, with 0 where it is free; None if there is none."""
    reduced, pivots = row_reduced([[*row, r] for row, r in zip(matrix, right, strict=True)])
    unknowns = len(matrix[0])
    if unknowns in pivots:
        return None
    found = [Fraction(0)] * unknowns
    for row, pivot in zip(reduced, pivots, strict=True):
        found[pivot] = row[-1]
    return found


def row_reduced(matrix: Matrix) -> tuple[list[list[Fraction]], list[int]]:
    """The reduced row echelon form, without its zero rows, and the columns of its pivots."""
    if not matrix or not matrix[0]:
        return [], []
    reduced, rank = to_flint(matrix).rref()
    found = _fractions(reduced)[:rank]
    return found, [next(j for j, x in enumerate(row) if x) for row in found]


def to_flint(matrix: Matrix) -> fmpq_mat:
    """FLINT's matrix."""
    from flint import fmpq, fmpq_mat

    return fmpq_mat([[fmpq(*Fraction(x).as_integer_ratio()) for x in row] for row in matrix])


def _fractions(matrix: fmpq_mat) -> list[list[Fraction]]:
    return [[Fraction(int(x.p), int(x.q)) for x in row] for row in matrix.tolist()]


def times(matrix: Matrix, vector: Vector) -> list[Fraction]:
    """Return M x."""
    return [_product(row, vector) for row in matrix]


def _product(one: Vector, other: Vector) -> Fraction:
    return sum((x * y for x, y in zip(one, other, strict=True) if x), Fraction(0))


def _added(vector: Vector, factor: Fraction, other: Vector) -> list[Fraction]:
    return [x + factor * y for x, y in zip(vector, other, strict=True)]
