"""Which steps and orders there are, and that the proofs of the others are proofs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from stabzoo.designing import Problem, feasibility
from stabzoo.designing.barriers import least_radius
from stabzoo.designing.conditions import Space
from stabzoo.designing.farkas import Refutation, decide
from stabzoo.families import adams_bashforth, adams_moulton, bdf, nystrom
from stabzoo.methods import NOT_DECIDED
from stabzoo.stability import is_zero_stable
from stabzoo.stability.enclosure import Enclosure

HIGHEST = {
    "explicit": {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6},
    "bdf-like": {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 6},
    "single-beta": {1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4, 8: 5},
}
"""Dahlquist's first barrier, that of BDF, and that of one-step-ahead formulas (Numer. Algorithms 2021, 10.1007/s11075-020-01061-x)."""


@pytest.mark.parametrize(("kind", "steps", "most"), [(k, d, p) for k, row in HIGHEST.items() for d, p in row.items()])
def test_the_barriers(kind: str, steps: int, most: int) -> None:
    """The next order is refuted, with a proof; the highest one is not."""
    verdict = feasibility(Problem(steps=steps, order=most + 1, kind=kind))
    assert verdict.is_feasible is False
    assert verdict.proof
    assert verdict.witness is None


@pytest.mark.parametrize(
    ("kind", "steps", "order"),
    [("explicit", 3, 3), ("single-beta", 4, 3), ("bdf-like", 6, 6), ("implicit", 2, 4), ("implicit", 6, 8)],
)
def test_the_highest_orders_have_a_scheme(kind: str, steps: int, order: int) -> None:
    """It is zero-stable, of the order, and has the slopes it may have."""
    problem = Problem(steps=steps, order=order, kind=kind)
    verdict = feasibility(problem)
    assert verdict.is_feasible is True
    assert verdict.witness is not None
    assert is_zero_stable(verdict.witness)
    assert verdict.witness.order is not None
    assert verdict.witness.order >= order
    space = Space(problem)
    assert space.method(space.coefficients_of(verdict.witness)) == verdict.witness


def test_implicit_methods_of_an_odd_number_of_steps() -> None:
    """D + 2 is for even d alone."""
    assert feasibility(Problem(steps=3, order=5, kind="implicit")).is_feasible is False
    assert feasibility(Problem(steps=2, order=5, kind="implicit")).is_feasible is False


def test_refutations_can_be_checked_and_wrong_ones_are_not() -> None:
    """The weights are the proof: others prove nothing, and nor do these of another space."""
    space = Space(Problem(steps=4, order=5))
    refutation = decide(space, space.hurwitz)
    assert isinstance(refutation, Refutation)
    assert len(refutation.weights) > 1
    assert refutation.holds(space, space.hurwitz)
    assert Refutation.from_dict(refutation.to_dict()) == refutation
    text = next(iter(refutation.weights))
    changed = Refutation({**refutation.weights, text: refutation.weights[text] + 1}, refutation.total)
    assert not changed.holds(space, space.hurwitz)
    assert not Refutation(refutation.weights, -refutation.total).holds(space, space.hurwitz)
    other = Space(Problem(steps=4, order=4))
    assert not refutation.holds(other, other.hurwitz)


def test_signs_can_be_what_is_in_the_way() -> None:
    """Order 2 with two steps and one slope is the leapfrog method, so alpha_1 <= 0 cannot be."""
    assert feasibility(Problem(steps=2, order=2, kind="single-beta")).is_feasible is True
    verdict = feasibility(Problem(steps=2, order=2, kind="single-beta", signs={"alpha_1": "-"}))
    assert verdict.is_feasible is False


def test_what_is_not_known_is_not_decided() -> None:
    """One start finds no scheme of 10 steps and order 6, nor proves that there is none."""
    verdict = feasibility(Problem(steps=10, order=6, kind="single-beta", starts=1))
    assert verdict.is_feasible is NOT_DECIDED or is_zero_stable(verdict.witness)  # type: ignore[arg-type]


def test_known_methods_are_points_of_their_spaces() -> None:
    """The order conditions are those of the methods, whatever the point that time is counted from."""
    for method, kind, order in (
        (adams_bashforth(3), "explicit", 3),
        (nystrom(3), "explicit", 3),
        (bdf(4), "bdf-like", 4),
        (adams_moulton(2), "implicit", 3),
    ):
        space = Space(Problem(steps=method.steps, order=order, kind=kind))
        x = space.coefficients_of(method)
        assert space.method(x) == method
        assert space.point(space.free_of(x)) == x
        assert all(row.at(x) >= 0 for row in space.hurwitz)


def test_necessary_conditions_hold_of_random_zero_stable_polynomials() -> None:
    """Of roots in the disc the c_k are of one sign; of (z - 1) (z - 2) they are not."""
    generator = np.random.default_rng(0)
    space = Space(Problem(steps=4, order=1))
    for _ in range(50):
        r, angle, c = generator.uniform(0, 1), generator.uniform(0, np.pi), generator.uniform(-1, 1)
        others = np.poly([r * np.exp(1j * angle), r * np.exp(-1j * angle), c]).real
        rho = np.convolve([1, -1], others)
        x = [Fraction(-a) for a in rho[1:]]
        x[-1] += 1 - sum(x)
        assert all(row.at([*x, *[Fraction(0)] * 4]) >= 0 for row in space.hurwitz)
    two = Space(Problem(steps=2, order=1))
    assert min(row.at([Fraction(3), Fraction(-2), Fraction(0), Fraction(0)]) for row in two.hurwitz) < 0


@pytest.mark.parametrize(("steps", "order"), [(4, 2), (5, 3), (7, 3), (8, 4)])
def test_no_scheme_is_below_the_least_radius(steps: int, order: int) -> None:
    """Random schemes of the order, most of them unstable, have a root beyond the proved bound."""
    space = Space(Problem(steps=steps, order=order, kind="single-beta"))
    bound = least_radius(space)
    assert bound is not None
    least = bound[0].lower if isinstance(bound[0], Enclosure) else bound[0]
    generator = np.random.default_rng(1)
    for _ in range(200):
        t = [Fraction(v) for v in generator.normal(0, 1, space.dimension)]
        rho = np.array([float(c) for c in space.method(space.point(t)).rho])
        assert np.abs(np.roots(np.cumsum(rho)[:-1])).max() > float(least) - 1e-9
