"""The exact set of values at which a one-parameter family is stable: known sets, random families, random values."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fixtures.messages import raises, says
from fixtures.methods import zerosnet
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import card, is_zero_stable, stable_set
from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.parameters.at_root import MethodAt
from stabzoo.stability.parameters.coefficients import Coefficients
from stabzoo.stability.parameters.real_root import RealRoot
from stabzoo.stability.parameters.stable_set import NotRationalError, Property
from stabzoo.stability.roots import integer_polynomial

Family = Callable[[Fraction], LinearMultistep]


def with_rho(*factors: Sequence[Fraction | int]) -> LinearMultistep:
    """The method with f(y_n) and this product as rho, factors highest power first."""
    rho = [Fraction(1)]
    for factor in factors:
        product = [Fraction(0)] * (len(rho) + len(factor) - 1)
        for i, a in enumerate(rho):
            for j, b in enumerate(factor):
                product[i + j] += a * b
        rho = product
    return LinearMultistep([-c / rho[0] for c in rho[1:]], (1,))


ONE = (1, -1)
ZERO_STABLE: dict[str, tuple[Family, str]] = {
    "two pairs that meet": (lambda s: with_rho(ONE, (1, s, 1), (1, Fraction(6, 5), 1)), "-2 < s < 6/5 or 6/5 < s < 2"),
    "one root": (lambda s: with_rho(ONE, (1, -s)), "-1 <= s < 1"),
    "a root between algebraic ends": (
        lambda s: with_rho(ONE, (1, 2 - s * s)),
        "-sqrt(3) < s <= -1 or 1 <= s < sqrt(3)",
    ),
    "s^2 < 2": (lambda s: with_rho(ONE, (2, -s * s)), "-sqrt(2) < s < sqrt(2)"),
    "ends of degree three": (
        lambda s: with_rho((1, s - s**3)),
        "root(s^3 - s + 1, -1.32472) <= s <= root(s^3 - s - 1, 1.32472)",
    ),
    "an isolated unstable value": (lambda s: with_rho((1, -1 / (1 + s * s))), "every s"),
    "an isolated unstable value beside 1": (lambda s: with_rho(ONE, (1, -1 / (1 + s * s))), "s < 0 or s > 0"),
    "isolated unstable values, irrational": (
        lambda s: with_rho(ONE, (1, -1 / (1 + (s * s - 2) ** 2))),
        "s < -sqrt(2) or -sqrt(2) < s < sqrt(2) or s > sqrt(2)",
    ),
    "an isolated stable value": (lambda s: with_rho((1, -1 - s * s)), "s == 0"),
    "isolated stable values, irrational": (
        lambda s: with_rho((1, 1 + (s * s - 3) ** 2)),
        "s == -sqrt(3) or s == sqrt(3)",
    ),
    "self-inversive in part": (
        lambda s: with_rho((1, s, 1), (1, -s, 1), (1, 2 * s)),
        "-1/2 <= s < 0 or 0 < s <= 1/2",
    ),
    "self-inversive for all": (lambda s: with_rho((1, s, 1)), "-2 < s < 2"),
    "self-inversive, two pairs": (lambda s: with_rho((1, s, 1), (1, -s, 1)), "-2 < s < 0 or 0 < s < 2"),
    "self-inversive, with minus": (lambda s: with_rho((1, -1), (1, 1), (1, s * s - 1, 1)), "-sqrt(3) < s < sqrt(3)"),
    "self-inversive, coupled": (lambda s: with_rho((1, s, s, s, 1)), "-2/3 < s < 2"),
    "self-inversive, an end from a discriminant": (
        lambda s: with_rho((1, 1, s * s + 1, 1, 1)),
        "-sqrt(5/4) < s < sqrt(5/4)",
    ),
    "reflection of modulus 1, never stable": (lambda s: with_rho((1, s, 0, 1)), "s == 0"),
    "never": (lambda s: with_rho((1, -2), (1, s)), "no s"),
    "always": (lambda _: LinearMultistep((1,), (1,)), "every s"),
    "a pole outside": (lambda s: zerosnet(s), "s <= -1 or s > 1/3"),
    "a pole within": (lambda s: LinearMultistep((1, 0), (1 / s,)), "s < 0 or s > 0"),
    "a double root at a rational value": (lambda s: with_rho((1, 0, 1), (1, s, 1), (3, s)), "-2 < s < 0 or 0 < s < 2"),
}
"""Families whose sets are seen without a computation, or by another one (Schur's conditions by hand)."""


def or_refused(family: Family) -> Family:
    """Division by zero is a value that the family does not take."""

    def refusing(s: Fraction) -> LinearMultistep:
        try:
            return family(s)
        except ZeroDivisionError:
            raise ValueError(s) from None

    return refusing


@pytest.mark.parametrize("name", ZERO_STABLE)
def test_known_sets(name: str) -> None:
    """Rational and algebraic ends, isolated values, factors that are self-inversive whatever s is."""
    family, expected = ZERO_STABLE[name]
    found = stable_set(or_refused(family))
    assert found.text("s") == expected
    says(
        found.proof("s"), f"{sum(not c.is_point for c in found.cells)} intervals", f"{found.coefficients.values} values"
    )


@settings(max_examples=150)
@given(st.sampled_from(sorted(ZERO_STABLE)), st.fractions(-4, 4, max_denominator=60))
def test_the_verdict_at_any_value_is_that_of_the_method(name: str, value: Fraction) -> None:
    """In the set just if it is zero-stable."""
    family = or_refused(ZERO_STABLE[name][0])
    try:
        method = family(value)
    except ValueError:
        assert value not in stable_set(family)
        return
    assert (value in stable_set(family)) == is_zero_stable(method)


small = st.integers(-3, 3)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(small, small, small), min_size=1, max_size=4),
    st.tuples(small, small),
    st.booleans(),
    st.lists(st.fractions(-5, 5, max_denominator=40), min_size=5, max_size=5),
)
def test_random_families(
    rows: list[tuple[int, int, int]], denominator: tuple[int, int], preconsistent: bool, values: list[Fraction]
) -> None:
    """Quadratic coefficients over a linear denominator: the set is right at random values and at both ends of cells."""
    assume(any(denominator))

    def family(s: Fraction) -> LinearMultistep:
        below = denominator[0] + denominator[1] * s
        if not below:
            raise ValueError("a pole")
        alpha = [(a + b * s + c * s * s) / below for a, b, c in rows]
        return LinearMultistep([*alpha, 1 - sum(alpha)] if preconsistent else alpha, (1,))

    found = stable_set(family)
    tiny = Fraction(1, 10**20)
    ends = [c.lower.rational for c in found.cells if c.lower is not None]
    for value in [*values, *[e + side * tiny for e in ends if e is not None for side in (-1, 0, 1)]]:
        try:
            method = family(value)
        except ValueError:
            continue
        assert (value in found) == is_zero_stable(method), value


def two_step(s: Fraction) -> LinearMultistep:
    """Two-step methods of order 2 with beta = 3/4 (Hairer, Wanner, V.1): A-stable exactly when alpha = s >= 0."""
    beta, lead = Fraction(3, 4), s + Fraction(1, 2)
    if not lead:
        raise ValueError("no leading coefficient")
    alpha = (2 * s / lead, (Fraction(1, 2) - s) / lead)
    return LinearMultistep(alpha, ((1 - 2 * beta) / lead, (beta - s / 2) / lead), (beta + s / 2) / lead)


STIFF: dict[str, tuple[Family, Property, str]] = {
    "theta, A": (lambda s: LinearMultistep((1,), (1 - s,), s), "A-stable", "s >= 1/2"),
    "theta, L": (lambda s: LinearMultistep((1,), (1 - s,), s), "L-stable", "s == 1"),
    "two steps": (two_step, "A-stable", "s >= 0"),
    "theta with an algebraic end": (
        lambda s: LinearMultistep((1,), (1 - s * s / 4,), s * s / 4),
        "A-stable",
        "s <= -sqrt(2) or s >= sqrt(2)",
    ),
    "theta, L, algebraic": (
        lambda s: LinearMultistep((1,), (3 - s * s,), s * s - 2),
        "L-stable",
        "s == -sqrt(3) or s == sqrt(3)",
    ),
    "BDF2, damped or not": (lambda s: LinearMultistep((1 + s, -s), (), 1 - s), "A-stable", "-1 <= s <= 1/3"),
    "never a slope": (lambda s: LinearMultistep((s,), (0,)), "A-stable", "-1 <= s <= 1"),
    "explicit": (lambda s: LinearMultistep((1,), (s,)), "A-stable", "s == 0"),
}


@pytest.mark.parametrize("name", STIFF)
def test_known_stiff_sets(name: str) -> None:
    """Of A- and L-stability, with algebraic ends too."""
    family, wanted, expected = STIFF[name]
    assert stable_set(family, wanted).text("s") == expected


@settings(max_examples=80)
@given(st.sampled_from(sorted(STIFF)), st.fractions(-3, 3, max_denominator=40))
def test_the_stiff_verdict_at_any_value_is_that_of_the_card(name: str, value: Fraction) -> None:
    """In the set just if the card says so."""
    family, wanted, _ = STIFF[name]
    assume(value != Fraction(-1, 2))
    proved = card(family(value))
    expected = proved.is_A_stable if wanted == "A-stable" else proved.is_L_stable
    assert (value in stable_set(family, wanted)) == expected


@settings(max_examples=40)
@given(
    st.lists(st.tuples(small, small), min_size=5, max_size=5),
    st.lists(st.fractions(-5, 5, max_denominator=12), min_size=6, max_size=6),
)
def test_random_stiff_families(rows: list[tuple[int, int]], values: list[Fraction]) -> None:
    """Two-step methods with linear coefficients."""
    half = Fraction(1, 2)

    def family(s: Fraction) -> LinearMultistep:
        a, b, c, d, e = ((p + q * s) * half for p, q in rows)
        return LinearMultistep((a, 1 - a), (b, c * d), e)

    found = stable_set(family, "A-stable")
    ends = [c.lower.rational for c in found.cells if c.lower is not None]
    for value in [*values, *[e for e in ends if e is not None]]:
        assert (value in found) == card(family(value)).is_A_stable, value


@settings(max_examples=300)
@given(
    st.integers(1, 3),
    st.lists(st.sampled_from([0, 0, 1, -1, Fraction(1, 2), Fraction(1, 3), 2]), min_size=7, max_size=7),
    st.booleans(),
)
def test_verdicts_in_a_number_field_are_those_over_the_rationals(
    steps: int, numbers: list[Fraction], preconsistent: bool
) -> None:
    """At a root of a linear polynomial the field is Q, and what decides there must agree with the card."""
    from flint import fmpz_poly

    alpha, beta = numbers[:steps], numbers[3 : 3 + steps]
    if preconsistent:
        alpha[-1] += 1 - sum(alpha)
    method = LinearMultistep(alpha, beta, numbers[6])
    both = integer_polynomial((*method.rho, *method.sigma))
    scaled = [fmpz_poly([int(both[j])]) for j in range(2 * steps + 2)]
    origin = RealRoot((0, 1), 0, Enclosure(Fraction(0), Fraction(0)))
    family = Coefficients(tuple(scaled[steps + 1 :]), tuple(scaled[: steps + 1]), 0, 1)
    there, proved = MethodAt(family, origin), card(method)
    assert there.is_zero_stable == proved.is_zero_stable
    assert there.is_A_stable == proved.is_A_stable
    assert there.is_L_stable == proved.is_L_stable


def test_a_domain_that_the_family_refuses() -> None:
    """The set is that of the rational functions, on the whole line."""

    def family(s: Fraction) -> LinearMultistep:
        if not 0 <= s <= 1:
            raise ValueError("outside")
        return LinearMultistep((1,), (1 - s,), s)

    found = stable_set(family, "A-stable")
    assert found.text("s") == "s >= 1/2"
    assert found.coefficients.values < 40


def test_a_value_at_which_the_family_is_not_its_formula() -> None:
    """At a rational critical value the family's own method counts."""
    end = Fraction(11, 13)
    found = stable_set(lambda s: LinearMultistep((2 if s == end else s / end,), (1,)))
    assert found.text("s") == "-11/13 <= s < 11/13"
    with raises(NotRationalError, "rational functions", "degree"):
        stable_set(lambda s: LinearMultistep((abs(s),), (1,)))
    with raises(NotRationalError, "rational functions"):
        stable_set(lambda s: LinearMultistep((1,) * (1 + (s > 3)), (1,)))
    with raises(NotRationalError, "0 values"):
        stable_set(lambda s: LinearMultistep((), (s,)))
    with raises(ValueError, "property", "zero-stable", "'B-stable'"):
        stable_set(lambda s: LinearMultistep((s,), (1,)), "B-stable")  # type: ignore[arg-type]


def test_what_would_take_too_long_is_refused() -> None:
    """Before it is begun."""
    with raises(ValueError, "steps", "32", "42"):
        stable_set(lambda s: LinearMultistep((s, *[0] * 19, s * s), (1,)) if s != 2 else LinearMultistep((), ()))
    with raises(ValueError, "steps", "7", "8"):
        stable_set(lambda s: LinearMultistep((*[0] * 7, s), (1,)), "A-stable")


def test_many_steps_take_a_moment() -> None:
    """Six steps, coefficients of degree 4: many critical values of high degree."""
    started = time.process_time()
    found = stable_set(lambda s: with_rho(ONE, *[(1, s / (j + 2), Fraction(1, j + 2)) for j in range(2)], (2, s * s)))
    assert Fraction(0) in found
    assert Fraction(3) not in found
    assert time.process_time() - started < 20
