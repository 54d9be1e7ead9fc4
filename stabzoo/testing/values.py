"""Values of a scheme's parameters other than its defaults, at which its steps are checked: inside what is claimed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice, pairwise, product
from typing import Any

from stabzoo.registry.conditions import Condition, SeveralParametersError, parse_condition

__all__ = ["beside", "other_values"]

NEAR = Fraction(1, 1000)  # of a bound
AWAY = Fraction(1, 8)  # from a default
MOST = 8  # of several parameters at once


def other_values(condition: str | None, defaults: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Parameters at which a condition holds, and every other parameter moved from its default, one at a time.

    Of one parameter: the bounds, 1/1000 to either side of them, and the middle of what lies between two. Of several: up
    to eight points. Without a condition a number is moved by 1/8 (a whole one by 1), and a bool is turned. The scheme
    may refuse any of them.

    Example:
        >>> from stabzoo.testing.values import other_values
        >>> [str(values["k"]) for values in other_values("0 <= k < 2", {"k": Fraction(1)})]
        ['0', '1/1000', '1', '1999/1000']
        >>> [values for values in other_values(None, {"stages": 4, "twin": False})]
        [{'stages': 3}, {'stages': 5}, {'twin': True}]
    """
    claimed: tuple[str, ...] = ()
    if condition is not None:
        try:
            parsed = parse_condition(condition)
        except (SeveralParametersError, ValueError):  # which check_claims says
            parsed = None
        if parsed is not None and set(parsed.parameters) <= set(defaults):
            claimed = parsed.parameters
            yield from _inside(parsed)
    for name, default in defaults.items():
        if name not in claimed:
            yield from ({name: value} for value in beside(default))


def _inside(condition: Condition) -> Iterator[dict[str, Fraction]]:
    bounds = condition.bounds
    near = [bound + side for bound in bounds for side in (-NEAR, 0, NEAR)]
    between = [(low + high) / 2 for low, high in pairwise(bounds)]
    values = sorted({*near, *between, bounds[0] - 1, bounds[-1] + 1})
    places = [place for place in product(values, repeat=len(condition.parameters)) if condition.holds(*place)]
    stride = 1 if len(condition.parameters) == 1 else -(-len(places) // MOST)
    for place in islice(places, 0, None, max(stride, 1)):
        yield dict(zip(condition.parameters, place, strict=True))


def beside(default: Any) -> list[Any]:
    """Values beside a default: of a number 1/8 to either side, of a whole one 1, the other one of a bool."""
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [default - 1, default + 1]
    if isinstance(default, float | Fraction):
        return [default - type(default)(AWAY), default + type(default)(AWAY)]
    return []
