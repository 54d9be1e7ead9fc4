"""The stability intervals that the page's scripts decide are those of Python: exact, or enclosed round the same number."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from fixtures.pages.families import family_methods
from stabzoo import families
from stabzoo.methods import LinearMultistep, OneLeg
from stabzoo.stability import card
from stabzoo.stability.enclosure import Real
from stabzoo.stability.intervals import imaginary_interval, real_interval

Decided = Callable[..., dict[str, list[Any]]]


def product(p: Sequence[Any], q: Sequence[Any]) -> list[Fraction]:
    """Of two polynomials, highest power first."""
    found = [Fraction(0)] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            found[i + j] += Fraction(a) * b
    return found


def of_polynomials(rho: Sequence[Any], sigma: Sequence[Any]) -> LinearMultistep:
    """The method with these rho and sigma, up to a factor."""
    first, *past = [Fraction(b) / rho[0] for b in sigma]
    return LinearMultistep([-Fraction(r) / rho[0] for r in rho[1:]], past, first)


def random_methods(count: int) -> list[LinearMultistep]:
    """Of one to five steps; stable ones, ones with roots on the circle, explicit and implicit ones."""
    draw = random.Random(0)
    factors = [(1, -1), (1, 1), (1, 0, 1), (1, 1, 1), (2, 1), (3, -1), (4, 2, 1), (1, 0), (5, -6, 5)]
    found: list[LinearMultistep] = []
    while len(found) < count:
        rho: Sequence[Any] = (1, -1)
        for factor in draw.choices(factors, k=draw.randint(0, 2)):
            rho = product(rho, factor)
        sigma = [Fraction(draw.randint(-4, 4), draw.randint(1, 4)) for _ in rho]
        sigma[0] *= draw.random() < 0.5
        found.append(of_polynomials(rho, sigma))
    return found


def degenerate_methods() -> list[LinearMultistep]:
    """With a common factor, on the circle or not; with sigma = 0, or a multiple of rho; symmetric ones."""
    draw = random.Random(1)
    found = [LinearMultistep((1, 0), ()), LinearMultistep((2,), ()), LinearMultistep((0, 1), (2, 0))]
    for common in [(1, 1), (1, 0, 1), (1, -1), (1, 1, 1), (2, 1), (1, 2)]:
        for rho in [(1, -1), (1, 0, -1), (1, -1, 0), (2, -3, 1)]:
            for _ in range(5):
                sigma = [Fraction(draw.randint(-3, 3), 2) for _ in rho]
                found.append(of_polynomials(product(rho, common), product(sigma, common)))
    for scale in (Fraction(1, 2), Fraction(-1, 3)):
        for rho in [(1, -1), (1, 0, -1), (2, -1, -1), (1, 1, 1), (1, -2, 1)]:
            found.append(of_polynomials(rho, [scale * c for c in rho]))
            found.append(of_polynomials(product(rho, (1, 0)), [0, *(scale * c for c in rho)]))
    return found


def named_methods() -> list[LinearMultistep]:
    """Of the families, to six steps."""
    kinds = [families.adams_bashforth, families.adams_moulton, families.bdf, families.nystrom, families.milne_simpson]
    return [kind(steps) for kind in kinds for steps in range(1, 7)]


def asked(method: LinearMultistep) -> dict[str, Any]:
    """As the scripts take it."""
    return {
        "alpha": list(map(str, method.alpha)),
        "beta": list(map(str, method.beta)),
        "beta_next": str(method.beta_next),
    }


def is_same(length: Real, found: dict[str, str]) -> bool:
    """Rational lengths to the last digit; of others both enclosures hold the number, the page's to 10^-15 of it."""
    if length == math.inf or length == 0:
        return found["kind"] == ("empty" if length == 0 else "infinite")
    if isinstance(length, Fraction):
        return found["kind"] == "exact" and Fraction(found["value"]) == length
    assert not isinstance(length, float)
    if found["kind"] != "enclosed":
        return False
    lower, upper = Fraction(found["lower"]), Fraction(found["upper"])
    return max(lower, length.lower) <= min(upper, length.upper) and upper - lower < lower / 10**15


def test_the_lengths_are_pythons(decided: Decided) -> None:
    """Of the named families, of random methods, and where rho and sigma are not as they are in general."""
    methods = [*named_methods(), *degenerate_methods(), *random_methods(300)]
    kinds = set()
    for method, found in zip(methods, decided(intervals=list(map(asked, methods)))["intervals"], strict=True):
        assert is_same(real_interval(method), found["real"]), method
        assert is_same(imaginary_interval(method), found["imaginary"]), method
        kinds |= {(axis, found[axis]["kind"]) for axis in ("real", "imaginary")}
    assert len(kinds) == 8


def test_every_scheme(decided: Decided) -> None:
    """At values of the parameters, those beside which no float64 sees a difference included."""
    tiny = Fraction(1, 10**30)
    values = [Fraction(-9, 5), -1 + tiny, Fraction(11, 13), Fraction(1, 2), 1 - tiny, Fraction(1, 10)]
    methods: list[LinearMultistep] = []
    for variant, _, method in family_methods(values):
        if variant["intervals"]:
            proved = card(method).to_dict()
            assert variant["intervals"].get("real", "not decided") == proved["real_interval"]
            assert proved["imaginary_interval"] in variant["intervals"].values()
        else:
            assert type(method) in (LinearMultistep, OneLeg), "the page would have to decide these"
            methods.append(method.coefficients())
    assert len(methods) > 30
    for method, found in zip(methods, decided(intervals=list(map(asked, methods)))["intervals"], strict=True):
        assert is_same(real_interval(method), found["real"]), method
        assert is_same(imaginary_interval(method), found["imaginary"]), method


def test_long_coefficients_are_left_to_python(decided: Decided) -> None:
    """Which is said; a slider need not wait for them."""
    method = LinearMultistep([Fraction(10**90 + j, 10**91) for j in range(6)], (1,))
    (found,) = decided(intervals=[asked(method)])["intervals"]
    for axis in ("real", "imaginary"):
        assert found[axis]["kind"].startswith("not decided here")
