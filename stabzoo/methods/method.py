"""What every kind of method can say of itself, and which one a scheme's block computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar, Protocol, runtime_checkable

from stabzoo.methods.multistep import HasCoefficients, LinearMultistep, NotDecided, State
from stabzoo.methods.own_step import OwnNetwork, OwnStep
from stabzoo.methods.stability_function import StabilityFunction

__all__ = ["HasMethod", "Method", "method_of"]


class Method(Protocol):
    """The exact numerical method that one block computes; as text, the formula of its step."""

    kind: ClassVar[str]
    """What kind of method it is, in the field's words."""

    @property
    def steps(self) -> int:
        """How many past states a step looks at."""
        ...

    @property
    def is_explicit(self) -> bool:
        """Whether no equation is solved."""
        ...

    @property
    def order(self) -> int | NotDecided | None:
        """Order of accuracy: 0 if constants are kept and no more, None if not even they are."""
        ...

    @property
    def error_constant(self) -> Fraction | NotDecided | None:
        """C of the local error C h^{p+1} y^{(p+1)} + O(h^{p+2}), over sigma(1); None where it is not of this form."""
        ...

    @property
    def linear(self) -> LinearMultistep | StabilityFunction | NotDecided:
        """What decides the step on y' = lambda y: R(z), or the rho - z sigma of a multistep method."""
        ...

    def coefficients(self) -> LinearMultistep:
        """The linear multistep method with the same rho: what is left of the step when f is small."""
        ...

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1} from y_n, y_{n-1}, ... in the arithmetic of the states: the reference of the blocks."""
        ...


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
