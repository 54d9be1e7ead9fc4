"""Whether a family of methods keeps a promise between two values of its parameter, ends left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.parameters.stable_set import NotRationalError, StableSet, stable_set
from stabzoo.stability.root_condition import is_zero_stable

__all__ = ["RangeCheck", "check_range"]

_SAMPLES = 400  # values tried, about, where nothing can be proved


@dataclass(frozen=True)
class RangeCheck:
    """How it fared: proved for all values, or tried at ``values`` of them; ``problem``: what is false."""

    is_proved: bool
    values: int = 0
    problem: str | None = None

    @property
    def how(self) -> str:
        """``proved``, or how far it was checked."""
        return "proved" if self.is_proved else f"{self.values} values, not proved"


def check_range(
    formula: Callable[[Sequence[Fraction]], LinearMultistep],
    intervals: Sequence[tuple[Fraction, Fraction]],
    *,
    products: bool = False,
) -> RangeCheck:
    """Whether all methods of a family within open intervals are zero-stable; with ``products``, sum |alpha_j| <= 1.

    Of one parameter zero stability is proved (see `stable_set`).  Where the coefficients are linear in it, so is the
    sum, which is convex: at the two ends it is largest.  Of several parameters values are tried.

    >>> def damped(p):
    ...     return LinearMultistep((1 - p[0], p[0]), (1,))
    >>> check_range(damped, [(Fraction(-1), Fraction(1))]).is_proved
    True
    >>> check_range(damped, [(Fraction(-1), Fraction(1))], products=True).problem
    'sum |alpha_j| = 3 at -1'

    """
    if len(intervals) > 1:
        return _tried(formula, intervals, products=products)
    ((low, high),) = intervals
    try:
        found = stable_set(lambda value: formula((value,)), cuts=(low, high))
    except NotRationalError:
        return _tried(formula, intervals, products=products)
    if not found.holds_between(low, high):
        return RangeCheck(True, problem=f"zero-stable exactly when {found.text('x')}")
    if not products:
        return RangeCheck(True)
    if not _is_linear(found):
        return _tried(formula, intervals, products=True)
    for end in (low, high):
        if (size := _size(formula((end,)))) > 1:
            return RangeCheck(True, problem=f"sum |alpha_j| = {size} at {end}")
    return RangeCheck(True)


def _is_linear(found: StableSet) -> bool:
    *alphas, scale = found.coefficients.rho
    return scale.degree() == 0 and all(alpha.degree() <= 1 for alpha in alphas)


def _tried(
    formula: Callable[[Sequence[Fraction]], LinearMultistep],
    intervals: Sequence[tuple[Fraction, Fraction]],
    *,
    products: bool,
) -> RangeCheck:
    """Values of each parameter that are spread evenly, and close to the ends."""
    count = max(1, round(_SAMPLES ** (1 / len(intervals))) - 2)
    shares = [Fraction(1, 10**6), *(Fraction(i, count + 1) for i in range(1, count + 1)), 1 - Fraction(1, 10**6)]
    places = list(product(*([low + share * (high - low) for share in shares] for low, high in intervals)))
    for place in places:
        method, where = formula(place), ", ".join(map(str, place))
        if not is_zero_stable(method):
            return RangeCheck(False, len(places), f"unstable at {where}")
        if products and (size := _size(method)) > 1:
            return RangeCheck(False, len(places), f"sum |alpha_j| = {size} at {where}")
    return RangeCheck(False, len(places))


def _size(method: LinearMultistep) -> Fraction:
    return sum(map(abs, method.alpha), Fraction(0))
