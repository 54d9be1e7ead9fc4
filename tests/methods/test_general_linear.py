"""General linear methods: order from a starting method, powers of V with certificates, M(z), against the literature."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from fixtures.messages import raises
from stabzoo import (
    NOT_DECIDED,
    ExplicitFamily,
    GeneralLinear,
    LinearMultistep,
    OneLeg,
    Place,
    RungeKutta,
    adams_bashforth,
    adams_moulton,
    bdf,
    card,
    milne_simpson,
    nystrom,
    verify_certificate,
)
from stabzoo.methods.general_linear.method import stability_polynomial
from stabzoo.methods.trees import density, nodes
from stabzoo.stability.enclosure import as_float
from stabzoo.testing.steps import check_computes

F = Fraction

DIMSIM = GeneralLinear(
    ((0, 0), (2, 0)), ((1, 0), (0, 1)), (("5/4", "1/4"), ("3/4", "-1/4")), (("1/2", "1/2"), ("1/2", "1/2"))
)
"""Butcher (1993), Diagonally-implicit multi-stage integration methods: p = q = r = s = 2, type 1."""

ALMOST_RUNGE_KUTTA = GeneralLinear(
    ((0, 0, 0, 0), ("1/16", 0, 0, 0), ("-1/4", 2, 0, 0), (0, "2/3", "1/6", 0)),
    ((1, 1, "1/2"), (1, "7/16", "1/16"), (1, "-3/4", "-1/4"), (1, "1/6", 0)),
    ((0, "2/3", "1/6", 0), (0, 0, 0, 1), ("-1/3", 0, "-2/3", 2)),
    ((1, "1/6", 0), (0, 0, 0), (0, -1, 0)),
)
"""Of order 4, with the stability of a Runge-Kutta method: Butcher, Numerical Methods for ODEs, 54."""

PSEUDO_RUNGE_KUTTA = GeneralLinear(
    ((0, 0), (1, 0)),
    ((1, 0, 0), (1, 0, 0)),
    (("13/12", "5/12"), (1, 0), (0, 1)),
    ((1, "-1/12", "-5/12"), (0, 0, 0), (0, 0, 0)),
)
"""Byrne, Lambert (1966): a two-step Runge-Kutta method of two stages and order 3."""

MULTISTEP = [
    *(adams_bashforth(k) for k in (1, 2, 3, 4)),
    *(adams_moulton(k) for k in (1, 2, 3)),
    *(bdf(k) for k in (1, 2, 3, 4, 5, 6, 7)),
    nystrom(3),
    milne_simpson(2),
    LinearMultistep((0, 1), (2, 0)),
    LinearMultistep((-4, 5), (4, 2)),  # of order 3, unstable
    LinearMultistep((1,), (2,)),
    LinearMultistep((0,), (1,)),
    LinearMultistep(("1/2",), (1,)),
]

RK4 = RungeKutta(((), ("1/2",), (0, "1/2"), (0, 0, 1)), ("1/6", "1/3", "1/3", "1/6"))
SSPRK3 = RungeKutta(((), (1,), ("1/4", "1/4")), ("1/6", "1/6", "2/3"))
HEUN = RungeKutta(((), (1,)), ("1/2", "1/2"))
GAUSS = RungeKutta((("1/2",),), (1,))
RADAU = RungeKutta((("5/12", "-1/12"), ("3/4", "1/4")), ("3/4", "1/4"))
LOBATTO_IIIC = RungeKutta(
    (("1/6", "-1/3", "1/6"), ("1/6", "5/12", "-1/12"), ("1/6", "2/3", "1/6")), ("1/6", "2/3", "1/6")
)


@pytest.mark.parametrize(
    ("method", "order", "text"),
    [
        (DIMSIM, 2, "1 + z + 1/2 z^2"),
        (ALMOST_RUNGE_KUTTA, 4, "1 + z + 1/2 z^2 + 1/6 z^3 + 1/24 z^4"),
        (PSEUDO_RUNGE_KUTTA, 3, "not decided"),
    ],
)
def test_methods_of_the_literature(method: GeneralLinear, order: int, text: str) -> None:
    """Have the order that was published, are strongly zero-stable, and what is known of M(z) is known."""
    proved = card(method)
    assert (proved.order, proved.status, str(method.linear)) == (order, "strong", text)
    assert (proved.is_convergent, proved.method.is_explicit) == (True, True)
    assert verify_certificate(method, proved.certificate)
    assert proved.stability_constant is proved.error_constant is NOT_DECIDED


@pytest.mark.parametrize("method", MULTISTEP, ids=str)
def test_a_multistep_method_in_this_form_is_the_same(method: LinearMultistep) -> None:
    """Order, zero stability and everything that rho - z sigma decides; of its one-leg twin the twin's order."""
    general = GeneralLinear.of(method)
    mine, its = card(method), card(general)
    assert (its.order, its.is_zero_stable) == (mine.order, mine.is_zero_stable)
    assert verify_certificate(general, its.certificate)
    if mine.coefficients.is_preconsistent:
        assert its.status == mine.status
    for name in ("real_interval", "imaginary_interval", "is_A_stable", "is_L_stable"):
        assert getattr(its, name) == getattr(mine, name), name
    if sum(method.sigma) and method.order:
        assert GeneralLinear.of(OneLeg.of(method)).order == method.order
        assert (OneLeg.of(method).order or 0) <= method.order


@pytest.mark.parametrize("method", [RK4, SSPRK3, HEUN, GAUSS, RADAU, LOBATTO_IIIC], ids=str)
def test_a_runge_kutta_method_in_this_form_is_the_same(method: RungeKutta) -> None:
    """Order, R(z) and what it decides, and the step."""
    general = GeneralLinear.of(method)
    assert (general.order, general.linear) == (method.order, method.linear)
    assert general.coefficients() == method.coefficients()
    assert card(general).is_A_stable == card(method).is_A_stable
    field = {"f": lambda y: 0.1 * y * (1 - y)}["f"]
    assert general.step([(0.3,)], field)[0] == pytest.approx(method.step([0.3], field))


ENTRIES = st.sampled_from([F(-1), F(-1, 2), F(0), F(1, 3), F(1, 2), F(1)])


@given(st.data())
def test_orders_of_runge_kutta_methods(data: st.DataObject) -> None:
    """Between the order from exact values and that of R(z): where these agree, it is the same."""
    s = data.draw(st.integers(1, 3))
    rows = [data.draw(st.lists(ENTRIES, min_size=i, max_size=i)) for i in range(s)]
    b = data.draw(st.lists(ENTRIES, min_size=s, max_size=s))
    b[-1] += 1 - sum(b)
    method = RungeKutta(rows, b)
    series = [*method.linear.numerator, *[F(0)] * 8]
    on_linear = next(j for j in range(9) if series[j] != F(1, math.factorial(j))) - 1
    assert method.order <= GeneralLinear.of(method).order <= on_linear


def test_effective_order() -> None:
    """A tableau of order 2 with sum b a c = 1/6 follows the solution to order 3, from another value than the exact one."""
    c2, c3 = F(1, 2), F(1)
    b3, a32 = F(1, 4), F(4, 3)  # b3 a32 c2 = 1/6
    b2 = (F(1, 2) - b3 * c3) / c2
    method = RungeKutta(((), (c2,), (c3 - a32, a32)), (1 - b2 - b3, b2, b3))
    assert b2 * c2**2 + b3 * c3**2 != F(1, 3)
    assert (method.order, GeneralLinear.of(method).order) == (2, 3)


def test_the_starting_method_of_a_multistep_method_is_the_exact_solution() -> None:
    """y(t - j h) has (-j)^n / gamma for coefficients, up to the order, and the slopes those of h y'."""
    method = adams_bashforth(3)
    general = GeneralLinear.of(method)
    starting = general.starting
    assert isinstance(starting, dict)
    times = [-j for j in range(3)]
    for tree, vector in starting.items():
        n = nodes(tree)
        shift = vector[0]
        if n == 1:
            assert [x - shift for x in vector] == [*times, *[1 - shift] * 3]
    assert {nodes(tree) for tree in starting} == {1, 2, 3}
    assert all(density(tree) >= nodes(tree) for tree in starting)


def test_the_order_is_measured() -> None:
    """Of the two-step Runge-Kutta method, whose quantities are known: y and h times the slopes of the step before."""

    def error(h: float) -> float:
        def f(y: float) -> float:
            return -h * y * y

        def solution(n: int) -> float:
            return 1 / (1 + n * h)

        first = f(solution(-1))
        quantities = (solution(0), first, f(solution(-1) + first))
        return abs(PSEUDO_RUNGE_KUTTA.step([quantities], f)[0] - solution(1))

    assert math.log2(error(0.02) / error(0.01)) - 1 == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("method", [DIMSIM, ALMOST_RUNGE_KUTTA, PSEUDO_RUNGE_KUTTA, GeneralLinear.of(RADAU)])
def test_the_stability_polynomial_is_that_of_the_stability_matrix(method: GeneralLinear) -> None:
    """At a complex z: det(I - zA) det(zeta I - M(z)) in floating point."""
    z = 0.3 - 0.7j
    a, u, b, v = (np.array([[float(x) for x in row] for row in m]) for m in (method.a, method.u, method.b, method.v))
    inner = np.eye(len(a)) - z * a
    expected = np.linalg.det(inner) * np.poly(v + z * b @ np.linalg.solve(inner, u))
    found = [sum(float(c) * z**j for j, c in enumerate(column)) for column in stability_polynomial(method)]
    assert np.allclose(found[::-1], expected)


@pytest.mark.parametrize(
    ("v", "status"),
    [
        (((1, 0), (0, 1)), "weak"),  # the identity has bounded powers, 1 is no simple eigenvalue
        (((1, 1), (0, 1)), "unstable"),  # they grow linearly
        (((1, 0), (0, -1)), "weak"),
        (((1, 0), (5, "1/2")), "strong"),
        (((1, 0), (5, "101/100")), "unstable"),
        (((1, 5), (0, 0)), "strong"),
        (((0, -1), (1, 0)), "weak"),  # a rotation
        (((1, 0, 0), (0, 1, 0), (0, 0, "1/2")), "weak"),
        (((1, 0, 0), (0, 1, 1), (0, 0, 1)), "unstable"),
    ],
)
def test_zero_stability_is_the_boundedness_of_powers(v: tuple[tuple[Any, ...], ...], status: str) -> None:
    """As the minimal polynomial has it, not the characteristic one; with a certificate that verifies."""
    r = len(v)
    method = GeneralLinear(((0,),), ((1, *[0] * (r - 1)),), [[1]] * r, v)
    proved = card(method)
    assert proved.status == status
    for proof in (proved.certificate, proved.certificate.to_dict()):
        assert verify_certificate(method, proof)
    power = np.linalg.matrix_power(np.array([[float(F(x)) for x in row] for row in v]), 10**4)
    assert bool(np.abs(power).max() < 100) is proved.is_zero_stable


def test_a_certificate_is_about_its_own_matrix() -> None:
    """The identity's is no proof of a Jordan block, nor a multiple of the minimal polynomial one of growth."""
    identity, block = (GeneralLinear(((0,),), ((1, 0),), ((1,), (1,)), v) for v in (((1, 0), (0, 1)), ((1, 1), (0, 1))))
    assert not verify_certificate(block, card(identity).certificate)
    assert not verify_certificate(identity, card(block).certificate)  # (z - 1)^2 annihilates it and is violated


@given(
    st.lists(st.lists(st.sampled_from([F(-1), F(0), F(1, 2), F(1)]), min_size=3, max_size=3), min_size=3, max_size=3)
)
def test_zero_stability_against_floating_point(v: list[list[F]]) -> None:
    """Of matrices whose eigenvalues are not near the circle unless on it: the powers tell."""
    method = GeneralLinear(((0,),), ((1, 0, 0),), ((1,), (0,), (0,)), v)
    proved = card(method)
    assert verify_certificate(method, proved.certificate)
    matrix = np.array(v, dtype=float)
    moduli = np.abs(np.linalg.eigvals(matrix))
    assume(not ((moduli > 1 - 1e-3) & (moduli < 1 - 1e-9)).any())
    with np.errstate(all="ignore"):
        largest = max(np.abs(np.linalg.matrix_power(matrix, n)).max() for n in (300, 3000))
    assert bool(largest < 100) is proved.is_zero_stable


def test_what_is_not_preconsistent_has_no_order() -> None:
    """And where 1 is a multiple eigenvalue, the order is not decided."""
    assert GeneralLinear(((0,),), ((1,),), ((1,),), (("1/2",),)).order is None
    assert GeneralLinear(((0,),), ((1,),), ((2,),), ((1,),)).order == 0
    two = GeneralLinear(((0,),), ((1, 0),), ((1,), (1,)), ((1, 0), (0, 1)))
    assert two.order is two.starting is NOT_DECIDED
    assert DIMSIM.preconsistency == (1, 1)
    assert ALMOST_RUNGE_KUTTA.consistency == (0, 1, 0)


def test_what_is_no_method_is_refused() -> None:
    """Sizes that do not fit, named."""
    with raises(ValueError, "u of 1 rows of 2 entries", "1 stages", "2 quantities"):
        GeneralLinear(((0,),), ((1,),), ((1,), (1,)), ((1, 0), (0, 1)))
    with raises(ValueError, "v[0][0]"):
        GeneralLinear(((0,),), ((1,),), ((1,),), (("x",),))
    with raises(ValueError, "1 to 16 stages", "got 0"):
        GeneralLinear((), (), (), ())


def test_formula() -> None:
    """Quantities, then slopes."""
    assert str(DIMSIM) == (
        "y1[n+1] = 1/2 y1[n] + 1/2 y2[n] + 5/4 h k1 + 1/4 h k2, "
        "y2[n+1] = 1/2 y1[n] + 1/2 y2[n] + 3/4 h k1 - 1/4 h k2, k1 = f(y1[n]), k2 = f(y2[n] + 2 h k1)"
    )


def test_intervals_follow_from_the_polynomial() -> None:
    """Those of Heun's R(z) for the DIMSIM, those of RK4 for the other."""
    assert card(DIMSIM).real_interval == 2
    assert as_float(card(ALMOST_RUNGE_KUTTA).imaginary_interval) == pytest.approx(math.sqrt(8))


class DimsimStep(torch.nn.Module):
    """Two quantities, halves of the channels, around one branch; ``last``: of k_2 in y_2."""

    def __init__(self, f: torch.nn.Module, last: float) -> None:
        super().__init__()
        self.f, self.last = f, last

    def branch(self, y: torch.Tensor) -> torch.Tensor:
        """The f of a quantity."""
        return self.f(y)

    def forward(self, y: torch.Tensor, history: list[torch.Tensor]) -> list[torch.Tensor]:
        """Advance both quantities."""
        first, second = y.chunk(2, 1)
        k1 = self.f(first)
        k2 = self.f(second + 2 * k1)
        mean = (first + second) / 2
        return [torch.cat((mean + 1.25 * k1 + 0.25 * k2, mean + 0.75 * k1 + self.last * k2), 1)]


class Dimsim(ExplicitFamily):
    """Butcher's method of order 2."""

    name = "dimsim"
    last: float = -0.25

    def coefficients(self) -> LinearMultistep:
        """Of small slopes."""
        return self.method().coefficients()

    def method(self) -> GeneralLinear:
        """What a block computes."""
        return DIMSIM

    def block(self, f: Any, place: Place) -> Any:
        """Around a branch of half the channels."""
        half = place.here.channels // 2
        return DimsimStep(place.branch(half, half), self.last)


def test_the_kit_compares_a_step_of_several_quantities() -> None:
    """The right one passes, one with another sign does not."""
    assert card(Dimsim()).order == 2
    assert Dimsim().coefficients() == LinearMultistep((1,), (1,))
    check_computes(Dimsim())
    with raises(AssertionError, "general linear"):
        check_computes(Dimsim(last=0.25))
