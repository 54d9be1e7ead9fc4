"""A step that a scheme computes by itself without saying which method it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stabzoo.methods.multistep import NOT_DECIDED, LinearMultistep, NotDecided, State

__all__ = ["OwnNetwork", "OwnStep"]


@dataclass(frozen=True, slots=True)
class OwnStep:
    """A block of which nothing is stated but coefficients: these decide zero stability and no more."""

    kind: ClassVar[str] = "own step"

    stated: LinearMultistep

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


class OwnNetwork(OwnStep):
    """A network whose blocks are not its scheme's, and of which nothing is stated: not even that rho is its own."""

    __slots__ = ()
    kind: ClassVar[str] = "own network"
