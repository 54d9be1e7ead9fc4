"""The exact set of values at which a one-parameter family is zero-, A- or L-stable."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from stabzoo.methods.multistep import HasCoefficients, LinearMultistep, NotDecided
from stabzoo.stability.parameters.at_root import MethodAt
from stabzoo.stability.parameters.coefficients import Coefficients, recover, to_flint
from stabzoo.stability.parameters.critical import a_stability_critical
from stabzoo.stability.parameters.real_root import RealRoot, real_roots, sign_at
from stabzoo.stability.root_condition import is_zero_stable
from stabzoo.stability.stability_card import card

if TYPE_CHECKING:
    from flint import fmpz_poly

Property: TypeAlias = Literal["zero-stable", "A-stable", "L-stable"]
Family: TypeAlias = Callable[[Fraction], HasCoefficients]

VERDICTS: Mapping[Property, Callable[[HasCoefficients], bool | NotDecided]] = {
    "zero-stable": is_zero_stable,
    "A-stable": lambda method: card(method).is_A_stable,
    "L-stable": lambda method: card(method).is_L_stable,
}
"""What decides a property of one method."""


def _small_fractions(height: int) -> list[Fraction]:
    """All fractions with numerator and denominator up to ``height``, the smallest first."""
    found = {Fraction(s * p, q) for p in range(height + 1) for q in range(1, height + 1) for s in (-1, 1)}
    return sorted(found, key=lambda f: (max(abs(f.numerator), f.denominator), f))


SAMPLED = (*_small_fractions(7), Fraction(-(10**6)), Fraction(10**6))
"""Where a family is evaluated to recover its coefficients."""


LARGEST: Mapping[Property, int] = {"zero-stable": 32, "A-stable": 7, "L-stable": 7}
"""Steps times degree of the coefficients, beyond which a proof may take longer than some seconds."""


class NotRationalError(ValueError):
    """The coefficients of a family are not known to be rational functions of its parameter."""


@dataclass(frozen=True, slots=True)
class Cell:
    """An open interval between two values, or one value, at all of which the verdict is the same.

    Attributes:
        lower: The end below; None: there is none.
        upper: The end above; the same as ``lower`` where the cell is one value.
        sample: A value in it, or beside it where the only one is irrational.
        holds: The verdict; None where the coefficients have a pole and the family gives no method.

    """

    lower: RealRoot | None
    upper: RealRoot | None
    sample: Fraction
    holds: bool | None

    @property
    def is_point(self) -> bool:
        """Whether it is one value."""
        return self.lower is not None and self.lower is self.upper

    def contains(self, value: Fraction) -> bool:
        """Whether a rational value lies in it."""
        if self.is_point:
            return self.lower is not None and self.lower.rational == value
        return (self.lower is None or _below(self.lower, value)) and (self.upper is None or _above(self.upper, value))

    def text(self, parameter: str) -> str:
        """Return ``s = 6/5`` or ``-2 < s < sqrt(2)``."""
        return _run_text([self], parameter)


@dataclass(frozen=True, slots=True)
class StableSet:
    """The verdict at every real value of the parameter.

    Attributes:
        name: What is decided.
        cells: From minus infinity to infinity: an interval, a value, an interval, and so on.
        coefficients: Those of the family as rational functions, and how far it is known to have these.

    """

    name: Property
    cells: tuple[Cell, ...]
    coefficients: Coefficients

    def __contains__(self, value: Fraction) -> bool:
        return any(cell.holds and cell.contains(value) for cell in self.cells)

    def holds_between(self, low: Fraction, high: Fraction) -> bool:
        """Whether it holds everything that lies strictly between two rational values."""
        return all(
            cell.holds
            for cell in self.cells
            if (cell.upper is None or _above(cell.upper, low)) and (cell.lower is None or _below(cell.lower, high))
        )

    def text(self, parameter: str) -> str:
        """Return the set as a condition, e.g. ``lam <= -1 or lam > 1/3``."""
        runs: list[list[Cell]] = []
        previous = False
        for cell in self.cells:
            if cell.holds:
                runs[-1:] = [[*runs[-1], cell]] if previous else [*runs[-1:], [cell]]
            previous = bool(cell.holds)
        if len(runs) == 1 and len(runs[0]) == len(self.cells):
            return f"every {parameter}"
        return " or ".join(_run_text(run, parameter) for run in runs) or f"no {parameter}"

    def proof(self, parameter: str) -> str:
        """Say what was proved of what: the number of verdicts, and how far the family is known."""
        points = sum(cell.is_point for cell in self.cells)
        known = self.coefficients
        return (
            f"proved: {len(self.cells) - points} intervals and {points} values of {parameter}; the coefficients are "
            f"the rational functions, the only ones of degree <= {known.degree}, that agree at {known.values} values"
        )


def stable_set(
    family: Family,
    property: Property = "zero-stable",
    *,
    cuts: Iterable[Fraction] = (),
    values: Iterable[Fraction] = SAMPLED,
) -> StableSet:
    """Return the exact set of values at which a family of methods in one parameter has a property.

    ``family`` returns a method for a `Fraction`, and raises ValueError for values that it does not accept. Its
    coefficients must be rational functions of the parameter; they are recovered from ``values`` (see `coefficients`),
    and the set is proved for these functions on the whole real line. Between the critical values (see
    `critical`) the verdict is constant and decided at one of them, exactly; at a rational critical value it is that of
    the family's own method, and at an irrational one it is decided in the number field (see `at_root`).

    Args:
        family: The methods.
        property: The property, e.g. zero-stable.
        cuts: More values at which cells must end.
        values: Where the family is evaluated.

    Raises:
        NotRationalError: (a ValueError) the coefficients are not rational functions of degree <= 16.
        ValueError: the proof would take too long (see `LARGEST`), or a coefficient is too large at a value it needs.

    Example:
        >>> from stabzoo.methods.multistep import LinearMultistep
        >>> stable_set(lambda s: LinearMultistep((1 - s * s, s * s), (1,))).text("s")
        '-1 <= s <= 1'
    """
    samples: dict[Fraction, LinearMultistep] = {}
    for value in dict.fromkeys(values):
        method = _method(family, value)
        if method is not None:
            samples[value] = method
    known = recover(samples)
    if known is None:
        raise NotRationalError(
            "expected a family whose coefficients are rational functions, of degree <= 16, of one parameter, got one "
            f"that is not at the {len(samples)} values that it takes of those tried; give more values, or check values "
            "one by one"
        )
    if property not in VERDICTS:
        raise ValueError(f"property: expected one of {', '.join(VERDICTS)}, got {property!r}")
    size = (len(known.rho) - 1) * max(p.degree() for p in (*known.rho, *known.sigma))
    if size > LARGEST[property]:
        raise ValueError(
            f"expected steps times degree of the coefficients to be at most {LARGEST[property]} to prove where a "
            f"family is {property}, got {size}; check values one by one"
        )
    return StableSet(property, _cells(family, property, known, tuple(cuts)), known)


def _method(family: Family, value: Fraction) -> LinearMultistep | None:
    """The family's method, None for a value that it refuses."""
    try:
        return family(value).coefficients()
    except ValueError:
        return None


def _cells(family: Family, name: Property, known: Coefficients, cuts: tuple[Fraction, ...]) -> tuple[Cell, ...]:
    from flint import fmpz_poly

    critical = _critical(name, known) + [fmpz_poly([-cut.numerator, cut.denominator]) for cut in cuts]
    roots = real_roots(p for p in critical if p)
    cells: list[Cell] = []
    ends = [None, *roots, None]
    for lower, upper in pairwise(ends):
        sample = _between(lower, upper)
        method = known.at(sample)
        assert method is not None  # the denominator is critical
        if lower is not None:
            holds = _at(family, name, known, lower)
            cells.append(Cell(lower, lower, lower.rational if lower.rational is not None else sample, holds))
        cells.append(Cell(lower, upper, sample, _holds(name, method)))
    return tuple(cells)


def _holds(name: Property, method: LinearMultistep) -> bool:
    holds = VERDICTS[name](method)
    assert isinstance(holds, bool)  # of a multistep method everything is decided
    return holds


def _critical(name: Property, known: Coefficients) -> list[fmpz_poly]:
    match name:
        case "zero-stable":
            return known.at_zero.critical()
        case "A-stable":
            return a_stability_critical(known)
        case "L-stable":
            return [*a_stability_critical(known), *known.sigma]


def _at(family: Family, name: Property, known: Coefficients, root: RealRoot) -> bool | None:
    """The verdict at a critical value, None at a pole."""
    if root.rational is not None:
        method = _method(family, root.rational) or known.at(root.rational)
        return None if method is None else _holds(name, method)
    there = MethodAt(known, root)
    if not there.exists:
        return None
    match name:
        case "zero-stable":
            return there.is_zero_stable
        case "A-stable":
            return there.is_A_stable
        case "L-stable":
            return there.is_L_stable


def _between(lower: RealRoot | None, upper: RealRoot | None) -> Fraction:
    """Return the simplest number between two roots."""
    if lower is None and upper is None:
        return Fraction(0)
    if lower is None:
        assert upper is not None
        return Fraction(math.ceil(upper.enclosure.lower) - 1)
    if upper is None:
        return Fraction(math.floor(lower.enclosure.upper) + 1)
    return _simplest(lower.enclosure.upper, upper.enclosure.lower)


def _simplest(low: Fraction, high: Fraction) -> Fraction:
    """Return the number of least denominator in the open interval (low, high), which is not empty."""
    whole = math.floor(low)
    if low < 0 < high:
        return Fraction(0)
    if whole + 1 < high:
        return Fraction(whole + 1 if high > 0 else math.ceil(high) - 1)
    low, high = low - whole, high - whole  # in [0, 1]
    if not low:
        return whole + Fraction(1, math.floor(1 / high) + 1)
    return whole + 1 / _simplest(1 / high, 1 / low)


def _below(root: RealRoot, value: Fraction) -> bool:
    return _side(root, value) > 0


def _above(root: RealRoot, value: Fraction) -> bool:
    return _side(root, value) < 0


def _side(root: RealRoot, value: Fraction) -> int:
    """The sign of value - root."""
    if root.enclosure.lower <= value <= root.enclosure.upper:
        if root.rational is not None:
            return 0
        from flint import fmpq_poly

        return sign_at(root, fmpq_poly([to_flint(value), -1]))
    return 1 if value > root.enclosure.upper else -1


def _run_text(run: list[Cell], parameter: str) -> str:
    """A run of adjacent cells as an interval."""
    first, last = run[0], run[-1]
    low = None if first.lower is None else first.lower.text(parameter)
    high = None if last.upper is None else last.upper.text(parameter)
    if first.is_point and len(run) == 1:
        return f"{parameter} == {low}"
    below, above = "<=" if first.is_point else "<", "<=" if last.is_point else "<"
    if low is None and high is None:
        return f"every {parameter}"
    if low is None:
        return f"{parameter} {above} {high}"
    if high is None:
        return f"{parameter} {'>=' if first.is_point else '>'} {low}"
    return f"{low} {below} {parameter} {above} {high}"
