"""What one objective costs in another: designs of which none is better than another in both."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from stabzoo.designing.designs import Design, solve
from stabzoo.designing.objectives import find
from stabzoo.designing.spec import Problem
from stabzoo.errors import ConfigError
from stabzoo.stability import real_to_json

__all__ = ["Front", "pareto_front"]


@dataclass(frozen=True)
class Front:
    """Designs from the best in one objective to the best in the other.

    Attributes:
        first: The objective of the problem.
        second: The other one.
        designs: In the order of the first, none as good as another in both.
    """

    first: str
    second: str
    designs: tuple[Design, ...]

    def points(self) -> list[tuple[float, float]]:
        """Both objectives of each, as floats."""
        return [(_value(d, self.first), _value(d, self.second)) for d in self.designs]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe values."""
        return {
            "objectives": [self.first, self.second],
            "designs": [
                {
                    **{
                        name: real_to_json(find(name).exactly(d.card, d.problem))  # pyright: ignore[reportArgumentType]
                        for name in (self.first, self.second)
                    },
                    "formula": str(d.method),
                    "args": d.as_args() if d.method.is_explicit else None,
                }
                for d in self.designs
            ],
        }


def pareto_front(problem: Problem, second: str, points: int = 9) -> Front:
    """Return designs between the best in the problem's objective and the best in ``second``.

    Both ends are designed first; between them the second is bounded, evenly, and the first optimised, with the
    neighbour for a start.  Every design is proved; that no other is better is not.

    Raises:
        ConfigError: the objectives are none, equal or weighted, an end is infinite, or there is no scheme at all.
    """
    if len(problem.objective) != 1 or second in problem.objective or points < 2:
        raise ConfigError(
            f"a front is between two objectives, of 2 points or more; got {', '.join(problem.objective)} and {second}, "
            f"{points} points"
        )
    (first,) = problem.objective
    try:
        other = find(second)
        reverse = Problem.model_validate({**problem.model_dump(), "objective": {second: 1}})
    except ValueError as error:
        raise ConfigError(f"front: {error}") from None
    ends = solve(problem), solve(reverse)
    low, high = (_value(end, second) for end in ends)
    if not max(abs(low), abs(high)) < float("inf"):
        raise ConfigError(f"front: {second} is infinite at an end; bound it")
    found, seed = [ends[0]], ends[0].method
    for i in range(1, points - 1):
        bound = Fraction(low + (high - low) * i / (points - 1)).limit_denominator(10**4)
        bounded = problem.model_copy(update={"bounds": {**problem.bounds, second: bound}})
        try:
            step = solve(bounded, [seed, ends[1].method])
        except ConfigError:
            continue  # the end was the only one as good
        found.append(step)
        seed = step.method
    found.append(ends[1])
    goals = find(first), other
    costs = [tuple(goal.cost(d.card, d.problem) for goal in goals) for d in found]
    kept = [
        d
        for i, (d, c) in enumerate(zip(found, costs, strict=True))
        if not any(
            all(a <= b for a, b in zip(o, c, strict=True)) and (o != c or j < i) for j, o in enumerate(costs) if j != i
        )
    ]
    return Front(first, second, tuple(kept))


def _value(design: Design, name: str) -> float:
    goal = find(name)
    return goal.sign * goal.cost(design.card, design.problem)
