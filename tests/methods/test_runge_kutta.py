"""Runge-Kutta methods: order by trees, R(z), A- and L-stability and intervals, exact, against the literature."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.messages import raises
from stabzoo import LinearMultistep, RungeKutta, card
from stabzoo.methods import StabilityFunction
from stabzoo.methods.trees import density, nodes, trees
from stabzoo.stability.enclosure import Enclosure, as_float
from stabzoo.stability.intervals import imaginary_interval, is_A_stable, is_L_stable, real_interval

F = Fraction

EULER = RungeKutta(((),), (1,))
MIDPOINT = RungeKutta(((), ("1/2",)), (0, 1))
HEUN = RungeKutta(((), (1,)), ("1/2", "1/2"))
RALSTON = RungeKutta(((), ("2/3",)), ("1/4", "3/4"))
SSPRK3 = RungeKutta(((), (1,), ("1/4", "1/4")), ("1/6", "1/6", "2/3"))
RK4 = RungeKutta(((), ("1/2",), (0, "1/2"), (0, 0, 1)), ("1/6", "1/3", "1/3", "1/6"))
DORMAND_PRINCE = RungeKutta(
    (
        (),
        ("1/5",),
        ("3/40", "9/40"),
        ("44/45", "-56/15", "32/9"),
        ("19372/6561", "-25360/2187", "64448/6561", "-212/729"),
        ("9017/3168", "-355/33", "46732/5247", "49/176", "-5103/18656"),
    ),
    ("35/384", 0, "500/1113", "125/192", "-2187/6784", "11/84"),
)
GAUSS_1 = RungeKutta((("1/2",),), (1,))
RADAU_IIA = RungeKutta((("5/12", "-1/12"), ("3/4", "1/4")), ("3/4", "1/4"))
LOBATTO_IIIA = RungeKutta(((0, 0, 0), ("5/24", "1/3", "-1/24"), ("1/6", "2/3", "1/6")), ("1/6", "2/3", "1/6"))
LOBATTO_IIIC = RungeKutta(
    (("1/6", "-1/3", "1/6"), ("1/6", "5/12", "-1/12"), ("1/6", "2/3", "1/6")), ("1/6", "2/3", "1/6")
)
SDIRK_4 = RungeKutta(
    (
        ("1/4",),
        ("1/2", "1/4"),
        ("17/50", "-1/25", "1/4"),
        ("371/1360", "-137/2720", "15/544", "1/4"),
        ("25/24", "-49/48", "125/16", "-85/12", "1/4"),
    ),
    ("25/24", "-49/48", "125/16", "-85/12", "1/4"),
)
"""Hairer, Wanner, Solving ODEs II, table IV.6.5."""

EXPLICIT = [EULER, MIDPOINT, HEUN, RALSTON, SSPRK3, RK4, DORMAND_PRINCE]
IMPLICIT = [GAUSS_1, RADAU_IIA, LOBATTO_IIIA, LOBATTO_IIIC, SDIRK_4]
ORDERS = [1, 2, 2, 2, 3, 4, 5, 2, 3, 4, 4, 4]


@pytest.mark.parametrize(("method", "order"), list(zip([*EXPLICIT, *IMPLICIT], ORDERS, strict=True)))
def test_orders_of_the_literature(method: RungeKutta, order: int) -> None:
    """Exactly these; R agrees with e^z up to there and, of s = p stages, is its Taylor polynomial."""
    assert method.order == order
    function = method.linear
    quotient = taylor(function, order)
    assert quotient == [F(1, math.factorial(j)) for j in range(order + 1)]
    if method.is_explicit and method.stages == order:
        assert function.numerator == tuple(quotient)
        assert function.denominator == (1,)


def taylor(function: StabilityFunction, degree: int) -> list[Fraction]:
    """The coefficients of P / Q up to this power, by long division."""
    found: list[Fraction] = []
    for j in range(degree + 1):
        p = function.numerator[j] if j < len(function.numerator) else F(0)
        found.append(
            p - sum(function.denominator[i] * found[j - i] for i in range(1, min(j + 1, len(function.denominator))))
        )
    return found


def test_trees() -> None:
    """As many as the literature counts, with the densities of the tall and of the bushy tree."""
    assert [len(trees(n)) for n in range(1, 10)] == [1, 1, 2, 4, 9, 20, 48, 115, 286]
    assert all(nodes(tree) == 7 for tree in trees(7))
    tall, bushy = ((((),),),), ((), (), ())
    assert (density(tall), density(bushy)) == (24, 4)


def test_error_constant_only_where_the_error_is_a_derivative() -> None:
    """Euler's is 1/2, as of the multistep method; Heun's is no multiple of y'''."""
    assert EULER.error_constant == LinearMultistep((1,), (1,)).error_constant == F(1, 2)
    assert HEUN.error_constant is None
    assert RungeKutta(((),), (2,)).order == 0
    assert RungeKutta(((),), (2,)).error_constant is None


@pytest.mark.parametrize(
    ("method", "function", "a_stable", "l_stable"),
    [
        (HEUN, "1 + z + 1/2 z^2", False, False),
        (RK4, "1 + z + 1/2 z^2 + 1/6 z^3 + 1/24 z^4", False, False),
        (GAUSS_1, "(1 + 1/2 z) / (1 - 1/2 z)", True, False),
        (RADAU_IIA, "(1 + 1/3 z) / (1 - 2/3 z + 1/6 z^2)", True, True),
        (LOBATTO_IIIA, "(1 + 1/2 z + 1/12 z^2) / (1 - 1/2 z + 1/12 z^2)", True, False),
        (LOBATTO_IIIC, "(1 + 1/4 z) / (1 - 3/4 z + 1/4 z^2 - 1/24 z^3)", True, True),
    ],
)
def test_stability_functions_of_the_literature(
    method: RungeKutta, function: str, a_stable: bool, l_stable: bool
) -> None:
    """Taylor polynomials and Pade approximations, A- and L-stable as the tables of HW II, IV.5 say."""
    proved = card(method)
    assert proved.stability_function == function
    assert (proved.is_A_stable, proved.is_L_stable) == (a_stable, l_stable)
    assert proved.method is method


def test_sdirk_is_l_stable() -> None:
    """R(z) of HW II's SDIRK method, whose poles are all at 4."""
    proved = card(SDIRK_4)
    assert (proved.order, proved.is_A_stable, proved.is_L_stable) == (4, True, True)
    assert proved.real_interval == proved.imaginary_interval == math.inf


@pytest.mark.parametrize(
    ("method", "real", "imaginary"),
    [(EULER, 2, 0), (HEUN, 2, 0), (SSPRK3, 2.512745327, math.sqrt(3)), (RK4, 2.785293563, math.sqrt(8))],
)
def test_intervals_of_the_literature(method: RungeKutta, real: float, imaginary: float) -> None:
    """Enclosed or exact."""
    proved = card(method)
    assert as_float(proved.real_interval) == pytest.approx(real, abs=1e-9)
    assert as_float(proved.imaginary_interval) == pytest.approx(imaginary, abs=1e-12)
    if isinstance(proved.imaginary_interval, Enclosure):
        assert proved.imaginary_interval.lower**2 <= round(imaginary**2) <= proved.imaginary_interval.upper**2


@pytest.mark.parametrize(
    ("numerator", "denominator", "a_stable"),
    [
        ((1,), (1, 1), False),  # a pole at -1
        ((1,), (1, 0, 1), False),  # poles on the imaginary axis
        ((1,), (1, -1, 1), False),  # poles on the right, but |Q(iy)|^2 = 1 - y^2 + y^4
        ((1,), (1, -1, F(1, 2)), True),  # the Pade approximation: 1 + y^4 / 4
        ((1, F(1, 2), F(1, 12)), (1, F(-1, 2), F(1, 12)), True),  # two-stage Gauss
        ((1, 1, F(1, 2)), (1,), False),
        ((1, F(2, 3), F(1, 6)), (1, F(-1, 3)), False),  # above the diagonal: R(infinity) = infinity
        ((-1,), (1,), True),
    ],
)
def test_a_stability_of_rational_functions(
    numerator: tuple[Fraction, ...], denominator: tuple[Fraction, ...], a_stable: bool
) -> None:
    """Poles right of the axis, |R| <= 1 on it."""
    assert is_A_stable(StabilityFunction.of(numerator, denominator)) is a_stable


@given(theta=st.fractions(0, 1, max_denominator=40))
def test_both_ways_to_an_answer_agree(theta: Fraction) -> None:
    """Of the theta method as a multistep method, by its locus, and as a Runge-Kutta method, by R."""
    multistep = LinearMultistep((1,), (1 - theta,), theta)
    tableau = RungeKutta(((0, 0), (1 - theta, theta)), (1 - theta, theta))
    one, other = card(multistep), card(tableau)
    for name in ("order", "is_A_stable", "is_L_stable", "real_interval", "imaginary_interval", "stability_function"):
        assert getattr(one, name) == getattr(other, name), name


NUMBERS = st.fractions(-2, 2, max_denominator=6)


@st.composite
def tableaus(draw: st.DrawFn, *, explicit: bool) -> RungeKutta:
    """Tableaus of one to four stages."""
    stages = draw(st.integers(1, 4))
    lengths = range(stages) if explicit else [stages] * stages
    rows = [draw(st.lists(NUMBERS, min_size=n, max_size=n)) for n in lengths]
    return RungeKutta(rows, draw(st.lists(NUMBERS, min_size=stages, max_size=stages)))


@given(method=tableaus(explicit=True), z=NUMBERS)
def test_r_is_the_step_on_the_linear_equation(method: RungeKutta, z: Fraction) -> None:
    """Exactly, of every explicit tableau."""
    value = sum(c * z**j for j, c in enumerate(method.linear.numerator))
    assert method.linear.denominator == (1,)
    assert method.step([F(1)], lambda y: z * y) == value


@given(method=tableaus(explicit=False), z=st.fractions(-1, 1, max_denominator=9).map(lambda z: z / 20))
def test_r_is_the_step_of_an_implicit_tableau(method: RungeKutta, z: Fraction) -> None:
    """To rounding, where its equations are contractive."""
    assert method.step([1.0], lambda y: float(z) * y) == pytest.approx(method.linear(float(z)), abs=1e-9)


@given(method=tableaus(explicit=True))
def test_verdicts_hold_at_samples(method: RungeKutta) -> None:
    """|R| <= 1 within both intervals, > 1 just beyond; no explicit method that moves is A-stable."""
    function = method.linear
    assert is_A_stable(function) is (len(function.numerator) == 1 and abs(function.numerator[0]) <= 1)
    assert not is_L_stable(function)
    for length, axis in ((real_interval(function), -1), (imaginary_interval(function), 1j)):
        if length == math.inf:
            assert len(function.numerator) == 1
            continue
        for part in (0.01, 0.3, 0.7, 0.99):
            assert abs(function(axis * part * as_float(length))) <= 1 + 1e-9


def test_rows_of_a_tableau() -> None:
    """Short rows are padded; what is not a tableau is refused."""
    assert RungeKutta(((0, 0), (1, 0)), ("0.5", 0.5)) == HEUN
    assert HEUN.is_explicit
    assert not RADAU_IIA.is_explicit
    assert HEUN.coefficients() == LinearMultistep((1,), (1,))
    with raises(ValueError, "2 rows of a", "got 1"):
        RungeKutta(((),), (1, 0))
    with raises(ValueError, "at most 1 entries", "got 1 rows of 2"):
        RungeKutta(((0, 1),), (1,))
    with raises(ValueError, "1 to 16", "got 0"):
        RungeKutta((), ())
    with raises(ValueError, "a[1][0]"):
        RungeKutta(((), ("x",)), (1, 0))


def test_formulas() -> None:
    """As they are written in books."""
    assert str(HEUN) == "y[n+1] = y[n] + h (1/2 k1 + 1/2 k2), k1 = f(y[n]), k2 = f(y[n] + h k1)"
    assert str(MIDPOINT) == "y[n+1] = y[n] + h k2, k1 = f(y[n]), k2 = f(y[n] + 1/2 h k1)"
    assert str(RungeKutta(((), (-2,)), (0, -1))) == "y[n+1] = y[n] - h k2, k1 = f(y[n]), k2 = f(y[n] - 2 h k1)"


def test_the_order_conditions_are_those_of_butcher() -> None:
    """Two stages: sum b = 1 and sum b c = 1/2, written out."""
    for x, y in product((F(1, 3), F(1, 2), F(2, 3), F(1)), repeat=2):
        method = RungeKutta(((), (x,)), (1 - y, y))
        expected = 2 if y * x == F(1, 2) else 1
        assert method.order == expected
