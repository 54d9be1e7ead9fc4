"""Splittings: a step of a method, then a projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from stabzoo.methods.method import Method
from stabzoo.methods.multistep import EULER, LinearMultistep, State

__all__ = ["Splitting"]


@dataclass(frozen=True, slots=True)
class Splitting(Method):
    """A step of an explicit method, then the projection onto y >= 0: with Euler's the forward-backward step.

        y_{n+1} = max(0, y_n + h f(y_n)),    a discretization of y' in f(y) - N(y), N the normal cone of y >= 0

    The order holds for solutions that stay in y > 0, and is at most 1: elsewhere the flows do not commute.  Projecting
    is not linear, so R(z) and its consequences are not decided.

    Source: Zhang and Schaeffer, JMIV 2020, section 2.

    >>> print(Splitting())
    y[n+1] = max(0, y[n] + h f[n])

    """

    kind: ClassVar[str] = "splitting"

    explicit: LinearMultistep = EULER

    def __post_init__(self) -> None:
        if not self.explicit.is_explicit:
            raise ValueError(f"expected an explicit method, got {self.explicit}")

    @property
    def order(self) -> int | None:
        """At most 1."""
        return self.explicit.order and min(self.explicit.order, 1)

    def coefficients(self) -> LinearMultistep:
        """The coefficients of the explicit method."""
        return self.explicit

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1}, of states that have an absolute value."""
        new = self.explicit.step(states, f)
        return Fraction(1, 2) * (new + abs(new))

    def __str__(self) -> str:
        return f"y[n+1] = max(0, {str(self.explicit).partition(' = ')[2]})"
