"""Stability conditions as the registry states them: comparisons of a parameter or two with numbers, ``-1 < k <= 1``."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Condition", "SeveralParametersError", "parse_condition"]

COMPARE: dict[type[ast.cmpop], Callable[[Fraction, Fraction], bool]] = {
    ast.Eq: operator.eq,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
LONGEST = 500
"""Characters of a condition, and so a bound of the digits of its numbers."""

GRAMMAR = (
    "expected comparisons of one parameter, or of two, with numbers, joined by 'and' / 'or', "
    "e.g. 'lam <= -1 or lam > 1/3'"
)


class SeveralParametersError(ValueError):
    """A condition in several parameters that is not made of what can be checked."""


@dataclass(frozen=True)
class Condition:
    """A union of intervals of one parameter, or a part of the plane of two; `holds` takes a value of each."""

    parameters: tuple[str, ...]
    bounds: tuple[Fraction, ...]
    holds: Callable[..., bool]

    def probes(self) -> list[Fraction]:
        """Where to check one parameter: bounds, 10^-30 and 1/1000 to either side, and a grid over and beyond them."""
        low, high = min(self.bounds) - 4, max(self.bounds) + 4
        grid = [low + (high - low) * Fraction(i, 97) for i in range(98)]
        near = [
            bound + side * Fraction(1, scale) for bound in self.bounds for side in (-1, 1) for scale in (10**30, 1000)
        ]
        return sorted({*grid, *near, *self.bounds, Fraction(-(10**6)), Fraction(10**6)})

    def grid(self) -> list[Fraction]:
        """Where to check each of two parameters: the bounds, 1/1000 to either side of them, and halves beyond them."""
        low, high = math.floor(min(self.bounds)) - 2, math.ceil(max(self.bounds)) + 2
        near = [bound + side * Fraction(1, 1000) for bound in self.bounds for side in (-1, 0, 1)]
        step = max(Fraction(1, 2), Fraction(high - low, 24))
        return sorted({*near, *[low + i * step for i in range(math.floor((high - low) / step) + 1)]})


def _number(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return Fraction(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=ast.Div(), right=right) if _number(right):
            return _number(left) / _number(right)
    raise ValueError


def parse_condition(text: str) -> Condition:
    """Parse a condition.

    Raises:
        ValueError: ``text`` is not one; the message states the grammar.
        SeveralParametersError: it may be one, in several parameters.
    """
    if len(text) > LONGEST:
        raise ValueError(f"not a condition: {text[:40]!r}...; expected at most {LONGEST} characters, got {len(text)}")
    names: list[str] = []
    bounds: set[Fraction] = set()

    def term(node: ast.expr) -> Callable[[tuple[Fraction, ...]], Fraction]:
        if isinstance(node, ast.Name):
            if node.id not in names:
                names.append(node.id)
            place = names.index(node.id)
            return lambda values: values[place]
        number = _number(node)
        bounds.add(number)
        return lambda _: number

    def build(node: ast.expr) -> Callable[..., bool]:
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [build(value) for value in values]
                join = all if isinstance(op, ast.And) else any
                return lambda *values: join(part(*values) for part in parts)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                terms = [term(side) for side in (left, *comparators)]
                compare = [COMPARE[type(op)] for op in ops]
                return lambda *values: all(
                    test(terms[i](values), terms[i + 1](values)) for i, test in enumerate(compare)
                )
        raise ValueError

    several: set[str] = set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's, about what may be a mistake in a program
            tree = ast.parse(text.strip(), mode="eval").body
        nodes = list(ast.walk(tree))
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        several = {node.id for node in nodes if isinstance(node, ast.Name) and node not in called}
        holds = build(tree)
        if len(names) not in (1, 2) or not bounds:
            raise ValueError
    except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError):
        if len(several) > 1:
            raise SeveralParametersError(f"a condition in {', '.join(sorted(several))}: {text!r}; {GRAMMAR}") from None
        raise ValueError(f"not a condition: {text!r}; {GRAMMAR}") from None
    return Condition(tuple(names), tuple(sorted(bounds)), holds)
