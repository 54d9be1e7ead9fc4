"""Runge-Kutta networks: the convex combinations of Shu and Osher, and the classical method on a known equation."""

from fractions import Fraction

import pytest

import stabzoo


def test_ssp_rk3_is_a_convex_combination_of_euler_steps() -> None:
    """Shu and Osher's form, exactly, for a nonlinear f."""

    def euler(y: Fraction) -> Fraction:
        return y + y * (1 - y) / 7

    y = Fraction(2, 5)
    first = euler(y)
    second = Fraction(3, 4) * y + Fraction(1, 4) * euler(first)
    third = Fraction(1, 3) * y + Fraction(2, 3) * euler(second)
    assert stabzoo.get_scheme("ssp_rk3").method().step([y], lambda y: euler(y) - y) == third


@pytest.mark.parametrize(("scheme", "order"), [("rk2", 2), ("ssp_rk3", 3), ("rk4", 4)])
def test_r_is_the_exponentials_series_cut_off(scheme: str, order: int) -> None:
    """As many stages as orders leave no other choice; none is A-stable."""
    card = stabzoo.card(stabzoo.get_scheme(scheme))
    assert (card.order, card.is_A_stable) == (order, False)
    exponential = [Fraction(1)]
    for j in range(1, order + 1):
        exponential.append(exponential[-1] / j)
    assert card.method.linear.numerator == tuple(exponential)
