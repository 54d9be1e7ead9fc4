"""Norms of powers and products of companion matrices, against naive exact matrices."""

import json
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.messages import raises, says
from fixtures.methods import zerosnet
from stabzoo.multistep import LinearMultistep
from stabzoo.stability import Enclosure, card, is_zero_stable, product_growth
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


@settings(max_examples=100, deadline=None)
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


@settings(max_examples=80, deadline=None)
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
    assert lower <= near * (1 + Fraction(1, 10**6))  # the supremum is approached


def test_enclosure_when_the_unit_roots_never_repeat():
    """An angle that is no rational multiple of pi: the supremum is proved to lie between what is seen and a bound."""
    value = card(LinearMultistep(("17/10", "-8/5", "1/2"), (1,))).stability_constant  # (z - 1/2)(z^2 - 6/5 z + 1)
    assert isinstance(value, Enclosure)
    seen = naive_growth((Fraction(17, 10), Fraction(-8, 5), Fraction(1, 2)), 300)
    assert seen <= value.upper
    assert value.lower <= value.upper < 2 * seen


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


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(rationals, min_size=1, max_size=3), min_size=1, max_size=6))
def test_product_growth_against_naive_products(alphas):
    """Norm, place and preconsistency against matrices of Fractions, mixed step counts included."""
    methods = [LinearMultistep(alpha, (1,)) for alpha in alphas]
    result = product_growth(methods)
    best, where = naive_products(methods)
    assert result.norm == best
    assert (result.first, result.last) == where
    assert result.is_preconsistent is all(sum(alpha) == 1 for alpha in alphas)


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
        (("-1/5", "1/5", "1"), "between 1.77253 and"),
        (((2 * 10**900 - 1, 10**900), (1 - 10**900, 10**900)), "between 2.00000e+900 and 4.00000e+900"),
    ],
)
def test_a_loose_enclosure_is_printed_as_one(alpha, text):
    """Never as its midpoint, which nobody has proved anything of; as JSON it claims no digit, and is JSON."""
    method = LinearMultistep([Fraction(*a) if isinstance(a, tuple) else a for a in alpha], (1,))
    constant = card(method).stability_constant
    assert isinstance(constant, Enclosure)
    assert str(constant).startswith(text)
    data = json.loads(json.dumps(card(method).to_dict(), allow_nan=False))
    assert data["stability_constant"]["approximately"] is None
    assert Fraction(data["stability_constant"]["lower"]) == constant.lower


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
