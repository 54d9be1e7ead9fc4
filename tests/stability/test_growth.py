"""Norms of powers and products of companion matrices, against naive exact matrices."""

import json
import math
import pickle
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.messages import raises, says
from fixtures.methods import zerosnet
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import Enclosure, card, growth_curve, is_zero_stable, product_growth
from stabzoo.stability.enclosure import as_float


def lm_resnet(value):
    """Return (1 - k, k) with the consistent weight 1 + k."""
    k = Fraction(value)
    return LinearMultistep((1 - k, k), (1 + k,))


def companion(alpha, d):
    """Return the companion matrix of `alpha` padded to d steps."""
    alpha = [*alpha, *[Fraction(0)] * (d - len(alpha))]
    return [alpha] + [[Fraction(int(j == i)) for j in range(d)] for i in range(d - 1)]


def times(a, b):
    """Return the product of two matrices."""
    return [
        [sum((x * y for x, y in zip(row, column, strict=True)), Fraction(0)) for column in zip(*b, strict=True)]
        for row in a
    ]


def norm(a):
    """Return the maximum row sum."""
    return max(sum(map(abs, row)) for row in a)


def naive_growth(alpha, n):
    """Return the largest norm of the powers 0..n, by multiplying matrices."""
    c = companion(alpha, len(alpha))
    power, largest = [[Fraction(int(i == j)) for j in range(len(c))] for i in range(len(c))], Fraction(1)
    for _ in range(n):
        power = times(c, power)
        largest = max(largest, norm(power))
    return largest


rationals = st.fractions(min_value=-2, max_value=2, max_denominator=9)


@settings(max_examples=100)
@given(st.lists(rationals, min_size=1, max_size=5), st.integers(0, 15))
def test_growth_is_the_largest_norm_of_a_power(alpha, n):
    """The row recurrence in integers against matrices of Fractions."""
    assert card(LinearMultistep(alpha, (1,))).growth(n) == naive_growth(alpha, n)


def test_growth_refuses_negative_depth():
    """There is no power -1."""
    with raises(ValueError, "n >= 0", "got -1"):
        card(zerosnet(1)).growth(-1)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (zerosnet(-1), 1),
        (zerosnet("-9/5"), 1),
        (zerosnet(-5), 1),
        (LinearMultistep(("3/4", 0, "1/4"), ("3/2",)), 1),
        (zerosnet(10), "6/5"),
        (zerosnet(3), "5/3"),
        (zerosnet(1), 3),
        (zerosnet("1/2"), "79/8"),
        (zerosnet("1/3"), math.inf),
        (zerosnet("1/4"), math.inf),
        (lm_resnet("-1/2"), 3),
        (lm_resnet("-99/100"), 199),
        (lm_resnet(-1), math.inf),
        (lm_resnet(Fraction(1, 10**30) - 1), 2 * 10**30 - 1),
        (lm_resnet("1/2"), 1),
        (lm_resnet(1), 1),
        (LinearMultistep((1,), (1,)), 1),
        (LinearMultistep(("1/2",), (1,)), 1),
        (LinearMultistep(("-1",), (1,)), 1),
        (LinearMultistep((0, 0), (1,)), 1),
        (LinearMultistep((0, 0, 0, "-7"), (1,)), math.inf),
    ],
    ids=str,
)
def test_stability_constant_exactly(method, expected):
    """Values of the schemes, attained or limits."""
    assert card(method).stability_constant == (expected if expected == math.inf else Fraction(expected))


def test_stability_constant_near_one_third():
    """Zero-stable, but amplifying 252 times."""
    value = card(zerosnet("0.34")).stability_constant
    assert isinstance(value, Fraction)
    assert value == naive_growth(zerosnet("0.34").alpha, 500)
    assert float(value) == pytest.approx(252, abs=0.5)


def test_limits_of_lm_resnet():
    """(1 - k, k) with -1 < k < 0: the rows tend to (1, k)/(1 + k), sup = (1 - k)/(1 + k), never attained."""
    for k in (Fraction(-i, 20) for i in range(1, 20)):
        result = card(lm_resnet(k))
        assert result.stability_constant == (1 - k) / (1 + k)
        assert result.growth(40) < result.stability_constant


stable_factors = st.one_of(
    st.fractions(min_value=Fraction(-9, 10), max_value=Fraction(9, 10), max_denominator=10).map(lambda r: (1, -r)),
    st.tuples(st.integers(-6, 6), st.integers(1, 6)).map(
        lambda p: (1, Fraction(-p[0], 5), Fraction(p[0] ** 2 + p[1] ** 2, 100))
    ),
)
unit_factors = st.sampled_from([(1, -1), (1, 1), (1, 0, 1), (1, 1, 1), (1, Fraction(-6, 5), 1), (1, -1, 0, 0, 1, -1)])


@st.composite
def zero_stable_alphas(draw):
    """Draw alpha of a product of factors inside the circle and simple ones on it."""
    rho = [Fraction(1)]
    chosen = draw(st.lists(stable_factors, min_size=1, max_size=4)) + draw(
        st.lists(unit_factors, max_size=2, unique=True)
    )
    for factor in chosen:
        rho = [
            sum((rho[i] * Fraction(factor[n - i]) for i in range(len(rho)) if 0 <= n - i < len(factor)), Fraction(0))
            for n in range(len(rho) + len(factor) - 1)
        ]
    return [-c for c in rho[1:]]


@settings(max_examples=80)
@given(zero_stable_alphas())
def test_stability_constant_bounds_every_power(alpha):
    """No power exceeds it and the powers come near its lower end."""
    method = LinearMultistep(alpha, (1,))
    value = card(method).stability_constant
    if not is_zero_stable(alpha):
        assert value == math.inf
        return
    seen = card(method).growth(400)
    lower, upper = (value.lower, value.upper) if isinstance(value, Enclosure) else (value, value)
    assert seen <= upper
    assert lower <= upper
    near = card(method).growth(4000) if lower > seen * (1 + Fraction(1, 10**9)) else seen
    assert lower <= near * (1 + Fraction(1, 10**4))  # the supremum is approached, also over phases


def times_polynomials(*factors):
    """Return the method whose rho is the product of factors (highest power first, leading coefficient 1)."""
    rho = [Fraction(1)]
    for factor in factors:
        rho = [
            sum((rho[i] * Fraction(factor[n - i]) for i in range(len(rho)) if 0 <= n - i < len(factor)), Fraction(0))
            for n in range(len(rho) + len(factor) - 1)
        ]
    return LinearMultistep([-c for c in rho[1:]], (1,))


def bounds(value):
    """Return the ends of an exact number or an enclosure."""
    return (value.lower, value.upper) if isinstance(value, Enclosure) else (value, value)


TINY = Fraction(1, 10**30)
LINE = (1, Fraction(-6, 5), 1)  # roots (3 +- 4i)/5: an angle that is no rational multiple of pi


@pytest.mark.parametrize(
    ("method", "supremum", "width"),
    [
        (LinearMultistep(("-1/5", "1/5", "1"), (1,)), 1.772542485937368560255734, 1e-40),
        (times_polynomials((1, -1), LINE, (1, Fraction(-10, 13), 1)), 65.2857142857143, 1e-40),  # independent angles
        (times_polynomials((1, -1), LINE, (1, Fraction(14, 25), 1)), 9.181818, 1e-4),  # twice the angle
        (zerosnet(Fraction(100000003, 300000000)), 177762971.43055, 1e-12),
        (times_polynomials((1, -1), (1, Fraction(-6, 5) * (1 - TINY), (1 - TINY) ** 2)), 9, 1e-4),
        (zerosnet(Fraction(1, 3) + TINY), 1.777777777777e30, 1e-9),
    ],
    ids=["one angle", "two angles", "dependent angles", "slow turn", "near the circle", "near a triple root"],
)
def test_a_supremum_that_no_power_attains_is_enclosed_narrowly(method, supremum, width):
    """The supremum over the phases of roots that never repeat, and the top of waves that no row is followed to."""
    value = card(method).stability_constant
    assert isinstance(value, Enclosure)
    assert value.upper - value.lower <= width * value.lower
    assert float(value) == pytest.approx(supremum, rel=max(width, 1e-6))
    assert card(method).growth(2000) <= value.upper


def test_powers_come_near_the_supremum_over_phases():
    """Of (z - 1)(z^2 + 6/5 z + 1), whose constant no power attains."""
    proved = card(LinearMultistep(("-1/5", "1/5", "1"), (1,)))
    constant = proved.stability_constant
    assert constant.lower * (1 - Fraction(1, 10**6)) < proved.growth(4000) < constant.lower
    assert str(constant) == "1.77254"


def test_positive_close_roots_exactly():
    """The hook bound: prod (1 + x)/(1 - x), here binomial(1999, 11), whose rows are no where near it for long."""
    close = [Fraction(1000 - j, 1000) for j in range(1, 12)]
    expected = math.comb(1999, 11)
    assert card(times_polynomials((1, -1), *[(1, -x) for x in close])).stability_constant == expected
    assert card(times_polynomials((1, 1), *[(1, x) for x in close])).stability_constant == expected
    twenty = [1 - Fraction(j, 10**6) for j in range(1, 21)]
    value = card(times_polynomials((1, -1), *[(1, -x) for x in twenty])).stability_constant
    assert value == math.prod((1 + x) / (1 - x) for x in twenty)


@pytest.mark.parametrize(
    "method",
    [
        times_polynomials((1, -1), (1, Fraction(1, 2)), *[(1, Fraction(j, 10**4) - 1) for j in range(1, 20)]),
        times_polynomials((1, -1), *[(1, Fraction(-99, 50), Fraction(9801 + j, 10**4)) for j in range(1, 11)]),
        times_polynomials(*[(1, Fraction(j, 1000) - 1) for j in range(1, 12)]),
        times_polynomials((1, -1), (1, 1 - TINY), (1, Fraction(1, 2))),
        times_polynomials((1, -1), *[[1] + [0] * (p - 1) + [1] for p in (4, 6, 10, 12)], (1, Fraction(1, 2))),
        times_polynomials((1, -1), *[[1] + [0] * (n - 1) + [Fraction(n - 1, n)] for n in range(2, 9)]),
    ],
    ids=["20 close roots", "close pairs", "no root 1", "beside -1", "42 steps", "36 steps"],
)
def test_every_constant_has_a_budget(method):
    """Roots that make the followed powers long, or the powers that matter late, still have bounds that hold."""
    proved = card(method)
    if not proved.is_zero_stable:
        assert proved.stability_constant == math.inf
        return
    lower, upper = bounds(proved.stability_constant)
    assert proved.growth(300) <= upper
    assert lower <= upper < 1000 * lower
    json.dumps(proved.to_dict(), allow_nan=False)


def test_a_constant_of_many_digits_is_text():
    """An exact number has no length at which `str` stops, nor has what is made of it."""
    constant = card(zerosnet("0.333334")).stability_constant
    assert isinstance(constant, Fraction)
    assert len(str(constant)) == len(f"{constant}") > 4300
    assert Fraction(constant) == constant == pickle.loads(pickle.dumps(constant))
    assert repr(constant).startswith("Fraction(")
    grown = product_growth([zerosnet(Fraction(1, 3) + TINY)] * 90)
    assert len(repr(grown)) > 4300
    assert card(zerosnet(Fraction(1, 3) + TINY)).growth(90) == grown.norm
    huge = product_growth([LinearMultistep((10**99,), (1,))] * 4)
    assert "1.00000e+396" in str(huge)
    assert json.loads(json.dumps(huge.to_dict(), allow_nan=False))["approximately"] is None


def naive_products(methods):
    """Return the largest norm of consecutive products and where it is first attained."""
    d = max(m.steps for m in methods)
    best, where = None, None
    for first in range(len(methods)):
        product = None
        for last in range(first, len(methods)):
            c = companion(methods[last].alpha, d)
            product = c if product is None else times(c, product)
            if best is None or norm(product) > best:
                best, where = norm(product), (first, last)
    return best, where


@settings(max_examples=80)
@given(st.lists(st.lists(rationals, min_size=1, max_size=3), min_size=1, max_size=6))
def test_product_growth_against_naive_products(alphas):
    """Norm, place and preconsistency against matrices of Fractions, mixed step counts included."""
    methods = [LinearMultistep(alpha, (1,)) for alpha in alphas]
    result = product_growth(methods)
    best, where = naive_products(methods)
    assert result.norm == best
    assert (result.first, result.last) == where
    assert result.is_preconsistent is all(sum(alpha) == 1 for alpha in alphas)


@settings(max_examples=40)
@given(st.lists(st.lists(rationals, min_size=1, max_size=3), min_size=1, max_size=6))
def test_growth_curve_against_naive_products(alphas):
    """At every block the largest norm of a product that ends there."""
    d, expected = max(map(len, alphas)), []
    for n in range(len(alphas)):
        product = norms = None
        for alpha in reversed(alphas[: n + 1]):
            c = companion(alpha, d)
            product = c if product is None else times(product, c)
            norms = max(norms or 0, norm(product))
        expected.append(norms)
    methods = [LinearMultistep(alpha, (1,)) for alpha in alphas]
    assert list(growth_curve(methods)) == expected
    assert max(expected) == product_growth(methods).norm


def test_blocks_that_are_stable_alone_may_grow_together():
    """Two zero-stable blocks in turn: the products grow without bound."""
    blocks = [zerosnet("0.35"), zerosnet(-1)] * 20
    assert all(is_zero_stable(block) for block in blocks)
    result = product_growth(blocks)
    assert result.norm > 10**9 > card(blocks[0]).stability_constant
    assert result.is_preconsistent
    data = json.loads(json.dumps(result.to_dict()))
    assert Fraction(data["norm"]) == result.norm
    assert data["approximately"] == pytest.approx(as_float(result.norm))


@pytest.mark.parametrize(
    ("alpha", "text"),
    [
        (times_polynomials(*[(1, Fraction(j, 1000) - 1) for j in range(1, 12)]).alpha, "between "),
        (times_polynomials((1, TINY**10 - 1), (1, 2 * TINY**10 - 1)).alpha, "between "),
    ],
)
def test_a_loose_enclosure_is_printed_as_one(alpha, text):
    """Never as its midpoint, which nobody has proved anything of; as JSON it claims no digit, and is JSON."""
    method = LinearMultistep(alpha, (1,))
    constant = card(method).stability_constant
    assert isinstance(constant, Enclosure)
    assert str(constant).startswith(text)
    data = json.loads(json.dumps(card(method).to_dict(), allow_nan=False))
    assert data["stability_constant"]["approximately"] is None
    assert Fraction(data["stability_constant"]["lower"]) == constant.lower


def test_a_constant_beyond_all_floats_is_json():
    """Roots 1 and 1 - 1e-900: exactly 2e900 - 1."""
    proved = card(times_polynomials((1, -1), (1, TINY**30 - 1)))
    assert proved.stability_constant == 2 * 10**900 - 1
    assert json.loads(json.dumps(proved.to_dict(), allow_nan=False))["stability_constant"] == str(2 * 10**900 - 1)


def test_an_enclosure_whose_ends_agree_is_a_number():
    """To the digits that it is printed with."""
    third = Fraction(1, 3)
    assert str(Enclosure(third, third + Fraction(1, 10**9))) == "0.333333"
    assert str(Enclosure(third, third + Fraction(1, 10**5))) == "between 0.333333 and 0.333343"


def test_product_growth_of_one_scheme_is_its_growth():
    """Equal blocks: products are powers."""
    blocks = [zerosnet("1/2")] * 30
    assert product_growth(blocks).norm == card(blocks[0]).growth(30)


def test_product_growth_of_a_deep_trained_network():
    """432 blocks with float32 parameters: exact, thousands of digits, and JSON-safe."""
    generator = random.Random(0)
    blocks = [zerosnet(Fraction(float(np.float32(generator.uniform(0.4, 1.6))))) for _ in range(432)]
    result = product_growth(blocks)
    largest = 0.0
    for first in range(0, 432, 16):
        product = np.eye(3)
        for block in blocks[first:]:
            product = np.array([[float(x) for x in row] for row in companion(block.alpha, 3)]) @ product
            largest = max(largest, float(abs(product).sum(axis=1).max()))
    assert largest * (1 - 1e-9) <= float(result.norm)
    product = np.eye(3)
    for block in blocks[result.first : result.last + 1]:
        product = np.array([[float(x) for x in row] for row in companion(block.alpha, 3)]) @ product
    assert abs(product).sum(axis=1).max() == pytest.approx(float(result.norm), rel=1e-9)
    assert json.dumps(result.to_dict())


def test_product_growth_of_nothing_is_refused():
    """There is no product of no blocks."""
    with raises(ValueError, "one block"):
        product_growth([])


def test_a_product_growth_says_what_it_is():
    """In one sentence, with the value and the blocks."""
    text = str(product_growth([LinearMultistep((2,), (1,)), LinearMultistep((3,), (1,))]))
    says(text, "||C_n ... C_m||_inf = 6", "blocks 0 to 1", "exactly")
