"""Which method a scheme's block computes: the one that it states, or a step of its own of which nothing is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from stabzoo.methods.method import Method
from stabzoo.methods.multistep import HasCoefficients, LinearMultistep, State

__all__ = ["HasMethod", "OwnNetwork", "OwnStep", "method_of"]


@dataclass(frozen=True, slots=True)
class OwnStep(Method):
    """A block of which nothing is stated but coefficients: these decide zero stability and no more."""

    kind: ClassVar[str] = "own step"

    stated: LinearMultistep

    @property
    def is_explicit(self) -> bool:
        """Whether the stated coefficients are explicit."""
        return self.stated.is_explicit

    def coefficients(self) -> LinearMultistep:
        """The stated coefficients."""
        return self.stated

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


@runtime_checkable
class HasMethod(Protocol):
    """A scheme that states what its block computes; see `method_of`."""

    def method(self) -> Any:
        """Return the `Method`."""
        ...


def method_of(scheme: HasCoefficients) -> Method:
    """Return what one block of a scheme computes; a method is a scheme of itself.

    A scheme says it by `method()`.  The statement is about the `block` and the `network` that it was made for: a class
    that overrides one of these and not `method` states nothing, and neither does a class with a `block` and without
    any `method`.  Their step is their own, and what its coefficients do not decide is not decided.
    """
    classes = type(scheme).__mro__
    network, block, stated = (_definition(member, classes) for member in ("network", "block", "method"))
    if network < stated < len(classes):
        return OwnNetwork(scheme.coefficients())
    if block < stated:
        return OwnStep(scheme.coefficients())
    return scheme.method() if isinstance(scheme, HasMethod) and callable(scheme.method) else scheme.coefficients()


def _definition(member: str, classes: tuple[type, ...]) -> int:
    """How far up the classes a member is defined."""
    return next((i for i, cls in enumerate(classes) if member in vars(cls)), len(classes))
