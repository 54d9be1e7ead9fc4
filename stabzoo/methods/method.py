"""What every kind of method can say of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from stabzoo.methods.multistep import NOT_DECIDED, LinearMultistep, NotDecided, State
from stabzoo.methods.stability_function import OscillatorMatrix, OscillatorPolynomial, StabilityFunction

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Linear", "Method"]

Linear: TypeAlias = LinearMultistep | StabilityFunction | OscillatorMatrix | OscillatorPolynomial
"""What a step does where f is linear: rho - z sigma, R(z), or, of y and z or of y'', the step on the oscillator."""


class Method(Protocol):
    """The exact numerical method that one block computes; as text, the formula of its step.

    A subclass defines its ``kind``, its ``coefficients``, its ``step``, its text, and what is decided of it; all else
    is `NOT_DECIDED`.
    """

    __slots__ = ()
    kind: ClassVar[str]
    """What kind of method it is, in the field's words."""

    @property
    def steps(self) -> int:
        """How many past states a step looks at."""
        return self.coefficients().steps

    @property
    def parts(self) -> int:
        """How many quantities a state consists of: of more than one, a state of `step` is the tuple of them."""
        return 1

    @property
    def is_explicit(self) -> bool:
        """Whether no equation is solved."""
        return True

    @property
    def order(self) -> int | NotDecided | None:
        """Order of accuracy: 0 if constants are kept and no more, None if not even they are."""
        return NOT_DECIDED

    @property
    def error_constant(self) -> Fraction | NotDecided | None:
        """C of the local error C h^{p+1} y^{(p+1)} + O(h^{p+2}), over sigma(1); None where it is not of this form."""
        return NOT_DECIDED

    @property
    def linear(self) -> Linear | NotDecided:
        """What decides the step on y' = lambda y, or on the oscillator y'' = -omega^2 y."""
        return NOT_DECIDED

    def coefficients(self) -> LinearMultistep:
        """The linear multistep method with the same rho: what is left of the step when f is small."""
        ...

    def method(self) -> Self:
        """Return itself: a method is a scheme of itself."""
        return self

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1} from y_n, y_{n-1}, ... in the arithmetic of the states: the reference of the blocks."""
        ...
