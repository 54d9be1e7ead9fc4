"""Symplectic and symmetric steps: what Runge-Kutta methods and their partitioned kin keep of a flow, decided exactly.

The elementary weights of a tableau depend on its stages through classes alone: i and j are of one class if the rows of
A have equal sums over every class, so that no f tells their slopes apart.  The slopes of all trees span the vectors
that are constant on classes (they are closed under products), so that a condition on all trees is one on classes.

Source: Hundsdorfer, Spijker (1981), on the classes; Hairer, Lubich, Wanner, Geometric Numerical Integration, II.3, V.2,
VI.4 and VI.7; Sanz-Serna (1988).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from stabzoo.methods import (
    NOT_DECIDED,
    Method,
    NotDecided,
    OneLeg,
    PartitionedRungeKutta,
    RungeKutta,
    SecondOrderMultistep,
    TruncatedSolve,
)
from stabzoo.methods.multistep import LinearMultistep

__all__ = ["is_symmetric", "is_symplectic"]

Row = Sequence[Fraction]
Matrix = Sequence[Row]


def is_symplectic(method: Method) -> bool | NotDecided:
    """Decide whether a step keeps the symplectic form of every Hamiltonian system that it is for.

        b_i a^_ij + b^_j a_ji = b_i b^_j,    summed over i and j of any two classes

    Of a partitioned method the systems are those of H = T(z) + V(y), and i is of a class of y's stages, j of one of
    z's; of a Runge-Kutta method a^ = a, b^ = b.  Not decided of a method of more steps, which is no map of y.
    """
    halves = _tableaus(method)
    if halves is None:
        return NOT_DECIDED
    (a, b), (a_hat, b_hat) = halves
    of_f, of_g = _classes(halves)
    return all(
        sum(b[i] * a_hat[i][j] + b_hat[j] * a[j][i] - b[i] * b_hat[j] for i in one for j in other) == 0
        for one, other in product(_groups(of_f), _groups(of_g))
    )


def is_symmetric(method: Method) -> bool | NotDecided:
    """Decide whether a step with -h undoes one with h.

    The tableau of the step back is a*_ij = b_j - a_ij, b* = b.  The two compute the same if their weights, those of the
    one less those of the other, sum to 0 over every class of the stages of both.  Of a multistep method, rho(z) =
    -z^d rho(1/z) and sigma(z) = z^d sigma(1/z), for y'' = f with the other sign.
    """
    if isinstance(method, SecondOrderMultistep):
        return method.formula.rho == method.formula.rho[::-1] and method.formula.sigma == method.formula.sigma[::-1]
    multistep = method.as_multistep if isinstance(method, TruncatedSolve) else method
    if isinstance(multistep, LinearMultistep):
        rho, sigma = multistep.rho, multistep.sigma
        return sigma == sigma[::-1] and rho == tuple(-a for a in reversed(rho))
    if (halves := _tableaus(method)) is None:
        return NOT_DECIDED
    back = [[[w - x for w, x in zip(b, row, strict=True)] for row in a] for a, b in halves]
    both = [(_beside(a, other), [*b, *(-w for w in b)]) for (a, b), other in zip(halves, back, strict=True)]
    return all(
        sum(weights[i] for i in group) == 0
        for (_, weights), labels in zip(both, _classes(both), strict=True)
        for group in _groups(labels)
    )


def _tableaus(method: Method) -> Sequence[tuple[Matrix, Row]] | None:
    """The tableaus of y and z, equal of a method that treats both alike; None of a method that has none."""
    if isinstance(method, PartitionedRungeKutta):
        return [(method.first.a, method.first.b), (method.second.a, method.second.b)]
    if isinstance(method, LinearMultistep) and method.alpha == (1,):
        new, old, nought = method.beta_next, method.beta[0], Fraction(0)
        one_leg = isinstance(method, OneLeg)
        method = RungeKutta(((new,),), (old + new,)) if one_leg else RungeKutta(((nought,), (old, new)), (old, new))
    return [(method.a, method.b)] * 2 if isinstance(method, RungeKutta) else None


def _classes(halves: Sequence[tuple[Matrix, Row]]) -> list[list[int]]:
    """The class of each stage of f, then of g: the coarsest classes on which the slopes of all trees are constant.

    Slopes of f depend on those of g through the tableau of z, and the other way round.
    """
    stages = len(halves[0][1])
    labels = [[0] * stages, [0] * stages]
    while True:
        groups = [_groups(half) for half in labels]
        finer = [
            _labels(
                [[sum((row[j] for j in group), Fraction(0)) for group in groups[other]] for row in halves[other][0]]
            )
            for other in (1, 0)
        ]
        if finer == labels:
            return labels
        labels = finer


def _labels(keys: Sequence[Row]) -> list[int]:
    """A number for each, the same for equal ones."""
    seen: dict[tuple[Fraction, ...], int] = {}
    return [seen.setdefault(tuple(key), len(seen)) for key in keys]


def _groups(labels: Sequence[int]) -> list[list[int]]:
    """The places of each label."""
    return [[i for i, label in enumerate(labels) if label == wanted] for wanted in range(max(labels) + 1)]


def _beside(one: Matrix, other: Matrix) -> list[list[Fraction]]:
    """The tableau with the stages of both, which know nothing of each other."""
    nought = [Fraction(0)] * len(one)
    return [[*row, *nought] for row in one] + [[*nought, *row] for row in other]
