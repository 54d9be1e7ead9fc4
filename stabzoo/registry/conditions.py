"""Stability conditions as the registry states them: comparisons of one parameter with numbers, ``-1 < k <= 1``."""

from __future__ import annotations

import ast
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

GRAMMAR = "expected comparisons of one parameter with numbers, joined by 'and' / 'or', e.g. 'lam <= -1 or lam > 1/3'"


class SeveralParametersError(ValueError):
    """A condition in more parameters than one: nothing is wrong with it but that it cannot be checked."""


@dataclass(frozen=True)
class Condition:
    """A union of intervals of one parameter."""

    parameter: str
    bounds: tuple[Fraction, ...]
    holds: Callable[[Fraction], bool]

    def probes(self) -> list[Fraction]:
        """Where to check: the bounds, 10^-30 and 1/1000 to either side of them, and a grid over and beyond them."""
        low, high = min(self.bounds) - 4, max(self.bounds) + 4
        grid = [low + (high - low) * Fraction(i, 97) for i in range(98)]
        near = [
            bound + side * Fraction(1, scale) for bound in self.bounds for side in (-1, 1) for scale in (10**30, 1000)
        ]
        return sorted({*grid, *near, *self.bounds, Fraction(-(10**6)), Fraction(10**6)})


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
        ValueError: ``text`` is not one; the message states the grammar. SeveralParametersError: it has several.
    """
    if len(text) > LONGEST:
        raise ValueError(f"not a condition: {text[:40]!r}...; expected at most {LONGEST} characters, got {len(text)}")
    names: set[str] = set()
    bounds: set[Fraction] = set()

    def term(node: ast.expr) -> Callable[[Fraction], Fraction]:
        if isinstance(node, ast.Name):
            names.add(node.id)
            return lambda value: value
        number = _number(node)
        bounds.add(number)
        return lambda value: number

    def build(node: ast.expr) -> Callable[[Fraction], bool]:
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [build(value) for value in values]
                join = all if isinstance(op, ast.And) else any
                return lambda value: join(part(value) for part in parts)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                terms = [term(side) for side in (left, *comparators)]
                compare = [COMPARE[type(op)] for op in ops]
                return lambda value: all(test(terms[i](value), terms[i + 1](value)) for i, test in enumerate(compare))
        raise ValueError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's, about what may be a mistake in a program
            tree = ast.parse(text.strip(), mode="eval").body
        nodes = list(ast.walk(tree))
        called = [node.func for node in nodes if isinstance(node, ast.Call)]
        if len(several := {node.id for node in nodes if isinstance(node, ast.Name) and node not in called}) > 1:
            raise SeveralParametersError(f"a condition in {', '.join(sorted(several))}: {text!r}; {GRAMMAR}")
        holds = build(tree)
        if len(names) != 1 or not bounds:
            raise ValueError
    except SeveralParametersError:
        raise
    except (ValueError, KeyError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"not a condition: {text!r}; {GRAMMAR}") from None
    return Condition(names.pop(), tuple(sorted(bounds)), holds)
