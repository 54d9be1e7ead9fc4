"""The exact verdict: known cases, closed forms, polynomials built from known factors, certificates."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.messages import raises
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import Certificate, card, certify, is_zero_stable, verify_certificate
from stabzoo.stability.root_condition import satisfies_root_condition

CASES = json.loads((Path(__file__).parent / "root_condition.json").read_text())["cases"]


def test_the_case_file_is_complete():
    """No case is lost or doubled."""
    assert len({case["id"] for case in CASES}) == len(CASES) == 46
    assert sum(case["category"] != "control" for case in CASES) == 21
    assert {case["zero_stable"] for case in CASES} == {True, False}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_known_case(case):
    """Verdict, certificate, positions and multiplicities."""
    alpha = tuple(map(Fraction, case["alphas"]))
    assert is_zero_stable(alpha) is case["zero_stable"]
    certificate = certify(alpha)
    assert certificate.is_zero_stable is case["zero_stable"]
    assert verify_certificate(alpha, certificate)
    counts = case.get("exact_root_counts")
    roots = card(LinearMultistep(alpha, (1,))).roots
    assert sum(r.multiplicity for r in roots) == len(alpha)
    if counts:
        for position in ("inside", "on", "outside"):
            assert sum(r.multiplicity for r in roots if r.position == position) == counts[position]
        assert max((r.multiplicity for r in roots if r.position == "on"), default=0) == counts["max_mult_on"]
        if case["zero_stable"]:
            assert certificate.unit_roots == counts["on"]


def test_float_twins_are_told_apart():
    """(1 - k, k) with k = -1 +- 1e-30 has one and the same float64 form, stable on one side only."""
    tiny = Fraction(1, 10**30)
    stable, unstable = (2 - tiny, -1 + tiny), (2 + tiny, -1 - tiny)
    assert [*map(float, stable)] == [*map(float, unstable)]
    assert is_zero_stable(stable)
    assert not is_zero_stable(unstable)
    assert not is_zero_stable((2, -1))
    assert not verify_certificate(unstable, certify(stable))


def expanded(*factors):
    """Return alpha of a product of polynomials, coefficients highest power first."""
    rho = [Fraction(1)]
    for factor in factors:
        rho = [
            sum((rho[i] * Fraction(factor[n - i]) for i in range(len(rho)) if 0 <= n - i < len(factor)), Fraction(0))
            for n in range(len(rho) + len(factor) - 1)
        ]
    return tuple(-c / rho[0] for c in rho[1:])


def circle_pair(t):
    """Return the quadratic with the roots (1 +- it)^2 / (1 + t^2), of angle 2 arctan(t)."""
    return (1, -2 * (1 - t * t) / (1 + t * t), 1)


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ([(1, -1), (1, -1), (2, -1), (3, 1)], False),
        ([(1, -1), *[(10, -9)] * 11], True),
        ([(1, -1), *[(1000, -999)] * 5], True),
        ([(1, -1), *[(1000, -1000 + i) for i in range(1, 6)]], True),
        ([circle_pair(Fraction(55 + 9 * i, 1000)) for i in range(6)], True),
        ([circle_pair(Fraction(55 + 9 * i, 1000)) for i in (0, 1, 2, 3, 4, 4)], False),
        ([(1, -1), circle_pair(Fraction(1, 10**7))], True),
        ([(1, -1), (1, 1), (1, 1), *[(2, -1)] * 9], False),
        ([(1, -1), *[(10**25, -(10**25) + 1)] * 3], True),
        ([(1, -1), (10**25, -(10**25) - 1), (2, -1), (2, 1)], False),
    ],
)
def test_cases_that_fool_float_checkers(factors, expected):
    """Double roots on the circle, and clusters just inside it."""
    alpha = expanded(*factors)
    assert is_zero_stable(alpha) is expected
    assert verify_certificate(alpha, certify(alpha))


def test_one_step_closed_form():
    """Stable just if |alpha_0| <= 1."""
    for a in (Fraction(p, 12) for p in range(-30, 31)):
        assert is_zero_stable((a,)) is (abs(a) <= 1)


def test_two_step_closed_form():
    """(1 - k, k) is stable just if -1 < k <= 1."""
    for k in (Fraction(p, 24) for p in range(-72, 73)):
        assert is_zero_stable((1 - k, k)) is (-1 < k <= 1)


def test_three_step_closed_form():
    """Sum alpha = 1: alpha_0 + alpha_2 >= 0, alpha_0 - alpha_2 < 2, alpha_2 <= 1, not (-1, 1, 1)."""
    grid = [Fraction(p, 6) for p in range(-24, 25)]
    verdicts = []
    for a in grid:
        for c in grid:
            b = 1 - a - c
            expected = a + c >= 0 and a - c < 2 and c <= 1 and (a, b, c) != (-1, 1, 1)
            assert is_zero_stable((a, b, c)) is expected
            verdicts.append(expected)
    assert 100 < sum(verdicts) < len(verdicts) - 100


def test_zerosnet_closed_form():
    """Stable just if lambda <= -1 or lambda > 1/3; at -1 leapfrog, weakly."""
    for x in (Fraction(p, q) for p in range(-40, 41) for q in (3, 4, 7) if p):
        alpha = (3 * (1 + x) / (4 * x), -1 / x, (1 + x) / (4 * x))
        status = card(LinearMultistep(alpha, ((3 * x - 1) / (2 * x),))).status
        assert status == ("weak" if x == -1 else "strong" if x < -1 or x > Fraction(1, 3) else "unstable")


# A factor is (coefficients highest power first, modulus squared, key); equal keys are the same roots.


def linear(root):
    """Return the factor with one rational root."""
    return (Fraction(1), -root), root * root, root


def pair(real, imag):
    """Return the factor with the roots real +- i imag."""
    size = real * real + imag * imag
    return (Fraction(1), -2 * real, size), size, (real, abs(imag))


def near_one(sign, exponent, shift):
    """Return the factor with a root at +-1, displaced by a power of ten."""
    return linear(sign * (1 + shift * Fraction(1, 10**exponent)))


def pythagorean(m, n, scale):
    """Return the factor with the conjugate pair of a Pythagorean triple, times `scale`."""
    m, n = m + n, n
    return pair(scale * Fraction(m * m - n * n, m * m + n * n), scale * Fraction(2 * m * n, m * m + n * n))


rationals = st.fractions(min_value=-2, max_value=2, max_denominator=12)
small = st.integers(1, 5)
nudge = st.sampled_from([0, 0, 1, -1]).map(lambda s: 1 + s * Fraction(1, 10**30))
factors = st.one_of(
    rationals.map(linear),
    st.sampled_from([1, -1, 1]).map(Fraction).map(linear),
    st.builds(near_one, st.sampled_from([1, -1]), st.sampled_from([6, 15, 30]), st.sampled_from([-2, -1, 1])),
    st.builds(pair, rationals, rationals.filter(bool)),
    st.builds(pythagorean, small, small, nudge),
    st.sampled_from([pair(Fraction(0), Fraction(1))]),
)


@st.composite
def polynomials(draw):
    """Return alpha and {key: (modulus squared, multiplicity, degree)} for a polynomial of degree 1 to 12."""
    rho, known = [Fraction(1)], {}
    for factor, size, key in draw(st.lists(factors, min_size=1, max_size=8)):
        for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
            if len(rho) + len(factor) - 2 > 12:
                break
            rho = [Fraction(1), *(-a for a in expanded(rho, factor))]
            known[key] = (size, known.get(key, (size, 0, 0))[1] + 1, len(factor) - 1)
    return tuple(-c for c in rho[1:]), known


@settings(max_examples=400)
@given(polynomials())
def test_known_factors(polynomial):
    """Verdict, certificate, status and every root against the factors the polynomial was built from."""
    alpha, known = polynomial
    outside = any(size > 1 for size, _, _ in known.values())
    on = {key: multiplicity for key, (size, multiplicity, _) in known.items() if size == 1}
    stable = not outside and all(multiplicity == 1 for multiplicity in on.values())
    assert is_zero_stable(alpha) is stable
    certificate = certify(alpha)
    assert certificate.is_zero_stable is stable
    assert verify_certificate(alpha, certificate)
    assert verify_certificate(alpha, json.loads(json.dumps(certificate.to_dict())))
    if stable:
        assert certificate.unit_roots == sum(known[key][2] for key in on)
    result = card(LinearMultistep(alpha, (1,)))
    assert result.status == ("unstable" if not stable else "strong" if set(on) <= {Fraction(1)} else "weak")
    check_roots(result.roots, known)


def check_roots(roots, known):
    """Every known root lies in exactly one enclosure, which has its multiplicity, position and modulus."""
    assert len(roots) == sum(degree for _, _, degree in known.values())
    for key, (size, multiplicity, degree) in known.items():
        real, imag = key if isinstance(key, tuple) else (key, Fraction(0))
        for y in (imag, -imag)[:degree]:
            hits = [r for r in roots if contains(r, real, y) and r.multiplicity == multiplicity]
            hits = [r for r in hits if encloses(r.modulus, size)]
            assert len(hits) >= 1
            assert any(h.position == ("inside" if size < 1 else "on" if size == 1 else "outside") for h in hits)
    for position in ("inside", "on", "outside"):
        expected = sum(
            multiplicity * degree
            for size, multiplicity, degree in known.values()
            if position == ("inside" if size < 1 else "on" if size == 1 else "outside")
        )
        assert sum(r.multiplicity for r in roots if r.position == position) == expected
    order = [float(r.modulus) for r in roots]
    assert order == sorted(order, reverse=True)


def contains(root, real, imag):
    """Whether the enclosure contains real + i imag."""
    x, y = Fraction(root.midpoint.real) - real, Fraction(root.midpoint.imag) - imag
    return x * x + y * y <= Fraction(root.radius) ** 2 and root.radius < 1e-12


def encloses(modulus, square):
    """Whether the modulus is right, exactly or tightly."""
    if isinstance(modulus, Fraction):
        return modulus * modulus == square
    return modulus.lower**2 <= square <= modulus.upper**2 and modulus.upper - modulus.lower < Fraction(1, 2**70)


@settings(max_examples=200)
@given(st.lists(st.fractions(min_value=-2, max_value=2, max_denominator=30), min_size=1, max_size=12))
def test_any_certificate_verifies(alpha):
    """Stable or not, and through its dictionary."""
    certificate = certify(alpha)
    assert verify_certificate(alpha, certificate)
    assert certificate.is_zero_stable is is_zero_stable(alpha)
    assert Certificate.from_dict(certificate.to_dict()) == certificate


EXAMPLES = {
    "schur": ("1/2", "-1/3", "1/7"),
    "simple von neumann": ("1/3", "5/9", "1/9"),
    "simple von neumann, leapfrog": (0, 1, 0),
    "simple von neumann, circle": ("6/5", "-1", 0, "1/4", "-3/10", "1/4"),
    "root outside": (1, 1, 1),
    "root outside below": ("15/4", -4, "5/4"),
    "not self-inversive": ("7/3", "-1/2", "-1"),
    "derivative not schur": (3, -3, 1),
    "derivative not schur, inside": ("13/6", "-7/6", "-1/6", "1/6"),
    "derivative not schur, reciprocal": ("5/2", -1),
}


def test_every_ending_occurs():
    """The examples cover all five."""
    assert {certify(alpha).ending for alpha in EXAMPLES.values()} == {
        name.split(",")[0].removesuffix(" below") for name in EXAMPLES
    }


@pytest.mark.parametrize("alpha", EXAMPLES.values(), ids=EXAMPLES)
def test_every_mutation_of_a_certificate_fails(alpha):
    """Changed, dropped, added or swapped numbers, or another ending, prove nothing."""
    good = certify(alpha)
    assert verify_certificate(alpha, good)
    mutants = []
    for name in ("reflection", "derivative", "witness"):
        values = getattr(good, name)
        for i, value in enumerate(values):
            changed = {
                -value,
                1 / value if value else Fraction(1),
                value + Fraction(1, 10**30),
                Fraction(2),
                Fraction(0),
            }
            mutants += [replace(good, **{name: (*values[:i], c, *values[i + 1 :])}) for c in changed - {value}]
            mutants.append(replace(good, **{name: values[:i] + values[i + 1 :]}))
        for extra in (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2)):
            mutants.append(replace(good, **{name: (*values, extra)}))
            mutants.append(replace(good, **{name: (extra, *values)}))
        if values[::-1] != values:
            mutants.append(replace(good, **{name: values[::-1]}))
    endings = ("schur", "simple von neumann", "root outside", "not self-inversive", "derivative not schur")
    mutants += [replace(good, ending=ending) for ending in endings if ending != good.ending]
    mutants.append(replace(good, reflection=good.derivative, derivative=good.reflection))
    for mutant in mutants:
        if mutant != good:
            assert not verify_certificate(alpha, mutant), mutant
            assert not verify_certificate(alpha, Certificate.to_dict(mutant)), mutant
    assert len(mutants) > 20


def test_a_certificate_proves_only_its_own_method():
    """It fails for every other one."""
    for mine in EXAMPLES.values():
        for name, other in EXAMPLES.items():
            assert verify_certificate(other, certify(mine)) is (other == mine), name


@pytest.mark.parametrize(
    "change",
    [
        {"ending": "stable"},
        {"is_zero_stable": False},
        {"is_zero_stable": 1},
        {"reflection": "1/2"},
        {"reflection": None},
        {"reflection": ["-1/9", "-3/5", -1]},
        {"reflection": ["-1/9", "-3/5", "-1.0"]},
        {"reflection": ["-1/9", "-3/5", "1/0"]},
        {"reflection": ["-1/9", "-3/5", "1e99"]},
        {"witness": [["1"]]},
        {"surplus": "1"},
    ],
    ids=str,
)
def test_malformed_certificates_are_refused(change):
    """What cannot be read is an error that says what was expected."""
    alpha = ("1/3", "5/9", "1/9")
    data = certify(alpha).to_dict()
    assert verify_certificate(alpha, data)
    with pytest.raises(ValueError, match=r"expected|contradicts"):
        verify_certificate(alpha, data | change)
    for key in data:
        with raises(ValueError, "certificate", "keys", f"{key!r}"):
            verify_certificate(alpha, {k: v for k, v in data.items() if k != key})


@pytest.mark.parametrize("data", [None, "stable", [], 1, {}])
def test_what_is_no_certificate_is_refused(data):
    """Nor are other JSON values certificates."""
    with raises(ValueError, "certificate", "keys", f"got {data!r}"):
        verify_certificate((1,), data)


def test_certificates_of_long_numbers_survive_json():
    """Beyond the length at which Python refuses to print integers."""
    tiny = Fraction(1, 10**990)
    alpha = [
        1 + tiny,
        -tiny / 7,
        tiny,
        tiny**1 - Fraction(1, 3),
        Fraction(1, 9),
        tiny,
        tiny,
        tiny,
        tiny,
        Fraction(1, 11),
    ]
    data = json.loads(json.dumps(certify(alpha).to_dict()))
    assert max(len(text) for text in data["reflection"]) > 4300  # more digits than Python's str(int) gives
    assert verify_certificate(alpha, data)


@pytest.mark.parametrize(
    ("alpha", "why"), [((), "at least one alpha"), ("1", "sequence"), ((1, float("inf")), r"alpha\[1\]")]
)
def test_verdicts_refuse_what_is_no_method(alpha, why):
    """The same refusals as of a method's alpha."""
    for decide in (is_zero_stable, certify):
        with pytest.raises(ValueError, match=why):
            decide(alpha)


def test_methods_and_sequences_give_the_same_verdict():
    """Whether alpha comes alone or in a method."""
    for alpha in EXAMPLES.values():
        assert is_zero_stable(LinearMultistep(alpha, (1,))) is is_zero_stable(alpha)
        assert certify(LinearMultistep(alpha, (1,))) == certify(list(alpha))


@settings(max_examples=300)
@given(
    st.lists(st.fractions(min_value=-2, max_value=2, max_denominator=6), min_size=1, max_size=4),
    st.fractions(min_value=-3, max_value=3, max_denominator=6),
)
def test_gaussian_recursion_agrees_with_the_real_one(alpha, real):
    """At a real z, rho - z sigma is the rho of alpha + z beta, which the integer recursion judges."""
    shifted = LinearMultistep([a - real * b for a, b in zip(alpha, alpha[::-1], strict=True)], ())
    method = LinearMultistep(alpha, [-b for b in alpha[::-1]])
    assert satisfies_root_condition(method, real) is is_zero_stable(shifted)


@pytest.mark.parametrize(
    ("roots", "expected"),
    [
        ([(3, 4, 5)], True),
        ([(3, 4, 5), (3, 4, 5)], False),
        ([(3, 4, 5), (5, 12, 13), (1, 2, 4)], True),
        ([(3, 4, 5), (1, 2, 4), (1, 2, 4)], True),
        ([(3, 5, 5)], False),
        ([(1, 2, 4), (4, 3, 2)], False),
        ([(0, 1, 1), (0, -1, 1), (1, 0, 1)], True),
    ],
)
def test_gaussian_recursion_on_known_complex_roots(roots, expected):
    """Take rho - i sigma with rho, sigma the real and imaginary parts of a product of (z - (a + bi)/c)."""
    phi = [(Fraction(1), Fraction(0))]
    for a, b, c in roots:
        x, y = Fraction(a, c), Fraction(b, c)
        padded, shifted = [*phi, (Fraction(0), Fraction(0))], [(Fraction(0), Fraction(0)), *phi]
        phi = [(p - (x * r - y * s), q - (x * s + y * r)) for (p, q), (r, s) in zip(padded, shifted, strict=True)]
    method = LinearMultistep([-p for p, _ in phi[1:]], [-q for _, q in phi[1:]])
    assert satisfies_root_condition(method, Fraction(0), Fraction(1)) is expected
    conjugate = LinearMultistep(method.alpha, [-b for b in method.beta])
    assert satisfies_root_condition(conjugate, Fraction(0), Fraction(-1)) is expected
