"""The stability card: Table 10, statuses and reasons, roots, JSON, and what importing it costs."""

import json
import math
import pickle
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.messages import raises, says
from fixtures.methods import zerosnet
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import Enclosure, card, verify_certificate
from stabzoo.stability.enclosure import as_float

TABLE_10 = [  # alpha, beta, moduli as printed, zero-stable, lambda
    ((1, 1, 1), 1, (1.84, 0.74, 0.74), False, None),
    ((3.75, -4, 1.25), -0.5, (2.18, 1, 0.57), False, "1/4"),
    ((-3, 5, -1), 4, (4.24, 1, 0.24), False, "-1/5"),
    ((-0.75, 2, -0.25), 2.5, (1.88, 1, 0.13), False, "-1/2"),
    ((2.25, -2, 0.75), 0.5, (1, 0.87, 0.87), True, "1/2"),
    ((0.1, 0.2, 0.3), 0.4, (0.81, 0.61, 0.61), True, None),
    ((0.5, 0.3, 0.1), 0.1, (0.94, 0.33, 0.33), True, None),
    ((0.825, -0.1, 0.275), 1.45, (1, 0.52, 0.52), True, "10"),
    ((1, 0.3, -0.4), 1, (0.82, 0.82, 0.60), True, None),
    (("1/3", "5/9", "1/9"), "16/9", (1, 0.33, 0.33), True, "-9/5"),
]


@pytest.mark.parametrize(("alpha", "beta", "moduli", "stable", "parameter"), TABLE_10)
def test_table_10(alpha, beta, moduli, stable, parameter):
    """Moduli to the printed digits, verdict, consistency, and lambda where there is one."""
    method = LinearMultistep(alpha, (beta,))
    result = card(method)
    expanded = [round(float(modulus), 2) for modulus, multiplicity in result.root_moduli for _ in range(multiplicity)]
    assert expanded == list(moduli)
    assert result.is_zero_stable is stable
    assert result.is_consistent is (parameter is not None)
    assert result.is_convergent is (stable and parameter is not None)
    if parameter is not None:
        assert method == zerosnet(parameter)
        assert result.order == 2
    elif stable:
        assert result.status == "strong"
        says(result.reason, "none is the principal root")
        assert float(result.parasitic_radius) == pytest.approx(moduli[0], abs=0.005)


@pytest.mark.parametrize(
    ("method", "status", "facts"),
    [
        (zerosnet("-9/5"), "strong", ("rho = (z - 1) (3z + 1)^2 / 9", "1 is a simple root")),
        (zerosnet(-1), "weak", ("z + 1", "on the unit circle")),
        (zerosnet("1/3"), "unstable", ("(z - 1)^3",)),
        (zerosnet("1/5"), "unstable", ("z - 3", "modulus 3", "outside")),
        (zerosnet("1/4"), "unstable", ("4z^2 - 11z + 5", "modulus 2.17539")),
        (
            LinearMultistep((2 + Fraction(1, 10**30), -1 - Fraction(1, 10**30)), (1,)),
            "unstable",
            ("modulus 1 + 1e-30",),
        ),
        (
            LinearMultistep(("1/2",), (1,)),
            "strong",
            ("rho = (2z - 1) / 2", "inside the unit circle", "none is the principal root"),
        ),
        (LinearMultistep((-1,), (1,)), "weak", ("on the circle", "simple", "none is the principal root")),
        (LinearMultistep((0, -2, 0, -1), (1,)), "unstable", ("(z^2 + 1)^2",)),
        (LinearMultistep((1, -1, 1), (1,)), "weak", ("rho = (z - 1) (z^2 + 1)", "on the unit circle")),
        (LinearMultistep((0, 0), (1,)), "strong", ("rho = (z)^2",)),
    ],
    ids=str,
)
def test_status_and_reason(method, status, facts):
    """The sentence names the factor of rho that decides."""
    result = card(method)
    assert result.status == status
    says(result.reason, *facts)
    assert "\n" not in result.reason


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (zerosnet("-9/5"), Fraction(1, 3)),
        (zerosnet(-1), Fraction(1)),
        (zerosnet("1/3"), Fraction(1)),  # triple root 1: two of the three are parasitic
        (zerosnet("1/5"), Fraction(3)),
        (LinearMultistep((1,), (1,)), Fraction(0)),
        (LinearMultistep((1, 0, 0), (1,)), Fraction(0)),
        (LinearMultistep(("1/2",), (1,)), Fraction(1, 2)),
        (LinearMultistep((-1,), (1,)), Fraction(1)),
        (LinearMultistep(("8/5", "-17/20", "1/4"), (1,)), Fraction(1, 2)),  # (z - 1)(z^2 - 3/5 z + 1/4)
        (LinearMultistep((2, -1), (1,)), Fraction(1)),
        (LinearMultistep((1 + Fraction(1, 10**30), -Fraction(1, 10**30)), (1,)), Fraction(1, 10**30)),
    ],
    ids=str,
)
def test_exact_parasitic_radius(method, expected):
    """A rational modulus comes as a Fraction."""
    value = card(method).parasitic_radius
    assert isinstance(value, Fraction)
    assert value == expected


def test_irrational_parasitic_radius_is_enclosed():
    """At lambda = 1 it is 1/sqrt(2), in general sqrt((1 + l)/(4 l)) where the parasitic roots are complex."""
    for x in (Fraction(1), Fraction(1, 2), Fraction(3), Fraction(10), Fraction(34, 100), Fraction(-5)):
        value = card(zerosnet(x)).parasitic_radius
        assert isinstance(value, Enclosure)
        if x > 0:
            assert value.lower**2 < (1 + x) / (4 * x) < value.upper**2
        assert value.upper - value.lower < Fraction(1, 2**80)
    assert str(card(zerosnet(1)).parasitic_radius) == "0.707107"
    assert float(card(zerosnet(-5)).parasitic_radius) == pytest.approx((1 + math.sqrt(5)) / 5 - 0.2, abs=1e-12)


rationals = st.fractions(min_value=-3, max_value=3, max_denominator=20)


@settings(max_examples=200)
@given(st.lists(rationals, min_size=1, max_size=8))
def test_roots_against_numpy(alpha):
    """Each enclosure is a root to rounding, and numpy's roots are the enclosures where they are well separated."""
    result = card(LinearMultistep(alpha, (1,)))
    rho = [1.0, *(-float(a) for a in alpha)]
    assert sum(r.multiplicity for r in result.roots) == len(alpha)
    for r in result.roots:
        scale = sum(abs(c) * abs(r.midpoint) ** (len(alpha) - j) for j, c in enumerate(rho))
        assert abs(np.polyval(rho, r.midpoint)) <= 1e-13 * scale
        assert abs(abs(r.midpoint) - as_float(r.modulus)) < 1e-14 * max(1, abs(r.midpoint))
        assert r.radius <= 1e-15 * max(1, abs(r.midpoint))
    if all(r.multiplicity == 1 for r in result.roots):
        theirs = np.roots(rho)
        gaps = [abs(a.midpoint - b.midpoint) for i, a in enumerate(result.roots) for b in result.roots[:i]]
        if min(gaps, default=1) > 0.05:
            for r in result.roots[: len(theirs)]:
                assert min(abs(theirs - r.midpoint), default=0.0) < 1e-6 or r.midpoint == 0


@settings(max_examples=100)
@given(st.lists(rationals, min_size=1, max_size=5), st.lists(rationals, max_size=1), st.sampled_from([0, 0, 1, "1/2"]))
def test_every_card_is_json(alpha, beta, beta_next):
    """Strict JSON, from which method and verdict are read back."""
    result = card(LinearMultistep(alpha, beta, beta_next))
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert LinearMultistep(data["alpha"], data["beta"], data["beta_next"]) == result.method
    assert verify_certificate(data["alpha"], data["certificate"])
    assert data["status"] == result.status
    assert data["is_zero_stable"] is (data["status"] != "unstable")
    assert (data["stability_constant"] == "infinity") is (data["status"] == "unstable")
    assert data["order"] == result.order


def test_to_dict_of_the_optimum():
    """Every exact number of lambda = -9/5 as a string."""
    data = card(zerosnet("-9/5")).to_dict()
    expected = {
        "alpha": ["1/3", "5/9", "1/9"],
        "beta": ["16/9", "0", "0"],
        "beta_next": "0",
        "steps": 3,
        "is_explicit": True,
        "status": "strong",
        "is_zero_stable": True,
        "is_preconsistent": True,
        "is_consistent": True,
        "is_convergent": True,
        "is_A_stable": False,
        "is_L_stable": False,
        "stability_function": None,
        "order": 2,
        "error_constant": "11/48",
        "parasitic_radius": "1/3",
        "real_interval": "1/2",
        "imaginary_interval": "0",
        "stability_constant": "1",
        "ssp_coefficient": "3/16",
    }
    assert {key: data[key] for key in expected} == expected
    assert data["roots"][0] == {
        "real": 1.0, "imag": 0.0, "radius": 0.0, "multiplicity": 1, "position": "on", "modulus": "1", "factor": "z - 1",
    }  # fmt: skip
    assert data["roots"][1]["multiplicity"] == 2


def test_numbers_far_apart():
    """Roots of 1e100 and about -1e-200 / 3: a place, an exact verdict, and JSON without infinities."""
    data = card(LinearMultistep(("1e100", "1e-100"), ("1/3",))).to_dict()
    assert json.dumps(data, allow_nan=False)
    assert [root["position"] for root in data["roots"]] == ["outside", "inside"]
    assert all(root["radius"] > 0 for root in data["roots"])


def test_ssp_coefficients():
    """3(l+1)/(2(3l-1)) for l <= -1, else 0; (1-k)/(1+k) for 0 <= k <= 1; 1/(1-theta); backward Euler has no limit."""
    for x in (Fraction(p, 4) for p in range(-40, 41) if p):
        expected = 3 * (x + 1) / (2 * (3 * x - 1)) if x <= -1 else 0
        if x > Fraction(1, 3) or x <= -1:
            assert card(zerosnet(x)).ssp_coefficient == expected
    for k in (Fraction(i, 10) for i in range(-9, 11)):
        expected = (1 - k) / (1 + k) if k >= 0 else 0
        assert card(LinearMultistep((1 - k, k), (1 + k,))).ssp_coefficient == expected
    for theta in (Fraction(i, 10) for i in range(10)):
        assert card(LinearMultistep((1,), (1 - theta,), theta)).ssp_coefficient == 1 / (1 - theta)
    assert card(LinearMultistep((1,), (), 1)).ssp_coefficient == math.inf
    assert card(LinearMultistep(("3/4", 0, "1/4"), ("3/2",))).ssp_coefficient == Fraction(1, 2)
    assert card(LinearMultistep((1, 0), ("3/2", "-1/2"))).ssp_coefficient == 0


@dataclass
class Scheme:
    """Something with coefficients."""

    value: object

    def coefficients(self):
        """Return what was given."""
        return self.value


def test_anything_with_coefficients_has_a_card():
    """The card is that of the coefficients."""
    assert card(Scheme(zerosnet(1))) == card(zerosnet(1))
    assert card(Scheme(zerosnet(1))).method == zerosnet(1)


@pytest.mark.parametrize("wrong", [(1, 0), None, "leapfrog", Scheme((1,)), 1])
def test_card_refuses_what_has_none(wrong):
    """One message for everything that is no method."""
    with raises(ValueError, "LinearMultistep", "coefficients", type(wrong).__name__):
        card(wrong)


def test_a_scheme_that_contradicts_itself_has_no_card():
    """The card is about characteristic_polynomial(), the first characteristic polynomial of the coefficients."""

    class Contradiction:
        """Euler's coefficients, leapfrog's polynomial."""

        def coefficients(self):
            """Euler's."""
            return LinearMultistep((1,), (1,))

        def characteristic_polynomial(self):
            """The leapfrog scheme's."""
            return Fraction(1), Fraction(0), Fraction(-1)

    with raises(ValueError, "Contradiction", "(1, -1)", "got (1, 0, -1)"):
        card(Contradiction())


def test_verdicts_import_neither_numpy_nor_torch():
    """A verdict imports no FLINT either; the whole card imports FLINT alone."""
    code = (
        "import sys; from stabzoo.stability import card; from stabzoo.methods.multistep import LinearMultistep;"
        "c = card(LinearMultistep((0, 1), (2,))); assert c.status == 'weak'; assert 'flint' not in sys.modules;"
        "c.to_dict(); assert 'flint' in sys.modules; assert not {'numpy', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lazy_names_exist():
    """Every public name resolves to the object of that name, also where a submodule is loaded late."""
    import stabzoo.stability

    for name in set(stabzoo.stability.__all__) - {"Real"}:  # a union has no name
        assert getattr(stabzoo.stability, name).__name__ == name
    with raises(AttributeError, "'verdict'"):
        _ = stabzoo.stability.verdict


def test_cards_travel_between_processes():
    """A card is pickled with the numbers it has computed."""
    result = card(zerosnet("1/2"))
    assert result.stability_constant == Fraction(79, 8)
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result
    assert copy.to_dict() == result.to_dict()
