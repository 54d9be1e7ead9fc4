"""Boundary locus and raster of the stability region."""

from fractions import Fraction

import numpy as np
import pytest

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability import boundary_locus, card, stability_region
from stabzoo.stability.root_condition import satisfies_root_condition

AB3 = LinearMultistep((1, 0, 0), ("23/12", "-4/3", "5/12"))
OPTIMUM = LinearMultistep(("1/3", "5/9", "1/9"), ("16/9",))
BDF2 = LinearMultistep(("4/3", "-1/3"), (), "2/3")
LEAPFROG = LinearMultistep((0, 1), (2,))


def test_locus_of_euler_is_a_circle():
    """The circle |z + 1| = 1, closed."""
    z = boundary_locus(LinearMultistep((1,), (1,)), 41)
    assert z.shape == (41,)
    assert z.dtype == complex
    assert np.allclose(abs(z + 1), 1)
    assert z[0] == pytest.approx(0)
    assert z[20] == pytest.approx(-2)


@pytest.mark.parametrize("method", [AB3, OPTIMUM, BDF2, LEAPFROG], ids=str)
def test_points_of_the_locus_have_a_root_on_the_circle(method):
    """By numpy's roots at the points."""
    for z in boundary_locus(method, 24)[1:-1]:
        polynomial = [complex(r) - z * float(s) for r, s in zip(method.rho, method.sigma, strict=True)]
        assert min(abs(abs(np.roots(polynomial)) - 1)) < 1e-7


def test_locus_has_gaps_where_sigma_vanishes():
    """The point at infinity is nan, without a warning."""
    method = LinearMultistep((1,), ("1/2",), "1/2")
    z = boundary_locus(method, 5)  # trapezoidal rule: 2i tan(theta / 2)
    assert np.isnan(z[2])
    assert np.allclose(z[[0, 1, 3, 4]], [0, 2j, -2j, 0])
    assert np.isnan(boundary_locus(LinearMultistep((1,), ()), 5)).all()


@pytest.mark.parametrize("method", [AB3, OPTIMUM, BDF2, LEAPFROG, LinearMultistep(("1/2",), ("1/3",), "-1/4")], ids=str)
def test_raster_is_the_exact_interior(method):
    """A pixel is on if the root condition holds exactly there and around; dyadic pixels off the boundary agree."""
    n = 17
    raster = stability_region(method, (-2, 1), (-1.5, 1.5), n)
    assert raster.shape == (n, n)
    tiny = Fraction(1, 10**9)
    compared = 0
    for i, y in enumerate(np.linspace(-1.5, 1.5, n)):
        for j, x in enumerate(np.linspace(-2, 1, n)):
            around = {
                satisfies_root_condition(method, Fraction(x) + dx, Fraction(y) + dy)
                for dx in (-tiny, tiny)
                for dy in (-tiny, tiny)
            }
            if len(around) == 1:
                assert bool(raster[i, j]) is around.pop()
                compared += 1
    assert compared > 0.8 * n * n


def test_raster_shows_the_real_interval():
    """The pixels on the negative axis are on exactly within (-L, 0)."""
    n = 401
    for method in (AB3, OPTIMUM):
        length = float(card(method).real_interval)
        row = stability_region(method, (-1, 0.25), (-1, 1), n)[n // 2]
        x = np.linspace(-1, 0.25, n)
        expected = (x > -length) & (x < 0)
        clear = (abs(x + length) > 1e-9) & (abs(x) > 1e-9)
        assert np.array_equal(row[clear], expected[clear])
        assert 0 < row.sum() < n


def test_rows_ascend_with_the_imaginary_part():
    """Row 0 is the lower end of ylim."""
    method = LinearMultistep((1,), (1,))
    raster = stability_region(method, (-2, 0), (0, 4), 5)
    assert raster[0, 2]
    assert not raster[2:].any()


def test_a_pole_of_the_stability_function_is_outside():
    """At z = 1 the leading coefficient of backward Euler vanishes: the root is infinite."""
    raster = stability_region(LinearMultistep((1,), (), 1), (-1, 3), (-2, 2), 5)
    assert not raster[2, 2]
    assert raster[0].all()
    assert raster[2].tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("n", [1, 0, -3])
def test_too_few_points_are_refused(n):
    """A picture needs two points."""
    with pytest.raises(ValueError, match="at least 2 points"):
        boundary_locus(AB3, n)
    with pytest.raises(ValueError, match="at least 2 points"):
        stability_region(AB3, (-1, 1), (-1, 1), n)
