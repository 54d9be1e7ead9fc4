"""Sectors, energies, waves and growth parameters, against tables, identities and floats."""

import cmath
import json
import math
import random
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from fixtures.methods import zerosnet
from stabzoo.methods import NOT_DECIDED, OneLeg, RungeKutta
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import Enclosure, card
from stabzoo.stability.root_condition import satisfies_root_condition

EULER, LEAPFROG = LinearMultistep((1,), (1,)), LinearMultistep((0, 1), (2, 0))
AB2, TRAPEZOIDAL = LinearMultistep((1, 0), ("3/2", "-1/2")), LinearMultistep((1,), ("1/2",), "1/2")
MILNE = LinearMultistep((0, 1), ("4/3", "1/3"), "1/3")


def bdf(k):
    """Return sum over j <= k of the backward differences nabla^j y / j = h f."""
    c = [Fraction(0)] * (k + 1)
    for j in range(1, k + 1):
        for i in range(j + 1):
            c[i] += Fraction((-1) ** i * comb(j, i), j)
    return LinearMultistep([-x / c[0] for x in c[1:]], [0] * k, 1 / c[0])


def theta(value):
    """Return the theta method."""
    return LinearMultistep((1,), (1 - Fraction(value),), value)


@pytest.mark.parametrize(
    ("k", "angle", "abscissa"),
    [(1, 90, 0), (2, 90, 0), (3, 86.0324, 1 / 12), (4, 73.3517, 2 / 3), (5, 51.8398, 2.327), (6, 17.8398, 6.075)],
)
def test_sectors_of_the_backward_differences(k, angle, abscissa):
    """HW II, V.2, Table 2.1: A(alpha) in degrees, and Gear's D."""
    proved = card(bdf(k))
    assert float(proved.sector_angle) == pytest.approx(angle, abs=5e-5)
    assert float(proved.stiff_abscissa) == pytest.approx(abscissa, abs=1e-3)
    if isinstance(proved.sector_angle, Enclosure):
        assert proved.sector_angle.upper - proved.sector_angle.lower < Fraction(1, 10**20)


@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_the_sector_and_the_half_plane_are_sharp(k):
    """Exact verdicts on rays and vertical lines: none fails within, some fails just outside."""
    method, proved = bdf(k), card(bdf(k))
    slope = math.tan(math.radians(float(proved.sector_angle)))

    def holds(real, imag):
        return satisfies_root_condition(method, Fraction(real).limit_denominator(10**6), Fraction(imag))

    radii = [Fraction(round(1000 * 1.02**r), 10**5) for r in range(400)]
    assert all(holds(-r, slope * (1 - 1e-6) * r) for r in radii)
    assert not all(holds(-r, slope * 1.02 * r) for r in radii)
    line = -float(proved.stiff_abscissa)
    heights = [Fraction(r, 20) for r in range(400)]
    assert all(holds(line - 1e-4, y) for y in heights)
    assert not all(holds(line * 0.98, y) for y in heights)


def test_where_there_is_no_sector():
    """Explicit methods have none, A-stable ones all of the half plane."""
    for method in (EULER, AB2, LEAPFROG, zerosnet("-9/5")):
        assert card(method).sector_angle is card(method).stiff_abscissa is None
    for method in (theta("1/2"), theta("3/4"), theta(1), theta(2)):
        assert (card(method).sector_angle, card(method).stiff_abscissa) == (90, 0)


def energy_identity_holds(method, g, rng):
    """Whether the energy of one-leg solutions never grew where Re <f, y> <= 0: y' = lambda(t) y, Re lambda <= 0."""
    d = method.steps
    g = np.array([[float(x) for x in row] for row in g])
    rho, sigma = (np.array([float(c) for c in p]) for p in (method.rho, method.sigma))
    sigma_scale = sigma.sum()
    rho, sigma = rho / sigma_scale, sigma / sigma_scale
    y = rng.normal(size=d) + 1j * rng.normal(size=d)  # oldest first
    for _ in range(200):
        z = -abs(rng.normal()) * 3 + 5j * rng.normal()
        new = -((rho[1:] - z * sigma[1:]) @ y[::-1]) / (rho[0] - z * sigma[0])
        after = np.append(y[1:], new)
        if (after.conj() @ g @ after).real > (y.conj() @ g @ y).real * (1 + 1e-12):
            return False
        y = after
    return True


def test_energies():
    """BDF2 has the G of HW II, V.6, Example 6.5; A-stable two-step methods of order 2 have one each; others none."""
    quarter = Fraction(1, 4)
    assert card(bdf(2)).energy_matrix == ((quarter, -2 * quarter), (-2 * quarter, 5 * quarter))
    rng = np.random.default_rng(0)
    generator = random.Random(0)
    methods = [bdf(2), theta("1/2"), theta("3/4")]
    for _ in range(20):  # the A-stable two-step methods of order 2: gamma >= 1/2, delta > 0 (Dahlquist)
        a = Fraction(generator.randint(1, 9), 10)  # rho = (z - 1)(z - (1 - a))
        alpha = (2 - a, a - 1)
        b = Fraction(generator.randint(3, 12), 4)
        rest = a - b  # beta_0 + beta_1
        moment = Fraction(2) * 2 - alpha[0]  # order 2: sum of j^2 a_j = 2 sum of j b_j
        middle = (moment - 4 * b) / 2
        methods.append(LinearMultistep(alpha, (middle, rest - middle), b))
    found = 0
    for method in methods:
        proved = card(method)
        if proved.is_A_stable:
            assert proved.energy_matrix is not None
            assert energy_identity_holds(method, proved.energy_matrix, rng)
            found += 1
        else:
            assert proved.energy_matrix is None
    assert found > 8


def test_algebraic_stability():
    """The multistep form of theta is B-stable only at 1 (HW II, IV.12); it says nothing of more steps."""
    assert [card(theta(t)).is_contractive for t in ("1/2", "3/4", "1", "2")] == [False, False, True, False]
    assert card(EULER).is_contractive is False
    assert card(bdf(2)).is_contractive is None
    twins = [card(OneLeg.of(theta(t))) for t in ("1/4", "1/2", "3/4", "1")]  # HW II, IV.12: B-stable from 1/2 on
    assert [twin.is_contractive for twin in twins] == [False, True, True, True]
    heun = card(RungeKutta(((0, 0), (1, 0)), ("1/2", "1/2")))
    assert [heun.is_contractive, heun.sector_angle, heun.stiff_abscissa] == [NOT_DECIDED, None, None]
    midpoint = card(RungeKutta((("1/2",),), (1,)))
    assert [midpoint.sector_angle, midpoint.stiff_abscissa, midpoint.wave_errors] == [90, 0, NOT_DECIDED]


@pytest.mark.parametrize(
    ("method", "dissipation", "dispersion"),
    [
        (LEAPFROG, (math.inf, "0"), (2, "1/6")),
        (TRAPEZOIDAL, (math.inf, "0"), (2, "-1/12")),
        (AB2, (3, "1/4"), (2, "5/12")),
        (bdf(2), (3, "-1/4"), (2, "-1/3")),
        (EULER, (1, "1/2"), (2, "-1/3")),
        (theta(1), (1, "-1/2"), (2, "-1/3")),
        (MILNE, (math.inf, "0"), (4, "1/180")),
        (bdf(4), (5, "1/3"), (4, "1/5")),
    ],
    ids=["leapfrog", "trapezoidal", "AB2", "BDF2", "Euler", "backward Euler", "Milne-Simpson", "BDF4"],
)
def test_dissipation_and_dispersion(method, dissipation, dispersion):
    """Orders and constants, and the principal root itself."""
    damping, shift = card(method).wave_errors
    assert (damping.order, damping.constant) == (dissipation[0], Fraction(dissipation[1]))
    assert (shift.order, shift.constant) == (dispersion[0], Fraction(dispersion[1]))
    nu = 0.02
    values = np.roots([float(r) - 1j * nu * float(s) for r, s in zip(method.rho, method.sigma, strict=True)])
    logarithm = cmath.log(min(values, key=lambda v: abs(v - cmath.exp(1j * nu))))
    assert logarithm.imag - nu == pytest.approx(float(shift.constant) * nu ** (shift.order + 1), rel=0.05, abs=1e-13)
    if damping.constant:
        expected = float(damping.constant) * nu ** (damping.order + 1)
        assert logarithm.real == pytest.approx(expected, rel=0.05, abs=1e-13)


def test_waves_need_consistency():
    """Without it there is no principal root exp(z)."""
    assert card(LinearMultistep((1, 1, 1), (1,))).wave_errors is None
    assert card(LinearMultistep((1,), (0,))).wave_errors is None


def test_growth_parameters():
    """Leapfrog: 1 and -1 (Henrici); on a pair they are complex; an unstable rho has none."""
    assert [(g.root, g.real, g.imag) for g in card(LEAPFROG).growth_parameters] == [(1, 1, 0), (-1, -1, 0)]
    assert [g.real for g in card(MILNE).growth_parameters] == [1, Fraction(-1, 3)]
    at_one, at_pair = card(LinearMultistep(("11/5", "-11/5", "1"), (1,))).growth_parameters
    assert at_one.real == Fraction(5, 4)
    zeta = 0.6 + 0.8j
    slope = np.polyval(np.polyder([1, -2.2, 2.2, -1]), zeta)
    assert complex(float(at_pair.real), float(at_pair.imag)) == pytest.approx(zeta**2 / (zeta * slope))
    assert card(zerosnet("1/4")).growth_parameters == []


def test_symmetry():
    """Leapfrog, the trapezoidal rule and Milne-Simpson undo a step with the opposite one."""
    assert [card(m).is_symmetric for m in (LEAPFROG, TRAPEZOIDAL, MILNE, EULER, AB2, bdf(2))] == [True] * 3 + [
        False
    ] * 3


def test_numbers_of_a_card_as_json():
    """All of it is strict JSON, exact numbers as text."""
    data = json.loads(json.dumps(card(LEAPFROG).to_dict(), allow_nan=False))
    assert data["dissipation"] == {"order": "infinity", "constant": "0"}
    assert data["dispersion"] == {"order": 2, "constant": "1/6"}
    assert data["is_symmetric"] is True
    assert [g["real"] for g in data["growth_parameters"]] == ["1", "-1"]
    assert data["sector_angle"] is data["energy_matrix"] is None
    data = json.loads(json.dumps(card(bdf(3)).to_dict(), allow_nan=False))
    assert data["stiff_abscissa"] == "1/12"
    assert data["sector_angle"]["approximately"] == pytest.approx(86.0323668602)
