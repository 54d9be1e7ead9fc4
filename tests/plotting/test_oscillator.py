"""The oscillator's propagators against numpy, against stepping the schemes as written, and by closed forms."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.commands import Run
from fixtures.messages import raises, says
from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure
from stabzoo.stability.oscillator import SCHEMES, Propagator, oscillator_propagator, verlet_propagator

steps = st.fractions("1/1000", 10, max_denominator=1000)
omegas = st.fractions("1/10", 100, max_denominator=50)


def matrix(p: Propagator) -> np.ndarray:
    """A propagator as an array."""
    return np.array([[float(p.yy), float(p.yz)], [float(p.zy), float(p.zz)]])


@given(steps, omegas, st.fractions(0, 1, max_denominator=20))
def test_theta(h: Fraction, omega: Fraction, theta: Fraction) -> None:
    """modulus^2 = (1 + (1-theta)^2 q^2) / (1 + theta^2 q^2), and the scheme's own equation holds."""
    method = LinearMultistep((1,), (1 - theta,), theta)
    p, q = oscillator_propagator(method, h, omega), h * omega
    expected = (1 + (1 - theta) ** 2 * q**2) / (1 + theta**2 * q**2)
    radius = p.spectral_radius
    if isinstance(radius, Enclosure):
        assert radius.lower**2 < expected < radius.upper**2
        assert radius.upper - radius.lower < radius.upper / 2**90
    else:
        assert radius**2 == expected
    assert p.is_stable is (theta >= Fraction(1, 2))
    for y, z in ((Fraction(1), Fraction(0)), (Fraction(0), Fraction(1))):
        new_y, new_z = p.yy * y + p.yz * z, p.zy * y + p.zz * z
        assert new_y == y - h * omega**2 * ((1 - theta) * z + theta * new_z)
        assert new_z == z + h * ((1 - theta) * y + theta * new_y)


@given(steps, omegas)
def test_verlet(h: Fraction, omega: Fraction) -> None:
    """Areas are kept; the radius is 1 up to q = 2 and (q + sqrt(q^2 - 4))^2 / 4 beyond."""
    p, q = verlet_propagator(h, omega), h * omega
    assert p.determinant == 1
    assert p.yy + p.zz == 2 - q**2
    for y, z in ((Fraction(1), Fraction(0)), (Fraction(0), Fraction(1))):
        half = y - h * omega**2 / 2 * z
        new_z = z + h * half
        assert (p.yy * y + p.yz * z, p.zy * y + p.zz * z) == (half - h * omega**2 / 2 * new_z, new_z)
    assert p.is_stable is (q < 2)
    if q <= 2:
        assert p.spectral_radius == 1
    else:
        assert float(p.spectral_radius) == pytest.approx((q + math.sqrt(q * q - 4)) ** 2 / 4, rel=1e-14)


@given(st.sampled_from([*SCHEMES]), steps, omegas)
def test_radii_against_numpy(name: str, h: Fraction, omega: Fraction) -> None:
    """The moduli that floats find."""
    p = SCHEMES[name](h, omega)
    theirs = np.abs(np.linalg.eigvals(matrix(p))).max()
    assert float(p.spectral_radius) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(
    ("q", "forward", "backward", "verlet"),
    [
        ("1/2", 1.11803, 0.894427, 1),
        (1, 1.41421, 0.707107, 1),
        ("2.1", 2.32594, 0.429934, 1.87733),
        (3, 3.16228, 0.316228, 6.85410),
        (10, 10.0499, 0.0995037, 97.9898),
    ],
)
def test_values(q: str, forward: float, backward: float, verlet: float) -> None:
    """Six digits of the four radii."""
    radii = [float(propagator(q, 1).spectral_radius) for propagator in SCHEMES.values()]
    assert radii == pytest.approx([forward, backward, 1, verlet], rel=1e-5)


def test_the_end_of_verlets_interval_is_not_stable() -> None:
    """At q = 2 the radius is 1 and the powers grow linearly; the source counts it as stable."""
    p = verlet_propagator("1/25", 50)
    assert p.spectral_radius == 1
    assert not p.is_stable
    powers = [np.abs(np.linalg.matrix_power(matrix(p), n)).max() for n in (100, 200)]
    assert powers[1] / powers[0] == pytest.approx(2, rel=0.1)
    identity = Propagator(Fraction(1), Fraction(0), Fraction(0), Fraction(1))
    assert identity.is_stable


def test_a_multistep_method_has_no_such_propagator() -> None:
    """It is told."""
    with raises(ValueError, "one-step", "got y[n+1] = y[n-1] + 2 h f[n]"):
        oscillator_propagator(LinearMultistep((0, 1), (2,)), 1, 1)


def test_the_command(run: Run, tmp_path: Path) -> None:
    """Radii, exactly; JSON; the picture."""
    status, out, err = run("oscillator --omega 50 --step 1/100 1/20")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["trapezoidal", "1/100", "1/2", "1", "bounded"] in lines
    assert any(line[:2] == ["Verlet", "1/20"] and line[-1] == "grows" for line in lines)
    assert '"spectral_radius": "1"' in run("oscillator --json").out
    target = tmp_path / "phases.png"
    assert run(f"oscillator --step 1/100 1/50 --plot {target}").status == 0
    assert target.read_bytes()[:4] == b"\x89PNG"
    status, _, err = run("oscillator --step -1")
    assert status == 2
    says(err, "step sizes > 0", "-1")
    assert run("oscillator --omega x").status == 2
    says(run("oscillator --plot x.txt").err, "x.txt", ".png, .svg or .pdf", "'.txt'")
