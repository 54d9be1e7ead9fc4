"""Real and imaginary stability intervals against closed forms and against exact sampling."""

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.methods import zerosnet
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import Enclosure, card
from stabzoo.stability.enclosure import as_float
from stabzoo.stability.intervals import imaginary_interval, is_A_stable, real_interval
from stabzoo.stability.root_condition import satisfies_root_condition

GRID = [Fraction(p, q) for p in range(-12, 41) for q in (1, 3, 4, 7)]


def test_zerosnet_family():
    """L = 4 (l+1)/(3l-1) for l <= -1 or l >= 3, (3l-1)/(l+1) for 1/3 < l <= 3; imaginary 0, at leapfrog 1."""
    values = {x for x in GRID if x}
    for x in values:
        method = zerosnet(x)
        if x <= -1 or x >= 3:
            expected = 4 * (x + 1) / (3 * x - 1)
        else:
            expected = (3 * x - 1) / (x + 1) if x > Fraction(1, 3) else Fraction(0)
        assert real_interval(method) == expected
        assert imaginary_interval(method) == (1 if x == -1 else 0)
    assert max(real_interval(zerosnet(x)) for x in values) == real_interval(zerosnet(Fraction(3))) == 2


def test_lm_resnet_family():
    """L = 2 (1-k)/(1+k) where zero-stable; imaginary 0, at k = 1 it is 1."""
    for k in GRID:
        method = LinearMultistep((1 - k, k), (1 + k,))
        if -1 < k <= 1:
            assert real_interval(method) == 2 * (1 - k) / (1 + k)
            assert imaginary_interval(method) == (1 if k == 1 else 0)
        else:
            assert real_interval(method) == imaginary_interval(method) == 0


def test_theta_family():
    """L = 2/(1 - 2 theta) below 1/2, else infinite; A-stable from 1/2 on."""
    for theta in (Fraction(i, 20) for i in range(21)):
        method = LinearMultistep((1,), (1 - theta,), theta)
        implicit = theta >= Fraction(1, 2)
        assert real_interval(method) == (math.inf if implicit else 2 / (1 - 2 * theta))
        assert imaginary_interval(method) == (math.inf if implicit else 0)
        assert is_A_stable(method) is implicit


def test_weighted_euler():
    """The root is a + z: L = 1 + a and I^2 = 1 - a^2 for -1 < a <= 1."""
    squares = {i * i for i in range(26)}
    for a in (Fraction(i, 25) for i in range(-30, 31)):
        method = LinearMultistep((a,), (1,))
        stable = -1 < a <= 1
        assert real_interval(method) == (1 + a if stable else 0)
        size = imaginary_interval(method)
        expected = 1 - a * a if stable else Fraction(0)
        if isinstance(size, Enclosure):
            assert size.lower**2 < expected < size.upper**2
            assert size.upper - size.lower < Fraction(1, 2**80)
            assert (expected * 625).numerator not in squares
        else:
            assert size**2 == expected
    assert imaginary_interval(LinearMultistep(("3/5",), (1,))) == Fraction(4, 5)


@pytest.mark.parametrize("d", range(3, 9))
def test_order_two_optimum(d):
    """(z - 1)(z + 1/(2d-3))^(d-1) with one beta: L = 2 ((d-2)/(d-1))^(d-1)."""
    rho = [Fraction(1)]
    for root in (1, *[Fraction(-1, 2 * d - 3)] * (d - 1)):
        rho = [a - root * b for a, b in zip([*rho, 0], [0, *rho], strict=True)]
    method = LinearMultistep([-c for c in rho[1:]], [Fraction(2 * d - 2, 2 * d - 3) ** (d - 1)])
    assert method.order == 2
    assert card(method).parasitic_radius == Fraction(1, 2 * d - 3)
    assert real_interval(method) == 2 * Fraction(d - 2, d - 1) ** (d - 1)


def adams_bashforth(*beta):
    """Return the Adams-Bashforth method with these weights."""
    return LinearMultistep((1, *[0] * (len(beta) - 1)), beta)


@pytest.mark.parametrize(
    ("method", "real", "imaginary", "a_stable"),
    [
        (adams_bashforth("3/2", "-1/2"), 1, 0, False),
        (adams_bashforth("23/12", "-4/3", "5/12"), "6/11", 0.7236, False),
        (adams_bashforth("55/24", "-59/24", "37/24", "-9/24"), "3/10", 0.43, False),
        (LinearMultistep((1, 0), ("2/3", "-1/12"), "5/12"), 6, 0, False),  # Adams-Moulton
        (LinearMultistep(("4/3", "-1/3"), (), "2/3"), math.inf, math.inf, True),  # BDF2
        (LinearMultistep(("18/11", "-9/11", "2/11"), (), "6/11"), math.inf, 0, False),  # BDF3
        (LinearMultistep((0, 1), ("4/3", "1/3"), "1/3"), 0, math.sqrt(3), False),  # Milne-Simpson
        (LinearMultistep((0, 1), (2,)), 0, 1, False),  # leapfrog
        (LinearMultistep((2, -1), (1,)), 4, 0, False),  # y'' = f: real locus, unstable at 0
        (LinearMultistep((1,), (1,), -1), 1, math.inf, False),  # sigma = -rho: degenerate at z = -1 only
        (LinearMultistep((1,), ()), math.inf, math.inf, True),  # sigma = 0 and zero-stable
        (LinearMultistep((2, -1), ()), 0, 0, False),  # sigma = 0 and not
        (LinearMultistep((1,), (-1,)), 0, 0, False),  # 1 - z grows for every z < 0
    ],
)
def test_classical_methods(method, real, imaginary, a_stable):
    """Textbook intervals, and degenerate methods."""
    assert real_interval(method) == (real if real == math.inf else Fraction(real))
    assert as_float(imaginary_interval(method)) == pytest.approx(
        imaginary, abs=2e-4 if imaginary in (0.7236, 0.43) else 1e-15
    )
    assert is_A_stable(method) is a_stable


def test_reducible_methods():
    """A common factor of rho and sigma: harmless inside the circle, fatal where a root on it becomes double."""
    for root, expected in ((Fraction(1, 2), 2), (Fraction(-1), 2), (Fraction(1), 2), (Fraction(3, 2), 0)):
        alpha = (1 + root, -root)  # (z - 1)(z - root)
        assert real_interval(LinearMultistep(alpha, (1, -root))) == expected
    half = LinearMultistep(
        ("-1/2", "1/2"), (1, 1)
    )  # (z - 1/2)(z + 1), sigma = z + 1: roots 1/2 + z and -1, double at z = -3/2
    assert real_interval(half) == Fraction(3, 2)


coefficients = st.fractions(min_value=-2, max_value=2, max_denominator=4)


@st.composite
def methods(draw):
    """Draw a method of 1 to 3 steps, half of them preconsistent, explicit or implicit."""
    d = draw(st.integers(1, 3))
    alpha = draw(st.lists(coefficients, min_size=d, max_size=d))
    if draw(st.booleans()):
        alpha[-1] = 1 - sum(alpha[:-1])
    beta = draw(st.lists(coefficients, min_size=1, max_size=d))
    return LinearMultistep(alpha, beta, draw(st.sampled_from([0, 0, Fraction(1, 2), 1, Fraction(-1, 2)])))


def check_against_samples(size, holds):
    """The condition holds at every sample below `size`, and fails at it or arbitrarily close beyond it."""
    if size == math.inf:
        assert all(holds(Fraction(t)) for t in ("1e-9", "1/7", "1/2", "3/4", 1, "3/2", 2, 3, 5, 11, 101, 10**6))
        return
    lower, upper = (size.lower, size.upper) if isinstance(size, Enclosure) else (size, size)
    assert upper - lower < Fraction(1, 2**60)
    for i in range(1, 24):
        assert lower == 0 or holds(lower * i / 24)
    if lower == upper:
        beyond = [upper + Fraction(1, 10**k) for k in (6, 9, 12)]
        assert (lower > 0 and not holds(lower)) or not all(map(holds, beyond))
    assert lower == 0 or holds(lower * (1 - Fraction(1, 10**9)))


@settings(max_examples=250)
@given(methods())
def test_real_interval_against_samples(method):
    """On the negative real axis."""
    check_against_samples(real_interval(method), lambda t: satisfies_root_condition(method, -t))


@settings(max_examples=250)
@given(methods())
def test_imaginary_interval_against_samples(method):
    """On the imaginary axis."""
    check_against_samples(imaginary_interval(method), lambda t: satisfies_root_condition(method, Fraction(0), t))


@settings(max_examples=150)
@given(methods())
def test_irrational_ends_separate_good_from_bad(method):
    """Beyond an irrational end the condition fails, unless it fails at the end alone: a double root on the circle."""
    size = real_interval(method)
    if isinstance(size, Enclosure):
        step = (size.upper - size.lower) or Fraction(1, 2**80)
        assert satisfies_root_condition(method, -size.lower)
        after = satisfies_root_condition(method, -size.upper - step)
        assert not after or double_root_near(method, -float(size))


def double_root_near(method, z):
    """Whether rho - z sigma has two nearly equal roots."""
    import numpy as np

    roots = np.roots([float(r) - z * float(s) for r, s in zip(method.rho, method.sigma, strict=True)])
    gaps = [abs(a - b) for i, a in enumerate(roots) for b in roots[:i]]
    return min(gaps) < 1e-5


@settings(max_examples=150)
@given(methods(), st.lists(st.tuples(coefficients, coefficients), min_size=8, max_size=8))
def test_a_stability_against_samples(method, points):
    """No sample of the closed left half-plane contradicts A-stability; if not A-stable a failing point is found."""
    if is_A_stable(method):
        assert all(satisfies_root_condition(method, -abs(x), y) for x, y in points)
        assert real_interval(method) == imaginary_interval(method) == math.inf
    else:
        grid = [Fraction(t, 8) for t in range(13)] + [Fraction(3), Fraction(20), Fraction(1000), Fraction(1, 10**6)]
        finite = real_interval(method) != math.inf or imaginary_interval(method) != math.inf
        assert finite or not all(satisfies_root_condition(method, -x, y) for x in grid for y in grid)


def many_steps(d, digits, seed):
    """Return a consistent zero-stable method of d steps with coefficients of so many digits."""
    generator, scale = random.Random(seed), 10**digits + 7
    small = [Fraction(generator.randint(-scale, scale), 4 * d * scale) for _ in range(d - 1)]
    alpha = [1 - sum(small), *small]
    beta = [Fraction(generator.randint(-scale, scale), scale) for _ in range(d)]
    slope = d - sum(a * (d - 1 - j) for j, a in enumerate(alpha))  # rho'(1)
    return LinearMultistep(alpha, [beta[0] + slope - sum(beta), *beta[1:]])


@pytest.mark.parametrize(("d", "digits"), [(32, 2), (32, 15), (64, 2)])
def test_intervals_of_many_steps(d, digits):
    """Verdicts hold within and fail just outside; no minimal polynomial of the end of an interval is needed."""
    method = many_steps(d, digits, 2)
    size = real_interval(method)
    assert 0 < as_float(size) < 1
    inside, outside = (Fraction(f"{as_float(size) * factor:.6g}") for factor in (0.99, 1.01))
    assert satisfies_root_condition(method, -inside)
    assert not satisfies_root_condition(method, -outside)
    length = as_float(imaginary_interval(method))
    if length:
        assert satisfies_root_condition(method, Fraction(0), Fraction(f"{length * 0.99:.6g}"))
        assert not satisfies_root_condition(method, Fraction(0), Fraction(f"{length * 1.01:.6g}"))


def test_equal_values_at_two_places_are_one():
    """Of a method in every other value, two angles have each value of the locus: they are told equal exactly."""
    ab2 = LinearMultistep((0, 1, 0, 0), (0, 3, 0, -1))  # AB2 with step 2h
    assert real_interval(ab2) == Fraction(1, 2)
    ab3 = LinearMultistep((0, 1, 0, 0, 0, 0), (0, "23/6", 0, "-8/3", 0, "5/6"))
    assert real_interval(ab3) == Fraction(3, 11)
    single = LinearMultistep((1, 0, 0), ("23/12", "-4/3", "5/12"))
    assert as_float(imaginary_interval(ab3)) == pytest.approx(as_float(imaginary_interval(single)) / 2)
