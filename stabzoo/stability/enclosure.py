"""Real numbers known exactly or to lie between two rationals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from stabzoo.methods.multistep import NOT_DECIDED, NotDecided
from stabzoo.stability.root_condition import rational_text

if TYPE_CHECKING:
    from flint import arb


_BITS = 192  # of the ends of a rounded enclosure


class Exact(Fraction):
    """A `Fraction` of any length that can be printed: `str` of one of more than 4300 digits is an error.

    >>> str(Exact(10**5000))[:3]
    '100'

    """

    def __str__(self) -> str:
        return rational_text(self)

    def __repr__(self) -> str:
        return f"Fraction({rational_text(self).replace('/', ', ')})"

    def __format__(self, spec: str) -> str:
        return super().__format__(spec) if spec else str(self)

    def __reduce__(self) -> tuple[type[Fraction], tuple[int, int]]:
        return type(self), (self.numerator, self.denominator)


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A real number proved to lie in [lower, upper]."""

    lower: Fraction
    upper: Fraction

    @classmethod
    def of_ball(cls, ball: arb) -> Enclosure:
        """Return the exact end points of a finite Arb ball."""
        middle, radius = _dyadic(ball.mid()), _dyadic(ball.rad())
        return cls(middle - radius, middle + radius)

    @property
    def midpoint(self) -> Fraction:
        """Centre of the interval."""
        return (self.lower + self.upper) / 2

    def rounded(self) -> Enclosure:
        """Return a slightly larger interval whose ends have few digits; both ends must be positive."""
        ends: list[Fraction] = []
        for end, towards in ((self.lower, math.floor), (self.upper, math.ceil)):
            shift = _BITS - end.numerator.bit_length() + end.denominator.bit_length()
            scale = Fraction(2) ** shift
            ends.append(towards(end * scale) / scale)
        return Enclosure(*ends)

    def ball(self) -> arb:
        """Return an Arb ball that holds the interval, at FLINT's current precision."""
        from flint import arb, fmpq

        radius = self.upper - self.midpoint
        return arb(fmpq(*self.midpoint.as_integer_ratio()), arb(fmpq(*radius.as_integer_ratio())))

    def __float__(self) -> float:
        return as_float(self.midpoint)

    def agreed(self, digits: int) -> str | None:
        """The number to so many significant digits, if both ends round to the same; None where they do not."""
        low, high = (_scientific(end, digits) for end in (self.lower, self.upper))
        return low if low == high else None

    def __str__(self) -> str:
        low, high = (short(end) for end in (self.lower, self.upper))
        return low if self.agreed(6) else f"between {low} and {high}"

    def __repr__(self) -> str:
        return f"Enclosure({Exact(self.lower)!r}, {Exact(self.upper)!r})"


Real: TypeAlias = Fraction | Enclosure | float
"""An exact number, a proved enclosure, or infinity (the only float)."""


def as_float(value: Real) -> float:
    """Return the nearest float; +-inf where a Fraction is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if isinstance(value, Fraction) and value > 0 else -math.inf


def midpoint(value: Real) -> Fraction | float:
    """Return the number itself if it is exact, else the centre of its enclosure: a sort key."""
    return value.midpoint if isinstance(value, Enclosure) else value


def largest(values: Sequence[Fraction | Enclosure]) -> Fraction | Enclosure:
    """Return the maximum, exactly if an exact value is proved to be it."""
    lower = max(v.lower if isinstance(v, Enclosure) else v for v in values)
    upper = max(v.upper if isinstance(v, Enclosure) else v for v in values)
    return lower if lower == upper else Enclosure(lower, upper)


def rational_square_root(value: Fraction) -> Fraction | None:
    """Return the square root if it is rational."""
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator)) if value >= 0 else None
    return root if root is not None and root * root == value else None


def real_to_json(value: Real | NotDecided | None) -> object:
    """Return "1/3" for an exact number, "infinity", "not decided", or the bounds of an enclosure.

    Beside them ``approximately`` is a float where both bounds agree to 6 digits, and null where they do not, or where
    no float is large enough: what is strict JSON and claims no digit that is not certain.
    """
    if value is None:
        return None
    if value is NOT_DECIDED:
        return str(value)
    if isinstance(value, Enclosure):
        number = as_float(value)
        known = value.agreed(6) is not None and math.isfinite(number)
        return {
            "lower": rational_text(value.lower),
            "upper": rational_text(value.upper),
            "approximately": number if known else None,
        }
    return rational_text(value) if isinstance(value, Fraction) else "infinity"


def decided(value: object) -> object:
    """Return a verdict as JSON has it: "not decided" for what is not, else the value itself."""
    return str(value) if value is NOT_DECIDED else value


def _scientific(value: Fraction, digits: int) -> str:
    """``1.77253e+8``, rounded to so many significant digits, of numbers of any size."""
    quotient = Context(prec=digits).divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{quotient:.{digits - 1}e}"


def short(value: Fraction) -> str:
    """Return six significant digits, as a float is printed where there is one."""
    number = as_float(value)
    return f"{number:.6g}" if math.isfinite(number) and (number or not value) else _scientific(value, 6)


def _dyadic(number: arb) -> Fraction:
    mantissa, exponent = (int(part) for part in number.man_exp())
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)
