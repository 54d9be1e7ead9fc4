"""The optima of order 2 with one evaluation of f: their roots, exactly, and the inequality that none does better."""

from fractions import Fraction

import pytest
import torch

import stabzoo


@pytest.mark.parametrize("steps", range(2, 9))
def test_all_parasitic_roots_are_at_the_smallest_radius(steps: int) -> None:
    """Rho is (z - 1) (z + r)^(d-1), r = 1/(2d-3); order 2; f_n alone, with the weight ((2d-2)/(2d-3))^(d-1)."""
    card = stabzoo.card(stabzoo.get_scheme("optimal", steps=steps))
    r, method = Fraction(1, 2 * steps - 3), card.coefficients
    for z in map(Fraction, range(steps + 2)):  # more points than the degree
        rho = z**steps - sum(a * z ** (steps - 1 - j) for j, a in enumerate(method.alpha))
        assert rho == (z - 1) * (z + r) ** (steps - 1)
    assert method.beta == (Fraction(2 * steps - 2, 2 * steps - 3) ** (steps - 1), *[0] * (steps - 1))
    assert (card.order, card.parasitic_radius) == (2, r)
    assert card.status == ("weak" if steps == 2 else "strong")


def test_three_steps_are_zerosnet_opt() -> None:
    """Theorem 3 of the paper."""
    assert stabzoo.get_scheme("optimal", steps=3).coefficients() == stabzoo.get_scheme("zerosnet_opt").coefficients()


def test_the_order_condition_and_its_bound() -> None:
    """The mean of 1 / (1 - w) over the parasitic roots w of a method of order 2 is (2d-3)/(2d-2), and at least 1/(1+s).

    So of the ZeroSNet family, whose members are all such methods of 3 steps: w solve 4 l w^2 + (l - 3) w + l + 1 = 0.
    """
    for lam in map(Fraction, ("-9/5", "3", "-1", "7/2", "-40", "1/2")):
        a, b, c = 4 * lam, lam - 3, lam + 1
        mean = (2 * a + b) / (2 * (a + b + c))  # rho'/rho of the quadratic at 1, halved
        assert mean == Fraction(3, 4)
    generator = torch.Generator().manual_seed(0)
    s = torch.rand(10_000, generator=generator, dtype=torch.float64)
    angle = torch.rand(10_000, generator=generator, dtype=torch.float64) * 2 * torch.pi
    w = torch.polar(s * torch.rand(10_000, generator=generator, dtype=torch.float64), angle)
    assert ((1 / (1 - w)).real >= 1 / (1 + s)).all()
