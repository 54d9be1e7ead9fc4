"""A step that a scheme computes by itself without saying which method it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from stabzoo.multistep import NOT_DECIDED, LinearMultistep, NotDecided, State

__all__ = ["OwnStep"]


@dataclass(frozen=True, slots=True)
class OwnStep:
    """A block, or a network, of which nothing is stated but coefficients: these decide zero stability and no more."""

    stated: LinearMultistep
    kind: Literal["own step", "own network"] = "own step"

    @property
    def steps(self) -> int:
        """Number of steps of the stated coefficients."""
        return self.stated.steps

    @property
    def is_explicit(self) -> bool:
        """Whether the stated coefficients are explicit."""
        return self.stated.is_explicit

    @property
    def order(self) -> NotDecided:
        """Not decided."""
        return NOT_DECIDED

    @property
    def error_constant(self) -> NotDecided:
        """Not decided."""
        return NOT_DECIDED

    @property
    def linear(self) -> NotDecided:
        """Not decided."""
        return NOT_DECIDED

    def coefficients(self) -> LinearMultistep:
        """The stated coefficients."""
        return self.stated

    def method(self) -> OwnStep:
        """Return itself."""
        return self

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Nobody has said what it is.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"the {self.kind} is not stated; define method() beside it")

    def __str__(self) -> str:
        return f"y[n+1] = {LinearMultistep(self.stated.alpha, ()).__str__().partition(' = ')[2]} + ({self.kind} of f)"
