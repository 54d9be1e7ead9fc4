"""Schemes that are coefficients and nothing else, as pydantic models: what most plugins derive from.

A scheme with fixed coefficients states them as class attributes (`ExplicitMultistep`, `ImplicitMultistep`,
`ExplicitRungeKutta`); a family of schemes declares its parameters as fields and computes `coefficients` from them
(`ExplicitFamily`, `ImplicitFamily`, and `LearnableMultistep`, whose parameter every block trains).

A scheme that overrides `block` or `network` computes its step by itself: it overrides `method`, too, to say which
method that is, or nothing beyond zero stability is claimed of it (see `stabzoo.methods.method_of`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import model_validator

from stabzoo.config import Strict
from stabzoo.discretization import AtDownsampling, Place
from stabzoo.implicit.settings import SolverSettings
from stabzoo.methods import Method, OneLeg, RungeKutta, TruncatedSolve
from stabzoo.methods.multistep import BACKWARD_EULER, EULER, LinearMultistep, Number

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "ExplicitFamily",
    "ExplicitMultistep",
    "ExplicitRungeKutta",
    "Guarantee",
    "ImplicitFamily",
    "ImplicitMultistep",
    "LearnableMultistep",
    "StableRange",
]


class ExplicitFamily(Strict):
    """A family of explicit linear multistep schemes: pydantic fields are its parameters.

        y_{n+1} = sum_j alpha_j y_{n-j} + sum_j beta_j f(y_{n-j}),    j = 0 .. d-1, newest first; the step size is
        absorbed by f.

    Example:
        >>> from stabzoo import Rational
        >>> class Damped(ExplicitFamily):
        ...     name = "damped"
        ...     weight: Rational = Fraction(1)
        ...
        ...     def coefficients(self):
        ...         return LinearMultistep((self.weight,), (1,))
        >>> Damped(weight="1/2").coefficients().alpha
        (Fraction(1, 2),)
    """

    name: ClassVar[str]
    at_downsampling: ClassVar[AtDownsampling] = "project"
    needs_equal_shapes: ClassVar[bool] = False
    memory: ClassVar[int | None]  # without a value: the steps of the coefficients

    @abstractmethod
    def coefficients(self) -> LinearMultistep:
        """The exact coefficients."""

    def characteristic_polynomial(self) -> tuple[Fraction, ...]:
        """The first characteristic polynomial rho, as `LinearMultistep.rho` orders it."""
        return self.coefficients().rho

    def method(self) -> Method:
        """What a block computes: the coefficients."""
        return self.coefficients()

    def block(self, f: nn.Module, place: Place | None = None) -> nn.Module:
        """One step with fixed coefficients (see `Discretization.block`)."""
        from stabzoo.networks.steps import MultistepStep  # imports torch

        return MultistepStep(f, self.coefficients())

    def starting_block(self, f: nn.Module, *, returns_slope: bool, place: Place | None = None) -> nn.Module:
        """One of the first d-1 steps: explicit Euler (see `Discretization.starting_block`)."""
        from stabzoo.networks.steps import MultistepStep  # imports torch

        return MultistepStep(f, EULER, returns_slope=returns_slope)

    @classmethod
    def network(cls) -> type[nn.Module]:
        """The one network of multistep schemes (see `Discretization.network`)."""
        from stabzoo.networks.resnet import DiscretizedResNet  # imports torch

        return DiscretizedResNet


class ExplicitMultistep(ExplicitFamily):
    """One explicit linear multistep scheme, given by its exact coefficients.

    ``beta`` may be shorter than ``alpha``.

    Example:
        >>> class Leapfrog(ExplicitMultistep):
        ...     name = "leapfrog"
        ...     alpha, beta = (0, 1), (2, 0)
        >>> Leapfrog().coefficients().order
        2
    """

    alpha: ClassVar[Sequence[Number]]
    beta: ClassVar[Sequence[Number]]

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients."""
        return LinearMultistep(self.alpha, self.beta)


class ExplicitRungeKutta(ExplicitFamily):
    """One explicit Runge-Kutta scheme, given by its tableau (a, b) (see `stabzoo.RungeKutta`).

    The s stages share the weights of f; in training mode a batch norm normalises each stage by its own statistics.
    Where the feature maps change shape, f(y) cannot be added to y, and the step is an explicit Euler step.

    Example:
        >>> class Midpoint(ExplicitRungeKutta):
        ...     name = "midpoint"
        ...     a, b = ((), ("1/2",)), (0, 1)
        >>> Midpoint().method().order
        2
    """

    at_downsampling: ClassVar[AtDownsampling] = "restart"
    needs_equal_shapes: ClassVar[bool] = True
    a: ClassVar[Sequence[Sequence[Number]]]
    b: ClassVar[Sequence[Number]]

    def coefficients(self) -> LinearMultistep:
        """What is left of the step when f is small: y_{n+1} = y_n + (sum b) f(y_n)."""
        return RungeKutta(self.a, self.b).coefficients()

    def method(self) -> Method:
        """What a block computes: the tableau."""
        return RungeKutta(self.a, self.b)

    def block(self, f: nn.Module, place: Place | None = None) -> nn.Module:
        """One step around ``f``, which it evaluates once a stage (see `Discretization.block`)."""
        from stabzoo.networks.steps import RungeKuttaStep  # imports torch

        return RungeKuttaStep(f, RungeKutta(self.a, self.b))


class ImplicitFamily(ExplicitFamily):
    """A family of implicit linear multistep schemes: pydantic fields are its parameters.

        y_{n+1} = sum_j alpha_j y_{n-j} + beta_next f(y_{n+1}) + sum_j beta_j f(y_{n-j})

    The first d-1 steps of a d-step scheme are backward Euler steps.  Where the feature maps change shape, f(y_{n+1})
    has no meaning: the step is an explicit Euler step with a pre-activated shortcut, and the history restarts.

    Attributes:
        solver: How the equations are solved, and what happens on failure.
        one_leg: Use the scheme's one-leg twin: f at a mean of the states instead of a mean of slopes.
    """

    at_downsampling: ClassVar[AtDownsampling] = "restart"
    needs_equal_shapes: ClassVar[bool] = True
    solver: SolverSettings = SolverSettings()
    one_leg: bool = False

    def method(self) -> Method:
        """What a block computes: the coefficients, or their one-leg twin; or that many iterations of its equation."""
        method = self.coefficients()
        if method.is_explicit:
            return method
        method = OneLeg.of(method) if self.one_leg else method
        iterations = self.solver.fixed_iterations
        return method if iterations is None else TruncatedSolve(method, iterations)

    def block(self, f: nn.Module, place: Place | None = None) -> nn.Module:
        """One step with its equation solved (see `Discretization.block`)."""
        return self._step(f, self.coefficients())

    def starting_block(self, f: nn.Module, *, returns_slope: bool, place: Place | None = None) -> nn.Module:
        """One of the first d-1 steps: backward Euler, solved as the others are."""
        return self._step(f, BACKWARD_EULER, returns_slope=returns_slope)

    def _step(self, f: nn.Module, method: LinearMultistep, *, returns_slope: bool = False) -> nn.Module:
        """One step of ``method``; an explicit method (theta = 0) has an explicit step."""
        from stabzoo.implicit.step import ImplicitStep  # imports torch
        from stabzoo.networks.steps import MultistepStep

        if method.is_explicit:
            return MultistepStep(f, method, returns_slope=returns_slope)
        return ImplicitStep(f, method, self.solver, one_leg=self.one_leg, returns_slope=returns_slope)


class ImplicitMultistep(ImplicitFamily):
    """One implicit linear multistep scheme, given by its exact coefficients and its solver.

    Example:
        >>> class BDF2(ImplicitMultistep):
        ...     name = "bdf2"
        ...     alpha, beta, beta_next = ("4/3", "-1/3"), (0,), "2/3"
        >>> BDF2().coefficients().order
        2
    """

    alpha: ClassVar[Sequence[Number]]
    beta: ClassVar[Sequence[Number]]
    beta_next: ClassVar[Number]

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients."""
        return LinearMultistep(self.alpha, self.beta, self.beta_next)


Formula: TypeAlias = Callable[[Any], tuple[list[Any], list[Any]]]
"""Maps a number, or several, to ``([alpha_0, alpha_1, ...], [beta_0, ...])`` by arithmetic alone."""

Guarantee: TypeAlias = Literal["blocks", "products"]
"""What holds of a network whose trained parameters stay in a range: that each block is zero-stable by itself, or that
sum |alpha_j| <= 1 in each, so that all products of companion matrices have the norm 1 at most."""


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class StableRange:
    """A range that a trained parameter cannot leave: low < x < high, x a coordinate of the parameter.

    Attributes:
        low, high: The ends; for a scheme with several parameters, one for each.
        coordinate: Maps the parameter to x: if the good values form two pieces, they may form one in 1/parameter.
        formula: The coefficients as a function of x; None: as a function of the parameter, which is x itself.
        symbol: x in messages; empty: the parameter's name.
        start: Default start of the parameter; None: that of the scheme.
    """

    low: Fraction | tuple[Fraction, ...]
    high: Fraction | tuple[Fraction, ...]
    coordinate: Callable[[Any], Any] = _itself
    formula: Formula | None = None
    symbol: str = ""
    start: Fraction | tuple[Fraction, ...] | None = None

    def intervals(self) -> list[tuple[Fraction, Fraction]]:
        """One for each coordinate."""
        low, high = (end if isinstance(end, tuple) else (end,) for end in (self.low, self.high))
        return list(zip(low, high, strict=True))


class LearnableMultistep(ExplicitFamily):
    """An explicit multistep scheme whose parameters every block trains separately.

    The ``formula`` is written once: from a `fractions.Fraction` it computes the exact coefficients for the verdicts,
    from a torch tensor those of the network.

    Attributes:
        parameter: Name of the field that is trained, a number or a tuple of numbers; or the names of several fields,
            a number each.  The fields' values are where training starts.
        spread: Blocks start uniformly at random within the fields' values +- ``spread``.
        formula: Maps the parameter to ``([alpha_0, alpha_1, ...], [beta_0, ...])``, using only arithmetic; several
            parameters are passed as one, ``p[0]``, ``p[1]``, ...
        stable_ranges: The ranges that the option ``stable`` can keep the parameter in, by what they guarantee.
        stable: Train an unconstrained real number and map it smoothly into the range of this guarantee, so that no
            update leaves the range.  ``"blocks"``: each block would be zero-stable if all blocks had its coefficients;
            in general this says nothing about a network whose blocks differ.  ``"products"``: sum |alpha_j| <= 1, so
            the network never amplifies past states, even if the blocks differ.  None: train the parameter itself,
            without a constraint.

    Example:
        >>> from stabzoo import Rational
        >>> class Three(LearnableMultistep):
        ...     name = "three"
        ...     parameter = ("a", "b")
        ...     formula = staticmethod(lambda p: ([1 - p[0] - p[1], p[0], p[1]], [1 + p[0] + 2 * p[1]]))
        ...     a: Rational = Fraction(1, 4)
        ...     b: Rational = Fraction(1, 8)
        >>> print(Three().coefficients())
        y[n+1] = 5/8 y[n] + 1/4 y[n-1] + 1/8 y[n-2] + 3/2 h f[n]
    """

    parameter: ClassVar[str | tuple[str, ...]]
    spread: ClassVar[Fraction] = Fraction(0)
    formula: ClassVar[Formula]
    stable_ranges: ClassVar[Mapping[Guarantee, StableRange]] = {}
    stable: Guarantee | None = None

    @model_validator(mode="after")
    def _starts_in_its_range(self) -> LearnableMultistep:
        """Refuse a range that the scheme does not have, and a start that is not inside."""
        if self.stable is None:
            return self
        if self.stable not in self.stable_ranges:
            known = ", ".join(map(repr, self.stable_ranges)) or "none"
            raise ValueError(f"stable: the scheme {self.name!r} has the ranges {known}, got {self.stable!r}")
        place = self.stable_ranges[self.stable]
        start, ends = self._coordinate(), place.intervals()
        for x, (low, high) in zip(start if isinstance(start, tuple) else (start,), ends, strict=True):
            if not low < x - self.spread <= x + self.spread < high:
                around = f" +- {self.spread}" if self.spread else ""
                raise ValueError(
                    f"stable: blocks start at {self.symbol(place)} = {x}{around}, expected inside {low} to {high}"
                )
        return self

    @classmethod
    def within(cls, guarantee: Guarantee) -> Callable[[Sequence[Fraction]], LinearMultistep]:
        """The exact coefficients at a point of a range, as exact checks of the range take them."""
        formula, is_one = cls.stable_ranges[guarantee].formula or cls.formula, isinstance(cls.parameter, str)
        return lambda point: LinearMultistep(*formula(point[0] if is_one else tuple(point)))

    @classmethod
    def symbol(cls, place: StableRange) -> str:
        """The coordinate of a range, as messages have it."""
        return place.symbol or (cls.parameter if isinstance(cls.parameter, str) else ", ".join(cls.parameter))

    def coefficients(self) -> LinearMultistep:
        """The exact coefficients at initialisation (of the centre of the interval that blocks start from)."""
        return LinearMultistep(*type(self).formula(self._start()))

    def _start(self) -> Fraction | tuple[Fraction, ...]:
        """Where training starts: the trained field, or those that are named."""
        names = (self.parameter,) if isinstance(self.parameter, str) else self.parameter
        given = self.model_fields_set & set(names)
        if self.stable is not None and not given and (start := self.stable_ranges[self.stable].start) is not None:
            return start
        if isinstance(self.parameter, str):
            return getattr(self, self.parameter)
        return tuple(getattr(self, name) for name in self.parameter)

    def _coordinate(self) -> Fraction | tuple[Fraction, ...]:
        """Where training starts, in what is trained."""
        place = self.stable_ranges[self.stable] if self.stable is not None else None
        return self._start() if place is None else place.coordinate(self._start())

    def method(self) -> Method:
        """What a block computes at initialisation: the coefficients."""
        return self.coefficients()

    def block(self, f: nn.Module, place: Place | None = None) -> nn.Module:
        """One step with a trainable parameter of its own (see `Discretization.block`)."""
        from stabzoo.networks.steps import Inside, LearnableStep  # imports torch

        formula, within, start = type(self).formula, None, self._coordinate()
        if self.stable is not None:
            chosen = self.stable_ranges[self.stable]
            lows, highs = zip(*chosen.intervals(), strict=True)
            formula, within = chosen.formula or formula, Inside([*map(float, lows)], [*map(float, highs)])
        if isinstance(start, tuple):
            low = [float(value - self.spread) for value in start]
            return LearnableStep(f, formula, low, [float(value + self.spread) for value in start], within)
        return LearnableStep(f, formula, float(start - self.spread), float(start + self.spread), within)
