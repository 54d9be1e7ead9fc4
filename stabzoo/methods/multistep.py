"""Linear multistep methods with exact rational coefficients.

Two schemes may share every float64 coefficient and differ in stability: (1 - k, k) with k = -1 + 1e-30 is
zero-stable, with k = -1 - 1e-30 it is not. The coefficients are therefore `Fraction`s from the moment they are read.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import islice
from math import factorial, lcm
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

MAX_DIGITS = 1000
"""Largest number of decimal digits `exact` lets a numerator or a denominator have."""

LARGEST = Fraction(10**100)
"""Nonzero coefficients of a `LinearMultistep` lie in [1/LARGEST, LARGEST]: root isolation degrades far beyond."""

MAX_STEPS = 64
"""Largest number of steps of a `LinearMultistep`."""

FIXED_POINT_ITERATIONS = 256
"""Iterations by which `LinearMultistep.step` solves its equation: far more than float64 needs where they contract."""

State: TypeAlias = Any
"""A state of a numerical method: anything that can be added and multiplied by a Fraction."""

Number: TypeAlias = int | Fraction | Decimal | str | float | numbers.Rational | numbers.Real

_RATIO = re.compile(r"([+-]?[0-9]+)(?: */ *([0-9]+))?")
_DECIMAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_LIMIT = 10**MAX_DIGITS
_NOT_FINITE = {"nan", "snan", "inf", "infinity"}
_EXPECTED = "an int, a Fraction, a finite Decimal or float, or a string such as '1/3', '-0.75' or '1e-3'"


def exact(value: Number) -> Fraction:
    """Return `value` as a `Fraction`, exactly.

    A float means the shortest decimal that rounds to it, i.e. what Python prints: `exact(0.1) == Fraction(1, 10)`.
    For the stored binary value write `Fraction(0.1)`.  Numbers of other libraries are what they say they are: NumPy's
    integers and floats (of any precision), SymPy's rationals, all that is a `numbers.Rational` or `numbers.Real`.

    Raises:
        ValueError: not a number of these kinds, not finite, malformed, or longer than `MAX_DIGITS` decimal digits.

    """
    if isinstance(value, Fraction):
        return _bounded(value)
    if isinstance(value, bool):
        raise ValueError(f"expected {_EXPECTED}, got the bool {value}; write 0 or 1")
    if isinstance(value, int):
        return _bounded(Fraction(int(value)))
    if isinstance(value, str):
        return _parse(value.strip().replace("\N{MINUS SIGN}", "-"))
    if isinstance(value, float):
        return _parse(float.__repr__(value))
    if isinstance(value, Decimal):
        return _parse(str(value))
    if isinstance(value, numbers.Rational):
        return _bounded(Fraction(int(value.numerator), int(value.denominator)))
    if isinstance(value, numbers.Real):
        return _parse(str(value))
    raise ValueError(f"expected {_EXPECTED}, got a {type(value).__name__}; convert it to one of these first")


def _bounded(value: Fraction) -> Fraction:
    if abs(value.numerator) >= _LIMIT or value.denominator >= _LIMIT:
        raise ValueError(
            f"expected at most {MAX_DIGITS} decimal digits, got a longer number; round it to a shorter Fraction"
        )
    return value


def _parse(text: str) -> Fraction:
    shown = repr(text if len(text) <= 40 else text[:37] + "...")
    if len(text) > 2 * MAX_DIGITS + 8:
        raise ValueError(f"expected at most {MAX_DIGITS} decimal digits, got {shown}; round it to a shorter number")
    if ratio := _RATIO.fullmatch(text):
        denominator = int(ratio[2] or 1)
        if denominator == 0:
            raise ValueError(f"expected {_EXPECTED}, got {shown}; a denominator must not be zero")
        return _bounded(Fraction(int(ratio[1]), denominator))
    decimal = _DECIMAL.fullmatch(text)
    if decimal is None or not (decimal[2] or decimal[3]):
        cure = "use a finite number" if text.lower().lstrip("+-") in _NOT_FINITE else "correct the spelling"
        raise ValueError(f"expected {_EXPECTED}, got {shown}; {cure}")
    digits, exponent = (decimal[2] or "") + (decimal[3] or ""), int(decimal[4] or 0) - len(decimal[3] or "")
    if len(digits) + abs(exponent) > MAX_DIGITS:  # checked before 10**exponent is ever formed
        raise ValueError(f"expected at most {MAX_DIGITS} decimal digits, got {shown}; round it to a shorter number")
    mantissa = int(decimal[1] + digits)
    return Fraction(mantissa * 10**exponent) if exponent >= 0 else Fraction(mantissa, 10**-exponent)


def exact_sequence(values: Iterable[Number], name: str) -> tuple[Fraction, ...]:
    """Return at most `MAX_STEPS` numbers as `Fraction`s; `name` says in messages what they are.

    Raises:
        ValueError: not an ordered collection (a bare string is none), too long, or an entry that `exact` refuses.

    """
    if isinstance(values, str | bytes | bytearray | Mapping | Set) or not isinstance(values, Iterable):
        kind = type(values).__name__
        raise ValueError(f"expected {name} to be a sequence of numbers, got a {kind}; write (x,) for a single number x")
    entries = list(islice(values, MAX_STEPS + 1))
    if len(entries) > MAX_STEPS:
        raise ValueError(f"expected at most {MAX_STEPS} steps, got more entries of {name}; use a shorter method")
    found: list[Fraction] = []
    for j, entry in enumerate(entries):
        try:
            found.append(exact(entry))
        except ValueError as error:
            raise ValueError(f"{name}[{j}]: {error}") from None
    return tuple(found)


class NotDecided(Enum):
    """Neither proved nor refuted: not a number, and neither true nor false."""

    NOT_DECIDED = "not decided"

    def __bool__(self) -> bool:
        raise TypeError("expected a verdict, got 'not decided'; compare it with stabzoo.NOT_DECIDED first")

    def __str__(self) -> str:
        return self.value

    __repr__ = __str__


NOT_DECIDED: Literal[NotDecided.NOT_DECIDED] = NotDecided.NOT_DECIDED
"""What is neither proved nor refuted; ``None`` is an answer: there is none."""


@dataclass(frozen=True, slots=True, init=False)
class LinearMultistep:
    """A d-step linear multistep method, newest value first.

        y_{n+1} = sum_j alpha_j y_{n-j} + h ( beta_next f(y_{n+1}) + sum_j beta_j f(y_{n-j}) ),   j = 0..d-1

    A `beta` shorter than `alpha` is padded with zeros. Trailing zeros of `alpha` are kept: they are steps of the
    method, with roots at 0.

    Raises:
        ValueError: empty `alpha`, `beta` longer than `alpha`, more than `MAX_STEPS` steps, a coefficient that `exact`
            refuses or whose modulus is beyond `LARGEST`.

    Source: Atkinson, An Introduction to Numerical Analysis, (6.3.1); Hairer, Norsett, Wanner, Solving ODEs I, III.2,
    whose alpha_j are these with the index reversed and the opposite sign.

    """

    kind: ClassVar[str] = "linear multistep"

    alpha: tuple[Fraction, ...]
    beta: tuple[Fraction, ...]
    beta_next: Fraction = Fraction(0)

    def __init__(self, alpha: Iterable[Number], beta: Iterable[Number], beta_next: Number = Fraction(0)) -> None:
        a, b = exact_sequence(alpha, "alpha"), exact_sequence(beta, "beta")
        if not a:
            raise ValueError("expected at least one alpha, got none; a one-step method has alpha = (1,)")
        if len(b) > len(a):
            raise ValueError(
                f"expected no more betas than alphas ({len(a)}), got {len(b)}; append zeros to alpha for more steps"
            )
        try:
            new = exact(beta_next)
        except ValueError as error:
            raise ValueError(f"beta_next: {error}") from None
        for name, entries in (("alpha", a), ("beta", b), ("beta_next", (new,))):
            for j, c in enumerate(entries):
                if c and not 1 / LARGEST <= abs(c) <= LARGEST:
                    place = name if name == "beta_next" else f"{name}[{j}]"
                    cure = "a method has moderate weights of past states" if name == "alpha" else "rescale f"
                    size = f"{Decimal(c.numerator) / Decimal(c.denominator):.3e}"
                    raise ValueError(f"{place}: expected 0 or a modulus from 1e-100 to 1e100, got {size}; {cure}")
        for field, value in zip(fields(LinearMultistep), (a, b + (Fraction(0),) * (len(a) - len(b)), new), strict=True):
            object.__setattr__(self, field.name, value)

    @property
    def steps(self) -> int:
        """Number of steps d: how many past values the method looks at. Not its order."""
        return len(self.alpha)

    @property
    def parts(self) -> int:
        """One: a state is y alone."""
        return 1

    @property
    def past_slopes(self) -> int:
        """Number of past slopes f_{n-1}, f_{n-2}, ... that a step needs."""
        return max((lag for lag, beta in enumerate(self.beta) if beta), default=0)

    @property
    def keeps_state(self) -> bool:
        """Whether a state enters the step beside f: y_{n+1} = f(y_n) alone keeps none, as a plain network."""
        return self.steps > 1 or any(self.alpha)

    @property
    def rho(self) -> tuple[Fraction, ...]:
        """First characteristic polynomial z^d - sum_j alpha_j z^{d-1-j}, d + 1 coefficients, highest power first."""
        return (Fraction(1), *(-a for a in self.alpha))

    def characteristic_polynomial(self) -> tuple[Fraction, ...]:
        """The first characteristic polynomial, `rho`: a method is a scheme of itself (see `stabzoo.Discretization`)."""
        return self.rho

    @property
    def sigma(self) -> tuple[Fraction, ...]:
        """Second characteristic polynomial beta_next z^d + sum_j beta_j z^{d-1-j}, like `rho` highest power first."""
        return (self.beta_next, *self.beta)

    @property
    def is_explicit(self) -> bool:
        """Whether y_{n+1} needs no equation to be solved: beta_next = 0."""
        return self.beta_next == 0

    @property
    def is_preconsistent(self) -> bool:
        """Whether rho(1) = 0, i.e. sum alpha = 1: constants are kept."""
        return sum(self.alpha) == 1

    @property
    def is_consistent(self) -> bool:
        """Whether rho(1) = 0 and rho'(1) = sigma(1): order at least 1."""
        return self.truncation_constant(0) == 0 and self.truncation_constant(1) == 0

    def truncation_constant(self, q: int) -> Fraction:
        """Return C_q of the local truncation error sum_q C_q h^q y^(q), expanded at the oldest value.

            C_q = ( sum_j a_j j^q - q sum_j b_j j^{q-1} ) / q!,   rho = sum_j a_j z^j,  sigma = sum_j b_j z^j

        Only the first C_q that does not vanish is independent of the expansion point. Source: HNW I, III.2, (2.6).
        """
        if q < 0:
            raise ValueError(f"expected q >= 0, got {q}")
        ratios = [c.as_integer_ratio() for c in (self.beta_next, *self.beta, *self.alpha)]
        scale, d = lcm(*[q for _, q in ratios]), self.steps
        integers = [p * (scale // q) for p, q in ratios]
        sigma, rho = integers[d::-1], [-a for a in integers[:d:-1]] + [scale]
        total = sum([a * j**q for j, a in enumerate(rho)])
        if q:
            total -= q * sum([b * j ** (q - 1) for j, b in enumerate(sigma)])
        return Fraction(total, scale * factorial(q))

    @property
    def order(self) -> int | None:
        """Largest p with C_0 = ... = C_p = 0: 0 if only preconsistent, None if rho(1) != 0 (no order at all)."""
        q = 0
        while self.truncation_constant(q) == 0:  # ends at q <= 2 d + 1: rho is not the zero polynomial
            q += 1
        return q - 1 if q else None

    @property
    def error_constant(self) -> Fraction | None:
        """C_{p+1} / sigma(1) of a method of order p >= 1 (HNW I, III.2); None if not consistent or sigma(1) = 0."""
        order, scale = self.order, sum(self.sigma)
        if not order or scale == 0:
            return None
        return self.truncation_constant(order + 1) / scale

    @property
    def linear(self) -> LinearMultistep:
        """Itself: rho - z sigma decides the step on y' = lambda y."""
        return self

    def coefficients(self) -> LinearMultistep:
        """Return itself: a method stands wherever something with `coefficients()` is expected."""
        return self

    def method(self) -> LinearMultistep:
        """Return itself: the method that a block with these coefficients computes."""
        return self

    def step(self, states: Sequence[State], f: Callable[[State], State]) -> State:
        """Return y_{n+1} from y_n, y_{n-1}, ..., in the arithmetic of the states, h = 1: the reference of the blocks.

        An equation is solved by fixed-point iterations from y_n, which need |beta_next f'| to be well below 1.

        >>> LinearMultistep((1, 0), ("3/2", "-1/2")).step([Fraction(1), Fraction(2)], lambda y: -y / 2)
        Fraction(3, 4)

        """
        known = combination(self.alpha, states) + combination(self.beta, [f(y) for y in states])
        new = states[0]
        for _ in range(0 if self.is_explicit else FIXED_POINT_ITERATIONS):
            new = known + self.beta_next * f(new)
        return known if self.is_explicit else new

    def __str__(self) -> str:
        past = ["n", *(f"n-{j}" for j in range(1, self.steps))]
        text = f"y[n+1] = {combination_text('y', past, self.alpha)}"
        if any(self.sigma):
            slopes = combination_text("h f", ["n+1", *past], self.sigma)
            text += f" - {slopes[1:]}" if slopes.startswith("-") else f" + {slopes}"
        return text


@runtime_checkable
class HasCoefficients(Protocol):
    """Anything that is a linear multistep method at heart."""

    def coefficients(self) -> LinearMultistep:
        """Return the method."""
        ...


def combination(weights: Sequence[Fraction], values: Sequence[State]) -> State:
    """Return sum_j w_j x_j, of as many values as there are weights."""
    total = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=False):
        total = total + weight * value
    return total


def combination_text(symbol: str, indices: Sequence[str], weights: Sequence[Fraction]) -> str:
    """Return sum_j w_j x[j] as text: ``3/2 y[n] - y[n-1]``."""
    return sum_text([f"{symbol}[{index}]" for index in indices], weights)


def sum_text(terms: Sequence[str], weights: Sequence[Fraction]) -> str:
    """Return sum_j w_j x_j as text, the x_j being texts; a term ``1`` is its weight alone: ``1 + 1/2 z``."""
    text = ""
    for term, weight in zip(terms, weights, strict=True):
        if weight:
            sign = (" - " if text else "-") if weight < 0 else (" + " if text else "")
            size = "" if abs(weight) == 1 and term != "1" else str(abs(weight))
            text += sign + " ".join(part for part in (size, "" if term == "1" else term) if part)
    return text or "0"


def meant(method: LinearMultistep) -> LinearMultistep | None:
    """Return the consistent method of which these are decimals, None if it is consistent or no such method is found.

    18/11 is written as 1.636, and then the coefficients do not sum to what they should. Fractions of small denominators
    are tried, no further from a decimal than one unit of its last digit. Where they make no consistent method, one that
    keeps constants is returned, if ``method`` does not.

    Example:
        >>> found = meant(LinearMultistep(("1.3333", "-0.3333"), (), "0.6666"))
        >>> found.alpha, found.beta_next
        ((Fraction(4, 3), Fraction(-1, 3)), Fraction(2, 3))
    """
    if method.is_consistent:
        return None
    candidates: list[LinearMultistep] = []
    for bound in (10, 30, 100, 300, 1000, 3000):
        new, *past = (_nearby(c, bound) for c in (method.beta_next, *method.alpha, *method.beta))
        candidates.append(LinearMultistep(past[: method.steps], past[method.steps :], new))
    consistent = (c for c in candidates if c.is_consistent)
    kept = (c for c in candidates if c.is_preconsistent and not method.is_preconsistent)
    return next(consistent, None) or next(kept, None)


def _nearby(value: Fraction, bound: int) -> Fraction:
    """The fraction of which a decimal, or a float, is a rounding or a truncation, itself where there is none."""
    digits = next((k for k in range(1, 21) if 10**k % value.denominator == 0), None)
    if digits is None:
        return value
    near = value.limit_denominator(bound)
    return near if abs(near - value) < max(Fraction(1, 10**digits), abs(value) / 2**52) else value


EULER = LinearMultistep((1,), (1,))
"""The explicit Euler method, y_{n+1} = y_n + h f(y_n)."""

BACKWARD_EULER = LinearMultistep((1,), (0,), 1)
"""The backward Euler method, y_{n+1} = y_n + h f(y_{n+1})."""
