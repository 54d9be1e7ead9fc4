"""A- and L-stability: textbook methods, Dahlquist's second barrier, dense sampling, and claims about them."""

import cmath
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fixtures.commands import Run
from fixtures.messages import says
from stabzoo import claims
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import card

Install = Callable[..., Path]
BDF = {
    1: ((1,), "1"),
    2: (("4/3", "-1/3"), "2/3"),
    3: (("18/11", "-9/11", "2/11"), "6/11"),
    4: (("48/25", "-36/25", "16/25", "-3/25"), "12/25"),
    5: (("300/137", "-300/137", "200/137", "-75/137", "12/137"), "60/137"),
    6: (("120/49", "-150/49", "400/147", "-75/49", "24/49", "-10/147"), "20/49"),
}
ADAMS_MOULTON = {
    2: (("1/2",), "1/2"),
    3: (("2/3", "-1/12"), "5/12"),
    4: (("19/24", "-5/24", "1/24"), "3/8"),
    5: (("323/360", "-11/30", "53/360", "-19/720"), "251/720"),
}
numbers = st.fractions(-3, 3, max_denominator=6)


def theta_method(theta: Fraction) -> LinearMultistep:
    """y_{n+1} = y_n + h ((1 - theta) f_n + theta f_{n+1})."""
    return LinearMultistep((1,), (1 - theta,), theta)


def bdf(order: int) -> LinearMultistep:
    """The backward differentiation formula of an order."""
    alpha, beta_next = BDF[order]
    return LinearMultistep(alpha, (), beta_next)


def test_theta_methods() -> None:
    """A-stable from 1/2 on, L-stable at 1 alone, however near theta is; order 2 at 1/2."""
    tiny = Fraction(1, 10**30)
    grid = {Fraction(i, 24) for i in range(31)} | {Fraction(x) + s * tiny for x in (Fraction(1, 2), 1) for s in (-1, 1)}
    for theta in grid:
        result = card(theta_method(theta))
        assert result.is_A_stable is (theta >= Fraction(1, 2))
        assert result.is_L_stable is (theta == 1)
        assert result.order == (2 if theta == Fraction(1, 2) else 1)


@pytest.mark.parametrize("order", BDF)
def test_bdf(order: int) -> None:
    """A- and L-stable up to order 2, where Dahlquist's barrier is; all damp infinitely stiff components."""
    result = card(bdf(order))
    assert result.order == order
    assert result.is_A_stable is result.is_L_stable is (order <= 2)


@pytest.mark.parametrize("order", ADAMS_MOULTON)
def test_adams_moulton(order: int) -> None:
    """The trapezoidal rule is A-stable, not L-stable; the others are neither."""
    beta, beta_next = ADAMS_MOULTON[order]
    result = card(LinearMultistep((1, *[0] * (len(beta) - 1)), beta, beta_next))
    assert (result.order, result.is_A_stable, result.is_L_stable) == (order, order == 2, False)


@pytest.mark.parametrize(
    ("alpha", "beta", "beta_next", "text"),
    [
        ((1,), (1,), 0, "1 + z"),
        ((1,), (), 0, "1"),
        ((1,), (), 1, "1 / (1 - z)"),
        ((1,), ("1/2",), "1/2", "(1 + 1/2 z) / (1 - 1/2 z)"),
        ((1,), (2,), -1, "(1 + 2 z) / (1 + z)"),
        (("-1/3",), ("-1/4",), "1/3", "(-1/3 - 1/4 z) / (1 - 1/3 z)"),
        ((0,), (1,), 0, "z"),
        ((0,), (-1,), 0, "-z"),
        ((1, 0), ("3/2", "-1/2"), 0, None),
    ],
)
def test_stability_functions(alpha: tuple, beta: tuple, beta_next: object, text: str | None) -> None:
    """R(z) as text is the growth of one step on y' = lambda y."""
    method = LinearMultistep(alpha, beta, beta_next)  # type: ignore[arg-type]
    assert card(method).stability_function == text
    if text is not None:
        z = -0.7 + 0.4j
        growth = (float(method.alpha[0]) + z * float(method.beta[0])) / (1 - z * float(method.beta_next))
        assert cmath.isclose(eval(text.replace(" z", " * z").replace("+ * z", "+ z").replace("- * z", "- z")), growth)


def test_degenerate_methods() -> None:
    """A common factor counts as a root; a pole in the left half-plane, an implicit unstable rho, sigma = 0."""
    assert card(LinearMultistep((1,), ())).is_A_stable
    assert not card(LinearMultistep((1,), ())).is_L_stable  # nothing is damped
    assert not card(LinearMultistep((1,), (2,), -1)).is_A_stable  # R has its pole at -1
    assert not card(LinearMultistep((3, -2), (), 1)).is_A_stable  # rho has the root 2
    half = LinearMultistep(("3/2", "-1/2"), ("-1/2",), 1)  # backward Euler times (zeta - 1/2)
    assert card(half).is_A_stable
    assert not card(half).is_L_stable
    assert not card(LinearMultistep((2, -1), (-1,), 1)).is_A_stable  # times (zeta - 1): 1 is a double root at z = 0


def grows_on_a_grid(method: LinearMultistep) -> bool:
    """Whether floats see a root of rho - z sigma beyond 1 + 1e-6 at some z with Re z <= 0."""
    radii = np.concatenate([np.logspace(-2, 3, 46), [1e6]])
    angles = np.linspace(np.pi / 2, np.pi, 25)
    rho, sigma = (np.array([float(c) for c in p]) for p in (method.rho, method.sigma))
    return any(
        np.abs(np.roots(rho - radius * np.exp(1j * angle) * sigma)).max(initial=0.0) > 1 + 1e-6
        for radius in radii
        for angle in angles
    )


@settings(max_examples=60)
@given(st.lists(numbers, min_size=1, max_size=3), st.lists(numbers, max_size=3), numbers.filter(bool))
def test_a_stability_against_dense_sampling(alpha: list[Fraction], beta: list[Fraction], beta_next: Fraction) -> None:
    """What is proved A-stable never grows on a grid of the left half-plane."""
    assume(len(beta) <= len(alpha))
    method = LinearMultistep(alpha, beta, beta_next)
    if card(method).is_A_stable:
        assert not grows_on_a_grid(method)
    assert not (card(method).is_L_stable and not card(method).is_A_stable)


@settings(max_examples=100)
@given(st.fractions(-1, 1, max_denominator=8), st.fractions(-2, 4, max_denominator=8))
def test_the_a_stable_two_step_methods_of_order_two(a: Fraction, s2: Fraction) -> None:
    """With rho = (zeta - 1)(zeta - a), |a| < 1, and sigma of order 2 with leading coefficient s2: just if s2 >= 1/2.

    Order 2 makes Re(rho conj(sigma)) on the circle a multiple of (1 - cos t)^2; at t = pi it is 4 (1 + a)(2 s2 - 1).
    """
    assume(s2 != 0)
    assume(abs(a) < 1)
    method = LinearMultistep((1 + a, -a), ((3 - a) / 2 - 2 * s2, s2 - (1 + a) / 2), s2)
    result = card(method)
    assert result.is_consistent
    assert (result.order or 0) >= 2
    assert result.is_A_stable is (s2 >= Fraction(1, 2))


@settings(max_examples=150)
@given(st.lists(st.fractions(-1, 1, max_denominator=8), min_size=1, max_size=3), numbers.filter(bool))
def test_dahlquists_second_barrier(roots: list[Fraction], free: Fraction) -> None:
    """No implicit method of order above 2 is A-stable: zero-stable rho, sigma of order d or above by interpolation."""
    rho = [Fraction(1)]
    for root in (Fraction(1), *roots):
        rho = [p - root * q for p, q in zip([*rho, Fraction(0)], [Fraction(0), *rho], strict=True)]
    d = len(rho) - 1
    for beta_next in (None, free):
        sigma = sigma_of_highest_order(rho, beta_next)
        assume(sigma[0] != 0)
        method = LinearMultistep([-c for c in rho[1:]], sigma[1:], sigma[0])
        assert (method.order or 0) >= (d if beta_next is not None else d + 1)
        if (method.order or 0) > 2:
            assert not card(method).is_A_stable


def sigma_of_highest_order(rho: list[Fraction], lead: Fraction | None) -> list[Fraction]:
    """Sigma (highest power first) with C_1 = ... = C_{d+1} = 0, or C_1 = ... = C_d = 0 if its lead is given."""
    d = len(rho) - 1
    unknowns = d + 1 if lead is None else d
    rows = []
    for q in range(1, unknowns + 1):
        right = sum((a * Fraction(j) ** q for j, a in enumerate(reversed(rho))), Fraction(0)) / q
        if lead is not None:
            right -= lead * Fraction(d) ** (q - 1)
        rows.append([Fraction(j) ** (q - 1) for j in range(unknowns)] + [right])
    for i in range(unknowns):  # Gauss-Jordan; the Vandermonde matrix is regular
        pivot = next(r for r in range(i, unknowns) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for r in range(unknowns):
            if r != i:
                rows[r] = [x - rows[r][i] * y for x, y in zip(rows[r], rows[i], strict=True)]
    sigma = [row[-1] for row in rows]
    return list(reversed(sigma if lead is None else [*sigma, lead]))


THETA = """
    from fractions import Fraction

    from stabzoo import ExplicitMultistep, LinearMultistep, Rational, hookimpl

    class Theta(ExplicitMultistep):
        name = "thetas"
        theta: Rational = Fraction(1, 2)

        def coefficients(self):
            return LinearMultistep((1,), (1 - self.theta,), self.theta)

    @hookimpl
    def stabzoo_discretizations():
        return [Theta]
"""


@pytest.mark.parametrize(
    ("claim", "facts"),
    [
        ("a_stable: theta >= 1/2, l_stable: theta == 1", ()),
        ("a_stable: true, l_stable: false", ()),
        ("a_stable: false", ("claims not A-stable", "proved: A-stable")),
        ("l_stable: true", ("claims L-stable", "proved: not L-stable")),
        ("a_stable: theta > 1/2", ("A-stable", "theta > 1/2", "theta = 1/2 is A-stable")),
        ("l_stable: theta >= 1", ("L-stable", "theta >= 1", "theta = ", "not L-stable")),
        ("l_stable: k == 1", ("no parameter 'k'", "theta")),
    ],
)
def test_claims_are_recomputed(claim: str, facts: tuple[str, ...], install: Install, run: Run) -> None:
    """A true claim is quiet, a false one is told with a counterexample; the condition is shown."""
    install("thetas", THETA, f"thetas:\n  schemes: {{thetas: {{order: 2, stability: strong, {claim}}}}}\n")
    (check,) = claims.check_claims(["thetas"]).schemes
    assert bool(check.false_claims) is bool(facts)
    if facts:
        says("\n".join(check.false_claims), *facts)
    assert ("exactly when" in run("show thetas").out) is (": theta" in claim or ": k" in claim)


def test_implicit_schemes_in_list_and_show(install: Install, run: Run) -> None:
    """A column of A- and L-stability and R(z) where an implicit scheme is listed; rows of a card."""
    install("thetas", THETA, "thetas:\n  schemes: {thetas: {order: 2, stability: strong}}\n")
    row = next(line for line in run("list thetas").out.splitlines() if line.startswith("other"))
    assert row.split()[:6] == ["other", "thetas", "1", "2", "strong", "0"]
    assert "  A  " in row
    assert "(1 + 1/2 z) / (1 - 1/2 z)" in row
    shown = run("show thetas --set theta=1").out
    assert "L-stable            yes" in shown
    assert "R(z) = 1 / (1 - z)" in shown
    assert "L-stable" not in run("show euler").out
