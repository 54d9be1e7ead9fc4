"""Partitioned Runge-Kutta methods and methods for y'' = f: order, symplecticity, symmetry and the oscillator, exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.messages import raises
from stabzoo import (
    NOT_DECIDED,
    ExplicitFamily,
    LinearMultistep,
    OneLeg,
    PartitionedRungeKutta,
    Place,
    RungeKutta,
    SecondOrderMultistep,
    card,
    verify_certificate,
)
from stabzoo.stability import SecondOrderCertificate
from stabzoo.stability.enclosure import Enclosure, as_float
from stabzoo.stability.properties.geometry import is_symmetric, is_symplectic
from stabzoo.testing.steps import check_computes

F = Fraction

SYMPLECTIC_EULER = PartitionedRungeKutta.splitting((1,), (1,))
VERLET = PartitionedRungeKutta.splitting((1, 0), ("1/2", "1/2"))
RUTH = PartitionedRungeKutta.splitting(("2/3", "-2/3", 1), ("7/24", "3/4", "-1/24"))
"""Of order 3: Hairer, Lubich, Wanner, Geometric Numerical Integration, II.5."""

LOBATTO = PartitionedRungeKutta(
    RungeKutta(((0, 0, 0), ("5/24", "1/3", "-1/24"), ("1/6", "2/3", "1/6")), ("1/6", "2/3", "1/6")),
    RungeKutta((("1/6", "-1/6", 0), ("1/6", "1/3", 0), ("1/6", "5/6", 0)), ("1/6", "2/3", "1/6")),
)
"""The IIIA-IIIB pair of order 4: HLW, II.2."""

VERLET_AS_PAIR = PartitionedRungeKutta(
    RungeKutta(((0, 0), ("1/2", "1/2")), ("1/2", "1/2")), RungeKutta((("1/2", 0), ("1/2", 0)), ("1/2", "1/2"))
)
HEUN = RungeKutta(((), (1,)), ("1/2", "1/2"))
MIDPOINT = RungeKutta((("1/2",),), (1,))
RK4 = RungeKutta(((), ("1/2",), (0, "1/2"), (0, 0, 1)), ("1/6", "1/3", "1/3", "1/6"))


@pytest.mark.parametrize(
    ("method", "order", "symplectic", "symmetric", "explicit"),
    [
        (SYMPLECTIC_EULER, 1, True, False, True),
        (VERLET, 2, True, True, True),
        (VERLET_AS_PAIR, 2, True, True, True),
        (RUTH, 3, True, False, True),
        (LOBATTO, 4, True, True, False),
        (PartitionedRungeKutta(MIDPOINT, MIDPOINT), 2, True, True, False),
        (PartitionedRungeKutta(HEUN, HEUN), 2, False, False, True),
        (PartitionedRungeKutta(RK4, RK4), 4, False, False, True),
    ],
)
def test_methods_of_the_literature(
    method: PartitionedRungeKutta, order: int, symplectic: bool, symmetric: bool, explicit: bool
) -> None:
    """Order, symplecticity and symmetry as Hairer, Lubich and Wanner have them."""
    proved = card(method)
    assert (proved.order, proved.is_symplectic, proved.is_symmetric) == (order, symplectic, symmetric)
    assert (proved.method.is_explicit, proved.status, proved.method.parts) == (explicit, "strong", 2)
    assert proved.is_A_stable is proved.real_interval is NOT_DECIDED
    assert proved.stability_function is None


@pytest.mark.parametrize(
    ("method", "square"), [(SYMPLECTIC_EULER, 4), (VERLET, 4), (VERLET_AS_PAIR, 4), (LOBATTO, 8), (RUTH, None)]
)
def test_how_long_a_step_may_be_on_the_oscillator(method: PartitionedRungeKutta, square: int | None) -> None:
    """|h omega| < 2 of Verlet's, exactly; elsewhere, powers are bounded within and grow just beyond."""
    length = card(method).imaginary_interval
    if square is not None and math.isqrt(square) ** 2 == square:
        assert length == math.isqrt(square)
    elif square is not None:
        assert isinstance(length, Enclosure)
        assert length.lower**2 <= square <= length.upper**2
    for part, bounded in ((0.2, True), (0.7, True), (0.999, True), (1.01, False)):
        q = part * as_float(length)
        assert (_largest(method, q) < 100) is bounded, q


def _largest(method: PartitionedRungeKutta, q: float) -> float:
    """The largest entry of 4000 steps on the oscillator, by the step itself."""
    state, largest = (1.0, 0.0), 0.0
    if not method.is_explicit:  # its equations need small steps
        yy, yz, zy, zz = (float(x) for x in method.linear(F(q * q)))
        matrix = torch.tensor([[yy, q * yz], [-q * zy, zz]], dtype=torch.float64)
        return float(torch.linalg.matrix_power(matrix, 4000).abs().max())
    for _ in range(4000):
        state = method.step([state], lambda s: (q * s[1], -q * s[0]))
        largest = max(largest, abs(state[0]), abs(state[1]))
        if largest > 1e6:
            break
    return largest


def test_a_touch_that_grows_ends_the_interval() -> None:
    """Two half steps of Verlet's are -I where one turns by a right angle: bounded there, and up to twice its length."""
    twice = PartitionedRungeKutta.splitting(("1/2", "1/2", 0), ("1/4", "1/2", "1/4"))
    assert card(twice).imaginary_interval == 4
    assert twice.linear(F(8)) == (-1, 0, 0, -1)


WEIGHTS = st.lists(st.fractions(-1, 1, max_denominator=4), min_size=1, max_size=3)


@given(first=WEIGHTS, second=WEIGHTS)
def test_every_splitting_is_symplectic(first: list[F], second: list[F]) -> None:
    """Its matrix on the oscillator has the determinant 1, and it is the step; backwards it is its adjoint."""
    size = max(len(first), len(second))
    first, second = (weights + [F(0)] * (size - len(weights)) for weights in (first, second))
    second[-1] += sum(first) - sum(second)
    method = PartitionedRungeKutta.splitting(first, second)
    assert is_symplectic(method)
    assert method.is_explicit
    q, x = F(1, 3), F(1, 9)
    yy, yz, zy, zz = method.linear(x)
    assert yy * zz + x * yz * zy == 1
    assert method.step([(F(1), F(0))], lambda s: (q * s[1], -q * s[0])) == (yy, -q * zy)
    assert method.step([(F(0), F(1))], lambda s: (q * s[1], -q * s[0])) == (q * yz, zz)
    there = method.step([(F(2), F(3))], lambda s: (F(1, 5) * s[1] ** 2, -F(1, 7) * s[0] ** 2))
    back = method.step([there], lambda s: (-F(1, 5) * s[1] ** 2, F(1, 7) * s[0] ** 2))
    if is_symmetric(method):
        assert back == (2, 3)


TABLEAUS = st.integers(1, 3).flatmap(
    lambda s: st.tuples(
        st.lists(st.lists(st.sampled_from([F(0), F(1, 2), F(1)]), min_size=s, max_size=s), min_size=s, max_size=s),
        st.lists(st.sampled_from([F(0), F(1, 2), F(1)]), min_size=s, max_size=s),
    )
)


@given(tableau=TABLEAUS)
def test_symplectic_and_symmetric_are_what_steps_do(tableau: tuple[list[list[F]], list[F]]) -> None:
    """Of a Runge-Kutta method: |R(iy)| = 1 and R(z) R(-z) = 1 are necessary; a repeated stage changes no verdict."""
    a, b = tableau
    method = RungeKutta(a, b)
    doubled = RungeKutta(
        [[x / 2 for x in row for _ in (0, 1)] for row in a for _ in (0, 1)], [w / 2 for w in b for _ in (0, 1)]
    )
    idle = RungeKutta([*[[*row, 0] for row in a], [1] * (len(a) + 1)], [*b, 0])  # a stage without a weight
    for decide in (is_symplectic, is_symmetric):
        assert decide(method) == decide(doubled) == decide(idle)
        z = 0.3j
        if decide(method):
            assert abs(method.linear(z) * method.linear(-z) - 1) < 1e-12


def test_geometry_of_other_methods() -> None:
    """The implicit midpoint rule is symplectic as a one-leg method, the trapezoidal rule symmetric alone."""
    assert [
        is_symplectic(m) for m in (MIDPOINT, OneLeg((1,), ("1/2",), "1/2"), LinearMultistep((1,), ("1/2",), "1/2"))
    ] == [True, True, False]
    assert [is_symmetric(m) for m in (MIDPOINT, RK4, LinearMultistep((1,), ("1/2",), "1/2"))] == [True, False, True]
    assert is_symplectic(LinearMultistep((0, 1), (2, 0))) is NOT_DECIDED


@pytest.mark.parametrize("method", [SYMPLECTIC_EULER, VERLET, RUTH, PartitionedRungeKutta(RK4, RK4)])
def test_the_order_is_measured(method: PartitionedRungeKutta) -> None:
    """On y' = z, z' = -sin-like: errors of one step fall by 2^(p+1), against ten times ten steps of Ruth's method."""

    def error(h: float) -> float:
        state, exact = (1.0, 0.5), (1.0, 0.5)
        state = method.step([state], lambda s: (h * (s[1] + s[1] ** 3), -h * math.sin(s[0])))
        for _ in range(200):
            exact = RUTH.step([exact], lambda s: (h / 200 * (s[1] + s[1] ** 3), -h / 200 * math.sin(s[0])))
        return math.hypot(state[0] - exact[0], state[1] - exact[1])

    assert math.log2(error(0.1) / error(0.05)) - 1 == pytest.approx(method.order, abs=0.3)


def test_what_is_no_pair_is_refused() -> None:
    """As many stages, and one time."""
    with raises(ValueError, "as many stages", "2 and 1"):
        PartitionedRungeKutta(HEUN, MIDPOINT)
    with raises(ValueError, "one sum", "1 and 2"):
        PartitionedRungeKutta.splitting((1,), (2,))


def test_formulas() -> None:
    """Splittings as what happens in turn, others as tableaus."""
    assert str(VERLET) == "z += 1/2 h g(y), y += h f(z), z += 1/2 h g(y)"
    assert str(PartitionedRungeKutta.splitting((-1,), (-1,))) == "z -= h g(y), y -= h f(z)"
    assert str(PartitionedRungeKutta(MIDPOINT, MIDPOINT)) == (
        "y[n+1] = y[n] + h k1, z[n+1] = z[n] + h l1, k1 = f(z[n] + 1/2 h l1), l1 = g(y[n] + 1/2 h k1)"
    )


STORMER = SecondOrderMultistep(LinearMultistep((2, -1), (1,)))
NUMEROV = SecondOrderMultistep(LinearMultistep((2, -1), ("5/6", "1/12"), "1/12"))
STORMER_3 = SecondOrderMultistep(LinearMultistep((2, -1, 0), ("13/12", "-1/6", "1/12")))
DOUBLE = SecondOrderMultistep(LinearMultistep((0, 2, 0, -1), (0, 4)))


@pytest.mark.parametrize(
    ("method", "order", "constant", "square"),
    [(STORMER, 2, F(1, 12), 4), (NUMEROV, 4, F(-1, 240), 6), (STORMER_3, 3, F(1, 12), 3)],
)
def test_second_order_methods_of_the_literature(
    method: SecondOrderMultistep, order: int, constant: Fraction, square: int
) -> None:
    """Hairer, Norsett, Wanner, III.10; their own status, never that of a method for y' = f."""
    proved = card(method)
    assert (proved.order, proved.error_constant, proved.status) == (order, constant, "second-order stable")
    assert as_float(proved.imaginary_interval) ** 2 == pytest.approx(square)
    assert (proved.is_convergent, proved.parasitic_radius) == (True, 0)
    assert card(method.formula).status == "unstable"
    assert isinstance(proved.certificate, SecondOrderCertificate)
    assert verify_certificate(method, proved.certificate)
    assert verify_certificate(method, proved.certificate.to_dict())
    assert not verify_certificate(DOUBLE, proved.certificate)


@pytest.mark.parametrize(
    ("alpha", "status"),
    [
        ((0, 2, 0, -1), "second-order stable"),  # (z^2 - 1)^2: any root on the circle may be double
        ((3, -3, 1), "unstable"),  # (z - 1)^3
        ((4, -5, 2), "unstable"),  # (z - 1)^2 (z - 2)
        ((0, 3, 0, -3, 0, 1), "unstable"),  # (z^2 - 1)^3
        (("5/2", -2, "1/2"), "second-order stable"),  # (z - 1)^2 (z - 1/2)
        (("3/2", "-3/4", "1/8"), "second-order stable"),  # (z - 1/2)^3
    ],
)
def test_roots_on_the_circle_are_at_most_double(alpha: tuple[Any, ...], status: str) -> None:
    """Decided with a proof that verifies, and not of another method."""
    method = SecondOrderMultistep(LinearMultistep(alpha, (1,)))
    proved = card(method)
    assert proved.status == status
    assert verify_certificate(method, proved.certificate)
    assert not verify_certificate(SecondOrderMultistep(LinearMultistep((2, -1), (1,))), proved.certificate)
    with raises(ValueError, "distinct"):
        verify_certificate(method, {"ending": "schur"})


def test_verlet_in_two_forms_is_one_method() -> None:
    """Its positions satisfy the two-step recursion."""
    states: list[tuple[Any, Any]] = [(F(1), F(1, 3))]
    for _ in range(3):
        states.append(VERLET.step([states[-1]], lambda s: (F(1, 10) * s[1], -F(1, 10) * s[0] ** 2)))
    positions = [state[0] for state in states]
    assert STORMER.step(positions[1::-1], lambda y: -F(1, 100) * y**2) == positions[2]


class Halves(torch.nn.Module):
    """z += g(y) / 2, y += f(z), z += g(y) / 2, or another drift, around two branches of half the channels."""

    def __init__(self, make: Callable[..., torch.nn.Module], drift: float) -> None:
        super().__init__()
        self.f, self.g, self.drift = make(), make(), drift

    def branch(self, y: torch.Tensor) -> torch.Tensor:
        """(f(z), g(y))."""
        first, second = y.chunk(2, 1)
        return torch.cat((self.f(second), self.g(first)), 1)

    def forward(self, y: torch.Tensor, history: list[torch.Tensor]) -> list[torch.Tensor]:
        """Advance both halves."""
        first, second = y.chunk(2, 1)
        second = second + self.g(first) / 2
        first = first + self.drift * self.f(second)
        return [torch.cat((first, second + self.g(first) / 2), 1)]


class VerletScheme(ExplicitFamily):
    """Verlet's method on the halves of the channels."""

    name = "verlet_halves"
    drift: float = 1.0

    def coefficients(self) -> LinearMultistep:
        """Of small slopes."""
        return self.method().coefficients()

    def method(self) -> PartitionedRungeKutta:
        """Verlet's."""
        return VERLET

    def block(self, f: Any, place: Place) -> Any:
        """Around two further branches."""
        half = place.here.channels // 2
        return Halves(lambda: place.branch(half, half), self.drift)


def test_the_kit_compares_a_partitioned_step_with_its_method() -> None:
    """The right one passes, a longer drift does not."""
    assert card(VerletScheme()).order == 2
    check_computes(VerletScheme())
    with raises(AssertionError, "partitioned Runge-Kutta"):
        check_computes(VerletScheme(drift=1.1))
