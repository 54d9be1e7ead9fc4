"""What the page's scripts decide is what Python decides: run by node, on the same numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from fixtures import ROOT
from fixtures.pages.families import family_methods
from stabzoo.claims import scheme_reports
from stabzoo.methods import LinearMultistep, OneLeg, SecondOrderMultistep
from stabzoo.methods.multistep import exact
from stabzoo.page.families import family
from stabzoo.stability import card, certify, verify_certificate

Decided = Callable[..., dict[str, list[Any]]]
TINY = Fraction(1, 10**30)


def texts(numbers: Iterable[Fraction]) -> list[str]:
    """As JSON holds them."""
    return [str(number) for number in numbers]


def of_roots(polynomials: list[tuple[int, ...]]) -> tuple[Fraction, ...]:
    """The alpha of a product of integer polynomials, highest power first."""
    product = [Fraction(1)]
    for p in polynomials:
        terms = [[a * c for c in p] for a in product]
        product = [
            sum((row[i - j] for j, row in enumerate(terms) if 0 <= i - j < len(p)), Fraction(0))
            for i in range(len(product) + len(p) - 1)
        ]
    return tuple(-c / product[0] for c in product[1:])


def coefficient_sets() -> list[tuple[Fraction, ...]]:
    """The stored cases, pairs no float64 can tell apart, and random ones of which many are on the boundary."""
    cases = json.loads((ROOT / "tests" / "stability" / "root_condition.json").read_text())["cases"]
    sets = [tuple(map(Fraction, case["alphas"])) for case in cases]
    sets += [(1 - k, k) for k in (-1 + TINY, Fraction(-1), -1 - TINY, 1 + TINY, 1 - TINY)]
    draw = random.Random(0)
    for _ in range(1500):
        sets.append(tuple(Fraction(draw.randint(-9, 9), draw.randint(1, 9)) for _ in range(draw.randint(1, 6))))
    factors = [
        (1, -1),
        (1, 1),
        (1, 0, 1),
        (1, 1, 1),
        (1, -1, 1),
        (5, -6, 5),
        (2, 1),
        (3, -1),
        (4, 2, 1),
        (1, 0),
        (10**15, 1 - 10**15),
        (1, 2),
    ]
    for _ in range(1500):
        sets.append(of_roots(draw.choices(factors, weights=[4, 2, 2, 1, 1, 2, 3, 3, 2, 2, 2, 1], k=draw.randint(1, 5))))
    return sets


def test_verdicts_and_proofs(decided: Decided) -> None:
    """Status and certificate are Python's on thousands of coefficient sets; each side verifies the other's proof."""
    sets = coefficient_sets()
    found = decided(verdicts=[{"alpha": texts(alpha)} for alpha in sets])["verdicts"]
    statuses = set()
    for alpha, verdict in zip(sets, found, strict=True):
        method = LinearMultistep(alpha, ()) if all(a == 0 or abs(a) < 10**100 for a in alpha) else None
        proof = certify(alpha)
        assert verdict["isZeroStable"] is proof.is_zero_stable, alpha
        assert verdict["proof"] == proof.to_dict(), alpha
        assert verdict["verified"] is True
        assert method is None or verdict["status"] == card(method).status, alpha
        statuses.add(verdict["status"])
    assert statuses == {"strong", "weak", "unstable"}


def test_second_order(decided: Decided) -> None:
    """Of methods for y'' = f roots on the circle may be double."""
    sets = [(2, -1), (3, -3, 1), (Fraction(5, 2), -1), (0, 2, 0, -1), *coefficient_sets()[-300:]]
    sets = [tuple(map(Fraction, alpha)) for alpha in sets]
    found = decided(verdicts=[{"alpha": texts(alpha), "secondOrder": True} for alpha in sets])["verdicts"]
    for alpha, verdict in zip(sets, found, strict=True):
        proof = certify(SecondOrderMultistep(LinearMultistep(alpha, (1,))))
        assert verdict["isZeroStable"] is proof.is_zero_stable, alpha
        assert verdict["proof"] == proof.to_dict(), alpha
        assert verdict["verified"] is True, alpha


def test_a_wrong_certificate_proves_nothing(decided: Decided) -> None:
    """Of every change to a certificate the scripts say what Python says of it."""
    checks = []
    for alpha in [
        ("1/3", "5/9", "1/9"),
        ("3", "-3", "1"),
        ("0", "1", "0"),
        ("9/2", "-5", "3/2"),
        ("-1/2",),
        ("5/2", "-1"),
    ]:
        numbers = tuple(map(Fraction, alpha))
        proof: dict[str, Any] = dict(certify(numbers).to_dict())
        wrong = [
            proof,
            {**proof, "reflection": proof["reflection"][1:]},
            {**proof, "witness": ["1", "1"]},
            {**proof, "derivative": ["1/2"]},
        ]
        wrong += [{**proof, "reflection": [*proof["reflection"][:-1], value]} for value in ("1", "-1", "3", "1/7")]
        wrong += [
            {**proof, "ending": ending, "is_zero_stable": holds}
            for ending, holds in [
                ("schur", True),
                ("simple von neumann", True),
                ("root outside", False),
                ("not self-inversive", False),
                ("derivative not schur", False),
            ]
        ]
        checks += [(numbers, candidate) for candidate in wrong]
    expected = [verify_certificate(alpha, proof) for alpha, proof in checks]
    found = decided(checks=[{"alpha": texts(alpha), "proof": proof} for alpha, proof in checks])["checks"]
    assert found == expected
    assert sum(expected) < len(expected) / 2


def test_numbers_read_as_in_python(decided: Decided) -> None:
    """Fractions, decimals and what is none."""
    numbers = [
        "-9/5", " 1 / 3 ", "+2", "-0.75", ".5", "5.", "1e-3", "-1.000000000000000000000000000001", "1E+2", "\u22121/2", "0/7", "6/-3", "1/0",
        "", ".", "e5", "1e1001", "nan", "inf", "0x10", "1_000", "--1", "9" * 1001, "1/3/5", "1e-1000",
    ]  # fmt: skip

    def python(number: str) -> str:
        try:
            return str(exact(number))
        except ValueError:
            return "refused"

    assert decided(numbers=numbers)["numbers"] == list(map(python, numbers))


def test_families_are_the_schemes(decided: Decided) -> None:
    """At values beyond those from which they were recovered: coefficients, order, error constant and formula."""
    values = [Fraction(-9, 5), -1 + TINY, -1 - TINY, Fraction(11, 13), Fraction(355, 113), Fraction(1, 2)]
    asked, expected = [], []
    for variant, value, method in family_methods(values):
        asked.append({"variant": variant, "value": str(value)})
        expected.append(method)
    assert len(asked) > 60
    for method, case, found in zip(expected, asked, decided(methods=asked)["methods"], strict=True):
        coefficients = method.coefficients()
        assert found["alpha"] == texts(coefficients.alpha), case
        assert found["beta"] == texts(coefficients.beta), case
        assert found["beta_next"] == str(coefficients.beta_next), case
        if type(method) in (LinearMultistep, OneLeg):
            assert found["order"] == method.order, case
            constant = method.error_constant
            assert found["error_constant"] == (None if constant is None else str(constant)), case
            assert found["formula"] == str(method).replace("= 0 + ", "= "), case
        else:
            assert case["variant"]["order"] == ("none" if method.order is None else str(method.order))
            assert case["variant"]["formula"] in (None, str(method))


def test_a_pole_is_no_method(decided: Decided) -> None:
    """Where a coefficient divides by zero there is none."""
    (report,) = (r for r in scheme_reports() if r.name == "zerosnet")
    found = family(report)
    assert found
    (variant,) = found["variants"]
    assert "0" in variant["refused"]
    (refused,) = decided(methods=[{"variant": variant, "value": "0"}])["methods"]
    assert set(refused) == {"refused"}
