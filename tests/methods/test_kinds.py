"""A card is about what a block computes: one-leg twins, truncated solves, splittings, and steps nobody has stated."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.messages import raises
from stabzoo import (
    NOT_DECIDED,
    ExplicitMultistep,
    ImplicitMultistep,
    LearnableMultistep,
    LinearMultistep,
    OneLeg,
    RungeKutta,
    SolverSettings,
    Splitting,
    TruncatedSolve,
    card,
    get_scheme,
)
from stabzoo.methods import OwnNetwork, OwnStep, method_of

F = Fraction

BDF = {
    1: LinearMultistep((1,), (), 1),
    2: LinearMultistep(("4/3", "-1/3"), (), "2/3"),
    3: LinearMultistep(("18/11", "-9/11", "2/11"), (), "6/11"),
    4: LinearMultistep(("48/25", "-36/25", "16/25", "-3/25"), (), "12/25"),
}
ADAMS_MOULTON = {
    1: LinearMultistep((1,), (), 1),
    2: LinearMultistep((1,), ("1/2",), "1/2"),
    3: LinearMultistep((1, 0), ("2/3", "-1/12"), "5/12"),
    4: LinearMultistep((1, 0, 0), ("19/24", "-5/24", "1/24"), "9/24"),
}


class AM2(ImplicitMultistep):
    """The two-step Adams-Moulton method."""

    name = "am2"
    alpha, beta, beta_next = (1, 0), ("2/3", "-1/12"), "5/12"


def test_the_order_of_a_one_leg_scheme_is_its_own() -> None:
    """The interpolation of AM2's twin is of order 1, so its order is 2."""
    assert card(AM2()).order == 3
    proved = card(AM2(one_leg=True))
    assert (proved.order, proved.method.kind) == (2, "one-leg")
    assert str(proved.method) == "y[n+1] = y[n] + h f(5/12 y[n+1] + 2/3 y[n] - 1/12 y[n-1])"
    assert proved.error_constant is None


def test_twins_of_the_literature() -> None:
    """BDF twins keep order and constant, as f is taken at a node; those of Adams-Moulton methods have order 2."""
    for p, method in BDF.items():
        assert (OneLeg.of(method).order, OneLeg.of(method).error_constant) == (p, method.error_constant)
    assert [OneLeg.of(method).order for method in ADAMS_MOULTON.values()] == [1, 2, 2, 2]
    midpoint, tableau = OneLeg((1,), ("1/2",), "1/2"), RungeKutta((("1/2",),), (1,))
    assert (midpoint.order, midpoint.time) == (2, F(1, 2))
    assert midpoint.step([1.0], lambda y: -y * y / 4) == pytest.approx(tableau.step([1.0], lambda y: -y * y / 4))


def test_a_one_leg_method_is_no_multistep_method() -> None:
    """Equal coefficients, other method; without slope there is none."""
    method = BDF[2]
    assert OneLeg.of(method) != method
    assert OneLeg.of(method).coefficients() == method
    assert pickle.loads(pickle.dumps(OneLeg.of(method))) == OneLeg.of(method)
    with raises(ValueError, "betas that do not sum to 0"):
        OneLeg((1,), (1,), -1)
    assert str(OneLeg((0, 1), (2, 0))) == "y[n+1] = y[n-1] + 2 h f(y[n])"
    assert OneLeg((0, 1), (2, 0)).step([F(3), F(5)], lambda y: y / 2) == 8


def test_the_formula_that_is_shown_of_a_one_leg_scheme() -> None:
    """With f outside the mean."""
    assert str(card(get_scheme("theta", one_leg=True)).method) == "y[n+1] = y[n] + h f(1/2 y[n+1] + 1/2 y[n])"
    assert card(get_scheme("theta", one_leg=True, theta="0")).method == LinearMultistep((1,), (1,))


@pytest.mark.parametrize("theta", ["1/4", "1/2", "3/4", "1"])
@pytest.mark.parametrize("one_leg", [False, True])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_a_truncated_solve_is_an_explicit_runge_kutta_method(theta: str, one_leg: bool, iterations: int) -> None:
    """Its tableau written out: the same R, and the same order, by trees; R is the closed form; never A-stable."""
    scheme = get_scheme("theta", theta=theta, one_leg=one_leg, solver=SolverSettings(fixed_iterations=iterations))
    proved, t, k = card(scheme), F(theta), iterations
    if one_leg:
        rows = [[F(0)] * i + [] for i in range(k)]
        for i in range(1, k):
            rows[i][i - 1] = t
        tableau = RungeKutta(rows, [*[F(0)] * (k - 1), F(1)])
    else:
        rows = [[], *[[1 - t, *[F(0)] * (i - 1)] for i in range(1, k + 1)]]
        for i in range(1, k + 1):
            rows[i][i - 1] += t
        tableau = RungeKutta(rows[:-1], rows[-1])
    assert proved.method.kind == "truncated solve"
    assert proved.method.linear == tableau.linear
    assert proved.order == tableau.order
    assert (proved.is_A_stable, proved.is_L_stable) == (False, False)
    assert card(tableau).real_interval == proved.real_interval
    for z in (F(-3), F(1, 2)):  # (1 + (1 - t) z) (1 - (t z)^K) / (1 - t z) + (t z)^K, of both forms
        closed = (1 + (1 - t) * z) * (1 - (t * z) ** k) / (1 - t * z) + (t * z) ** k
        assert sum(c * z**j for j, c in enumerate(proved.method.linear.numerator)) == closed


def test_one_iteration_of_backward_euler() -> None:
    """Euler's method, whatever was promised."""
    proved = card(get_scheme("theta", theta="1", solver={"fixed_iterations": 1}))
    assert (proved.is_A_stable, proved.is_L_stable, proved.stability_function) == (False, False, "1 + z")
    assert (proved.order, proved.real_interval) == (1, 2)


def test_truncated_multistep_methods() -> None:
    """One iteration is an explicit multistep method; of more, what is not decided is said to be so."""
    once = card(TruncatedSolve(BDF[2], 1))
    explicit = LinearMultistep(("4/3", "-1/3"), ("2/3",))
    assert (once.order, once.real_interval) == (explicit.order, card(explicit).real_interval)
    assert once.is_A_stable is False
    twice = card(TruncatedSolve(BDF[2], 2))
    assert (twice.order, twice.is_A_stable, twice.is_L_stable) == (2, False, False)
    assert twice.real_interval is twice.imaginary_interval is NOT_DECIDED
    assert twice.stability_function is None
    assert [TruncatedSolve(BDF[4], k).order for k in (2, 3, 4, 5)] == [2, 3, 4, 4]
    assert TruncatedSolve(BDF[3], 4).error_constant == BDF[3].error_constant
    with raises(ValueError, "implicit"):
        TruncatedSolve(explicit, 1)
    with raises(ValueError, "at least 1"):
        TruncatedSolve(BDF[1], 0)


@pytest.mark.parametrize("method", [*BDF.values(), *ADAMS_MOULTON.values()], ids=str)
@pytest.mark.parametrize("iterations", [1, 2, 3, 4, 5])
def test_orders_of_truncated_multistep_solves_are_measured(method: LinearMultistep, iterations: int) -> None:
    """On y' = -y^2, one step from exact values, in exact arithmetic."""
    for solved in (method, OneLeg.of(method)):
        truncated = TruncatedSolve(solved, iterations)
        assert measured(truncated) == truncated.order, truncated


def measured(method: Any) -> int:
    """The order of one step on y' = -y^2, y = 1 / (1 + t), exactly evaluated: log2 of the ratio of two errors, less 1."""
    errors = []
    for h in (F(1, 4096), F(1, 8192)):
        past = [1 / (1 - j * h) for j in range(method.steps)]
        errors.append(abs(method.step(past, lambda y, h=h: -h * y * y) - 1 / (1 + h)))
    ratio = errors[0] / errors[1]
    return min(range(12), key=lambda p: abs(ratio - 2 ** (p + 1)))


class Stated(ExplicitMultistep):
    """A step of its own, stated."""

    name = "stated"
    alpha, beta = (1,), (1,)

    def method(self) -> RungeKutta:
        """Heun's."""
        return RungeKutta(((), (1,)), ("1/2", "1/2"))

    def block(self, f: Any) -> Any:
        """Heun's."""
        return f


class Unstated(ExplicitMultistep):
    """A step of its own."""

    name = "unstated"
    alpha, beta = (1,), (1,)

    def block(self, f: Any) -> Any:
        """Whatever it is."""
        return f


class Derived(Stated):
    """Another step than the one that was stated."""

    def block(self, f: Any) -> Any:
        """Whatever it is."""
        return f


class Renetworked(Stated):
    """The step is stated, what the network does is not."""

    @classmethod
    def network(cls) -> Any:
        """Whatever it is."""
        return None


class Mixin:
    """A block that comes from beside."""

    def block(self, f: Any) -> Any:
        """Whatever it is."""
        return f


class Mixed(Mixin, ExplicitMultistep):
    """A block of another class than the method."""

    name = "mixed"
    alpha, beta = (1,), (1,)


class Structural:
    """No class of ours: it has what a scheme needs and says nothing of its method."""

    name = "structural"

    def coefficients(self) -> LinearMultistep:
        """Euler's."""
        return LinearMultistep((1,), (1,))

    def block(self, f: Any) -> Any:
        """Whatever it is."""
        return f

    @classmethod
    def network(cls) -> Any:
        """Whatever it is."""
        return None


@pytest.mark.parametrize("scheme", [Unstated(), Derived(), Mixed(), Structural()])
def test_nothing_is_claimed_of_a_step_that_nobody_has_stated(scheme: Any) -> None:
    """Zero stability of the coefficients, and not an order nor any stability region."""
    proved = card(scheme)
    assert isinstance(proved.method, OwnStep)
    assert (proved.method.kind, proved.status) == ("own step", "strong")
    for name in ("order", "error_constant", "is_consistent", "is_convergent", "is_A_stable", "is_L_stable",
                 "stability_function", "real_interval", "imaginary_interval", "ssp_coefficient"):  # fmt: skip
        assert getattr(proved, name) is NOT_DECIDED, name
    data = json.loads(json.dumps(proved.to_dict(), allow_nan=False))
    assert (data["kind"], data["order"], data["is_A_stable"]) == ("own step", "not decided", "not decided")
    assert data["formula"] == "y[n+1] = y[n] + (own step of f)"
    with pytest.raises(NotImplementedError):
        proved.method.step([1], lambda y: y)


def test_what_is_stated_is_what_the_card_is_about() -> None:
    """Of Heun's step order 2 and R(z); a subclass with another network has an own network."""
    proved = card(Stated())
    assert (proved.order, proved.stability_function, proved.error_constant) == (2, "1 + z + 1/2 z^2", None)
    assert isinstance(method_of(Renetworked()), OwnNetwork)
    assert card(Renetworked()).order is NOT_DECIDED


def test_a_class_that_lacks_a_block_is_its_coefficients() -> None:
    """As before: anything with coefficients() has a card."""

    class Bare:
        def coefficients(self) -> LinearMultistep:
            return BDF[2]

    assert card(Bare()).method == BDF[2]
    assert card(BDF[2]).method is BDF[2]


def test_a_statement_about_another_rho_is_refused() -> None:
    """The scheme is not one method."""

    class Contradiction(ExplicitMultistep):
        name = "contradiction"
        alpha, beta = (0, 1), (2,)

        def method(self) -> RungeKutta:
            return RungeKutta(((),), (1,))

    with raises(ValueError, "Contradiction", "method()", "rho", "one method"):
        card(Contradiction())


def test_a_learnable_scheme_is_its_coefficients_at_initialisation() -> None:
    """Its block is ours."""
    assert isinstance(get_scheme("zerosnet_tra"), LearnableMultistep)
    assert card(get_scheme("zerosnet_tra")).order == 2


def test_splitting() -> None:
    """Order 1, and nothing of a linear step."""
    proved = card(get_scheme("resnet_d"))
    assert (proved.method.kind, proved.order, proved.status) == ("splitting", 1, "strong")
    assert str(proved.method) == "y[n+1] = max(0, y[n] + h f[n])"
    assert proved.is_A_stable is proved.real_interval is NOT_DECIDED
    assert Splitting().step([F(1)], lambda y: -3 * y) == 0
    assert Splitting().step([F(1)], lambda y: y / 2) == F(3, 2)
    with raises(ValueError, "explicit"):
        Splitting(BDF[1])


def test_not_decided_is_neither_true_nor_false() -> None:
    """Whoever forgets it is told."""
    with raises(TypeError, "not decided", "NOT_DECIDED"):
        bool(NOT_DECIDED)
    assert str(NOT_DECIDED) == repr(NOT_DECIDED) == "not decided"
    assert pickle.loads(pickle.dumps(NOT_DECIDED)) is NOT_DECIDED


@given(
    alpha=st.lists(st.fractions(-1, 1, max_denominator=5), min_size=1, max_size=3),
    beta=st.lists(st.fractions(-1, 1, max_denominator=5), min_size=1, max_size=1),
    new=st.fractions("1/9", 1, max_denominator=9),
    iterations=st.integers(1, 4),
)
def test_the_polynomial_is_the_step(alpha: list[F], beta: list[F], new: F, iterations: int) -> None:
    """R(z) of a truncated solve, and a single iteration of more steps, exactly."""
    for solved in (LinearMultistep, OneLeg):
        if solved is OneLeg and sum(beta) + new == 0:
            continue
        method = TruncatedSolve(solved(alpha, beta, new), iterations)
        z, past = F(-2, 3), [F(1), F(1, 2), F(-1)][: len(alpha)]
        step = method.step(past, lambda y, z=z: z * y)
        if method.steps == 1:
            assert step == sum(c * z**j for j, c in enumerate(method.linear.numerator))
        elif iterations == 1:
            assert step == method.linear.step(past, lambda y, z=z: z * y)
