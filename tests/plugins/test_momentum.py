"""Momentum networks: the numbers of the authors' package, and what the coefficients are at both ends of gamma."""

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

import stabzoo

RELEASED = [
    2.71297476121333, 3.16684801663812, -1.3952558125848, -3.39766002401432, -0.25966802276168, 3.46668801782439,
]  # fmt: skip
"""Of momentumnet 0.10: five blocks with gamma = 0.9 and v_0 = f_1(x_0), every second number."""


class Wave(nn.Module):
    """tanh((1 + n/10) y) of shifted columns, less 3/10 y."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def forward(self, y: Tensor, scale: float = 1.0) -> Tensor:
        """f(y), scaled."""
        return scale * (torch.tanh(y.roll(self.number, -1) * (1 + 0.1 * self.number)) - 0.3 * y)


def test_the_released_numbers() -> None:
    """An Euler step, which is v_0 = f(x_0), then the 2-step rule; backwards, the state before is found again."""
    scheme: Any = stabzoo.get_scheme("momentum")
    x = torch.sin(0.7 * torch.arange(12, dtype=torch.float64)).reshape(1, 3, 2, 2)
    states = [scheme.starting_block(Wave(1), returns_slope=False)(x, [x]), x]
    steps = [scheme.block(Wave(number)) for number in range(2, 6)]
    for step in steps:
        states.insert(0, step(states[0], states[:2]))
    torch.testing.assert_close(
        states[0].flatten()[::2], torch.tensor(RELEASED, dtype=torch.float64), rtol=0, atol=1e-13
    )
    newest, before = states[:2]
    for step in reversed(steps):
        newest, before = before, step.inverse(newest, [before])
    torch.testing.assert_close(before, x, rtol=0, atol=1e-12)


def test_velocity_is_a_difference_of_states() -> None:
    """The recursion in (v, y), exactly, for gamma on both sides of 0."""

    def f(y: Fraction) -> Fraction:
        return y * (1 - y) / 3

    for gamma in (Fraction(9, 10), Fraction(-1, 2), Fraction(0)):
        method = stabzoo.get_scheme("momentum", gamma=gamma).coefficients()
        states = [Fraction(1, 2), Fraction(1, 3)]
        y, v = states[0], states[0] - states[1]
        for _ in range(4):
            v = gamma * v + (1 - gamma) * f(y)
            y += v
            states.insert(0, method.step(states, f))
        assert states[0] == y


def test_both_ends_of_gamma() -> None:
    """Leapfrog, of order 2, at -1; at 1 a double root, and no f; order 1 in between, with the roots 1 and gamma."""
    card = {
        gamma: stabzoo.card(stabzoo.get_scheme("momentum", gamma=gamma)) for gamma in (-1, "999/1000", 1, "-1001/1000")
    }
    assert (card[-1].status, card[-1].order) == ("weak", 2)
    assert card[-1].coefficients == stabzoo.LinearMultistep((0, 1), (2,))
    assert (card["999/1000"].status, card["999/1000"].order) == ("strong", 1)
    assert card["999/1000"].parasitic_radius == Fraction(999, 1000)
    assert [card[gamma].status for gamma in (1, "-1001/1000")] == ["unstable", "unstable"]
    assert card[1].coefficients == stabzoo.LinearMultistep((2, -1), (0,))
