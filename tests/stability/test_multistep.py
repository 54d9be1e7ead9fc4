"""The number parser and the linear multistep method."""

import pickle
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.messages import raises
from fixtures.methods import zerosnet
from stabzoo.methods.multistep import MAX_DIGITS, MAX_STEPS, HasCoefficients, LinearMultistep, exact, meant
from stabzoo.stability import card


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, Fraction(3)),
        (-7, Fraction(-7)),
        (Fraction(2, 6), Fraction(1, 3)),
        (Decimal("-0.750"), Fraction(-3, 4)),
        (Decimal("1E+2"), Fraction(100)),
        ("1/3", Fraction(1, 3)),
        (" -0.75 ", Fraction(-3, 4)),
        ("+4/6", Fraction(2, 3)),
        ("1e-3", Fraction(1, 1000)),
        (".5", Fraction(1, 2)),
        ("2.", Fraction(2)),
        ("2.5E2", Fraction(250)),
        (0.1, Fraction(1, 10)),
        (-1e-30, Fraction(-1, 10**30)),
        (1e300, Fraction(10**300)),
        (5e-324, Fraction(5, 10**324)),
        (np.float64(0.1), Fraction(1, 10)),
        pytest.param("9" * MAX_DIGITS, Fraction(10**MAX_DIGITS - 1), id="longest"),
    ],
)
def test_exact_reads_every_kind_of_number(value, expected):
    """Ints, Fractions, Decimals, strings, and floats as printed."""
    assert exact(value) == expected
    assert type(exact(value)) is Fraction


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(-3), "-3"),
        (np.uint8(7), "7"),
        (np.float32(0.1), "1/10"),
        (np.float16(0.5), "1/2"),
        (np.longdouble("0.25"), "1/4"),
        (np.float64(0.1), "1/10"),
        (" 1 / 3 ", "1/3"),
        ("\N{MINUS SIGN}9/5", "-9/5"),
    ],
)
def test_numbers_of_other_libraries_are_what_they_say(value, expected):
    """Integers and rationals exactly, floats the shortest decimal that they print; a typographer's minus is a minus."""
    assert exact(value) == Fraction(expected)


def test_arrays_are_coefficients():
    """A row of a table, with the types that NumPy has for it."""
    method = LinearMultistep(np.array([1, 0]), np.array([1.5, -0.5]))
    assert method == LinearMultistep((1, 0), ("3/2", "-1/2"))


def test_a_coefficient_beyond_the_range_is_named():
    """With its place and size; only f can be rescaled."""
    with raises(ValueError, "alpha[1]", "1.000e+101") as caught:
        LinearMultistep((1, "1e101"), (1,))
    assert "rescale" not in str(caught.value)
    with raises(ValueError, "beta[0]", "1.000e-101", "rescale f"):
        LinearMultistep((1,), ("1e-101",))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (True, "bool"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (Decimal("-Infinity"), "finite"),
        ("nan", "finite"),
        ("", "got ''"),
        (" ", "got ''"),
        (".", "got '.'"),
        ("1/0", "denominator must not be zero"),
        ("1/", "correct the spelling"),
        ("1/-3", "correct the spelling"),
        ("1_000", "correct the spelling"),
        ("0x10", "correct the spelling"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "correct the spelling"),
        ("1e999999999", f"at most {MAX_DIGITS}"),
        ("1e-9999999999999", f"at most {MAX_DIGITS}"),
        (Decimal("1e999999"), f"at most {MAX_DIGITS}"),
        pytest.param("1" * 10**7, f"at most {MAX_DIGITS}", id="ten million digits"),
        pytest.param("1" * (MAX_DIGITS + 1), f"at most {MAX_DIGITS}", id="one digit too many"),
        pytest.param(10**MAX_DIGITS, f"at most {MAX_DIGITS}", id="int one digit too long"),
        pytest.param(Fraction(1, 10**MAX_DIGITS), f"at most {MAX_DIGITS}", id="long denominator"),
        pytest.param(10**10000, f"at most {MAX_DIGITS}", id="huge int"),
        (None, "got a NoneType"),
        (1j, "got a complex"),
        (b"1", "got a bytes"),
        ([1], "got a list"),
        (np.bool_(True), "convert it"),
    ],
)
def test_exact_refuses_everything_else(value, why):
    """One exception, one short sentence, and at once even for huge numbers."""
    with pytest.raises(ValueError, match=why) as caught:
        exact(value)
    assert str(caught.value).startswith("expected")
    assert len(str(caught.value)) < 250


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_exact_float_is_the_printed_decimal_and_round_trips(value):
    """The shortest decimal of any float gives the float back."""
    assert exact(value) == Fraction(repr(value))
    assert float(exact(value)) == value


def test_method_pads_beta_and_orders_its_polynomials():
    """Highest power first, sigma with beta_next in front."""
    method = LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",))
    assert method.alpha == (Fraction(1, 3), Fraction(5, 9), Fraction(1, 9))
    assert method.beta == (Fraction(16, 9), 0, 0)
    assert method.steps == 3
    assert method.is_explicit
    assert method.rho == (1, Fraction(-1, 3), Fraction(-5, 9), Fraction(-1, 9))
    assert method.sigma == (0, Fraction(16, 9), 0, 0)
    implicit = LinearMultistep([1], [0.5], 0.5)
    assert implicit.sigma == (Fraction(1, 2), Fraction(1, 2))
    assert not implicit.is_explicit


def test_method_is_a_value():
    """Equal, hashable, immutable, and its own coefficients."""
    one, same = LinearMultistep((1,), (1,)), LinearMultistep(["1"], [1.0], "0")
    assert one == same
    assert hash(one) == hash(same)
    assert one.coefficients() is one
    assert isinstance(one, HasCoefficients)
    assert pickle.loads(pickle.dumps(one)) == one
    assert replace(one, beta_next="1/2") == LinearMultistep((1,), (1,), Fraction(1, 2))
    with pytest.raises(FrozenInstanceError):
        one.alpha = ()  # type: ignore[misc]


def test_trailing_zeros_are_steps():
    """Leapfrog written with three steps keeps order and error constant."""
    leapfrog, padded = LinearMultistep((0, 1), (2,)), LinearMultistep((0, 1, 0), (2,))
    assert (leapfrog.steps, padded.steps) == (2, 3)
    assert leapfrog.order == padded.order == 2
    assert leapfrog.error_constant == padded.error_constant == Fraction(1, 6)


@pytest.mark.parametrize(
    ("alpha", "beta", "beta_next", "facts"),
    [
        ((), (), 0, ("one alpha",)),
        ((1,), (1, 0), 0, ("betas", "alphas (1)", "got 2")),
        ("1", (1,), 0, ("alpha", "sequence", "str")),
        (1, (1,), 0, ("alpha", "sequence", "int")),
        ((1,), "1/2", 0, ("beta", "sequence", "str")),
        ((1,), {1}, 0, ("beta", "sequence", "set")),
        ({1: 1}, (1,), 0, ("alpha", "sequence", "dict")),
        ((1,) * (MAX_STEPS + 1), (1,), 0, (f"{MAX_STEPS} steps",)),
        ((1, float("nan")), (1,), 0, ("alpha[1]", "finite")),
        (("1e101",), (1,), 0, ("alpha", "1e-100 to 1e100")),
        ((1,), ("1e-101",), 0, ("beta", "1e-100 to 1e100")),
        ((1,), (True,), 0, ("beta[0]", "bool")),
        ((1,), (1,), "one", ("beta_next: ", "'one'")),
    ],
)
def test_method_refuses(alpha, beta, beta_next, facts):
    """Every refusal names the argument and the entry."""
    with raises(ValueError, *facts):
        LinearMultistep(alpha, beta, beta_next)


def test_endless_iterators_are_refused_at_once():
    """Only as many entries are read as a method may have."""

    def ones():
        while True:
            yield 1

    with raises(ValueError, f"{MAX_STEPS} steps"):
        LinearMultistep(ones(), (1,))


GRID = [Fraction(p, q) for p in range(-24, 25) for q in (1, 4, 5, 7) if p]


def test_zerosnet_order_and_error_constant():
    """Order 2, 3 at -1/3; C_3 = (3l+1)/(6l); C_3/sigma(1) = (3l+1)/(3(3l-1))."""
    for x in GRID:
        method = zerosnet(x)
        assert method.is_consistent
        assert method.order == (3 if x == Fraction(-1, 3) else 2)
        if x != Fraction(-1, 3):
            assert method.truncation_constant(3) == (3 * x + 1) / (6 * x)
        if x != Fraction(-1, 3) and x != Fraction(1, 3):
            assert method.error_constant == (3 * x + 1) / (3 * (3 * x - 1))
    assert zerosnet("1/3").error_constant is None  # sigma = 0


def test_lm_resnet_order_needs_the_weight_one_plus_k():
    """With the weight 2k + 1 the method is preconsistent only."""
    for k in GRID:
        consistent = LinearMultistep((1 - k, k), (1 + k,))
        assert consistent.order == (2 if k == 1 else 1)
        if k not in (1, -1):
            assert consistent.error_constant == (1 - k) / (2 * (1 + k))
        printed = LinearMultistep((1 - k, k), (2 * k + 1,))
        assert printed.is_preconsistent
        assert (printed.order, printed.is_consistent, printed.error_constant) == (0, False, None)


def test_theta_order_and_error_constant():
    """Order 1, 2 at 1/2; error constant 1/2 - theta."""
    for theta in (Fraction(i, 12) for i in range(13)):
        method = LinearMultistep((1,), (1 - theta,), theta)
        assert method.order == (2 if theta == Fraction(1, 2) else 1)
        if theta != Fraction(1, 2):
            assert method.error_constant == Fraction(1, 2) - theta
    assert LinearMultistep((1,), ("1/2",), "1/2").error_constant == Fraction(-1, 12)


@pytest.mark.parametrize(
    ("alpha", "beta", "beta_next", "order", "constant"),
    [
        ((1,), (1,), 0, 1, "1/2"),
        ((1, 0), ("3/2", "-1/2"), 0, 2, "5/12"),  # Adams-Bashforth
        ((1, 0, 0), ("23/12", "-4/3", "5/12"), 0, 3, "3/8"),
        ((1, 0, 0, 0), ("55/24", "-59/24", "37/24", "-9/24"), 0, 4, "251/720"),
        ((1, 0), ("2/3", "-1/12"), "5/12", 3, "-1/24"),  # Adams-Moulton
        (("4/3", "-1/3"), (), "2/3", 2, "-1/3"),  # BDF2: C_3 / sigma(1) = (-2/9) / (2/3)
        ((0, 1), ("4/3", "1/3"), "1/3", 4, "-1/180"),  # Milne-Simpson
        (("-1/6", "11/12", "3/8", "-1/12", "-1/24"), ("9/4",), 0, 3, "23/108"),
        (("2/5", "12/25", "14/125", "1/125"), ("216/125",), 0, 2, None),
    ],
)
def test_classical_orders(alpha, beta, beta_next, order, constant):
    """Adams, BDF, Milne-Simpson and single-beta methods."""
    method = LinearMultistep(alpha, beta, beta_next)
    assert method.order == order
    if constant is not None:
        assert method.error_constant == Fraction(constant)


@pytest.mark.parametrize("alpha", [("1/2",), (1, 1, 1), ("0.1", "0.2", "0.3")])
def test_without_the_root_one_there_is_no_order(alpha):
    """Where rho(1) != 0 the order is None, not 0 or 1."""
    method = LinearMultistep(alpha, (1,))
    assert (method.order, method.error_constant) == (None, None)
    assert not method.is_preconsistent
    assert not method.is_consistent


def test_truncation_constants_are_those_of_the_taylor_expansion():
    """With h = 1, f = y', y = t^q at the nodes 0..d (oldest 0): the defect is q! C_q."""
    method = LinearMultistep(("1/3", "5/9", "1/9"), ("16/9", "1/7"), "2/5")
    for q in range(1, 8):
        past = [3 - 1 - j for j in range(3)]
        defect = Fraction(3) ** q - sum(a * Fraction(t) ** q for a, t in zip(method.alpha, past, strict=True))
        slopes = [method.beta_next * Fraction(3) ** (q - 1)]
        slopes += [b * Fraction(t) ** (q - 1) for b, t in zip(method.beta, past, strict=True)]
        factorial = int(np.prod(range(1, q + 1)))
        assert method.truncation_constant(q) * factorial == defect - q * sum(slopes)
    with pytest.raises(ValueError, match="q >= 0"):
        method.truncation_constant(-1)


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (
            LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",)),
            "y[n+1] = 1/3 y[n] + 5/9 y[n-1] + 1/9 y[n-2] + 16/9 h f[n]",
        ),
        (LinearMultistep((1,), ("1/4",), "3/4"), "y[n+1] = y[n] + 3/4 h f[n+1] + 1/4 h f[n]"),
        (LinearMultistep((-1, 2), (0, -1)), "y[n+1] = -y[n] + 2 y[n-1] - h f[n-1]"),
        (LinearMultistep((2, -1), ()), "y[n+1] = 2 y[n] - y[n-1]"),
        (LinearMultistep((0,), (1,)), "y[n+1] = 0 + h f[n]"),
    ],
)
def test_str_is_the_update_formula(method, text):
    """Signs, unit weights and vanishing terms."""
    assert str(method) == text


@pytest.mark.parametrize(
    ("coefficients", "expected"),
    [
        ((("1.6363636", "-0.8181818", "0.1818182"), (), "0.5454545"), (("18/11", "-9/11", "2/11"), (), "6/11")),
        ((("1.636", "-0.818", "0.181"), (), "0.545"), (("18/11", "-9/11", "2/11"), (), "6/11")),  # truncated
        (((1.6363636363636365, -0.8181818181818182, 0.18181818181818182), (), 6 / 11), (("18/11", "-9/11", "2/11"), (), "6/11")),
        (((0.333, 0.333, 0.333), (1,)), (("1/3", "1/3", "1/3"), (1,))),  # keeps constants, and no more is known
        (((1, 0, 0), ("1.9167", "-1.3333", "0.4167")), ((1, 0, 0), ("23/12", "-4/3", "5/12"))),
        (((1,), ("0.333",), "0.666"), ((1,), ("1/3",), "2/3")),
        (((1,), ("0.33",), "0.67"), None),  # consistent as it is
        (((0.5, 0.4), (1,)), None),
        (((0.1, 0.2, 0.3), (0.4,)), None),
        ((("1/3", "1/3", "1/4"), (1,)), None),  # no decimals
        (((0,), (1,)), None),
    ],
)  # fmt: skip
def test_decimals_that_mean_fractions(coefficients: tuple[Any, ...], expected: tuple[Any, ...] | None) -> None:
    """They nearly sum to what they should; the card says what may have been meant."""
    method = LinearMultistep(*coefficients)
    assert meant(method) == (expected and LinearMultistep(*expected))
    assert ("did you mean" in card(method).reason) == bool(expected)
