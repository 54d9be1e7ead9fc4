"""Fractional networks: exact properties of their weights, and the solution of a fractional equation."""

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

import stabzoo
from stabzoo_fractional import weights


@pytest.mark.parametrize("a", ["1/10", "1/2", "9/10", "1"])
def test_a_step_is_a_mean_of_all_states(a: str) -> None:
    """No weight is negative, and they sum to 1, exactly, as deep as networks are; at a = 1 it is y_n alone."""
    for states in (1, 2, 3, 18, 200):
        found = weights(Fraction(a), states)
        assert len(found) == states
        assert sum(found) == 1
        assert min(found) >= 0
        assert (found == (1, *[0] * (states - 1))) is (a == "1" or states == 1)
        past = found[:-1]  # of y_n, ..., y_1: convex, so they decrease
        assert list(past) == sorted(past, reverse=True)


def test_the_weights_are_those_of_the_l1_scheme() -> None:
    """At a = 1/2: 2 - sqrt 2, 2 sqrt 2 - 1 - sqrt 3 and sqrt 3 - sqrt 2, to the resolution."""
    exact = (2 - math.sqrt(2), 2 * math.sqrt(2) - 1 - math.sqrt(3), math.sqrt(3) - math.sqrt(2))
    assert all(abs(float(w) - x) < 2e-12 for w, x in zip(weights(Fraction(1, 2), 3), exact, strict=True))


class Decay(nn.Module):
    """-c y."""

    def __init__(self, c: float) -> None:
        super().__init__()
        self.c = c

    def forward(self, y: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        """Scaled."""
        return -self.c * scale * y


def test_steps_solve_a_fractional_equation() -> None:
    """D^(1/2) y = -y, y(0) = 1: y(1) = e erfc(1); the error about halves with the step size, as of the explicit scheme."""
    errors = []
    for count in (50, 100):
        f = Decay(math.gamma(1.5) * count**-0.5)
        states = [torch.ones(1, 1, 1, 1, dtype=torch.float64)]
        for n in range(1, count + 1):
            mean = sum(float(w) * y for w, y in zip(weights(Fraction(1, 2), n), states, strict=True))
            new = mean + f(states[0])
            states.insert(0, new)
        errors.append(abs(states[0].item() - math.e * math.erfc(1)))
    assert 1.9 < errors[0] / errors[1] < 2.1


def test_a_network_keeps_all_states_of_a_stage() -> None:
    """Its blocks state the weights that they compute with, and its card is about their product."""
    scheme = stabzoo.get_scheme("fractional")
    model = type(scheme).network()(scheme, layers=(4, 2, 2), width=4)
    assert [method.steps for method in model.block_methods()] == [1, 2, 3, 4, 1, 2, 1, 2]
    assert model.block_methods()[3].alpha == weights(Fraction(1, 2), 4)
    assert model.stability_card().norm == 1  # in the maximum norm, of all products of blocks
    states = [torch.randn(2, 4, 3, 3) for _ in range(4)]
    step = model.blocks()[3].step
    step.f = Decay(0.0)
    assert step(states[0], states)[0].abs().max() <= torch.stack(states).abs().max()
