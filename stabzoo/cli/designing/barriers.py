"""``stabzoo barriers``: which orders schemes of so many steps can have, and why no others."""

from __future__ import annotations

from collections.abc import Iterator

from stabzoo.cli.console import output, print_json, table
from stabzoo.config import validate
from stabzoo.designing import Feasibility, Problem, feasibility
from stabzoo.methods import NOT_DECIDED
from stabzoo.stability.enclosure import decided

__all__ = ["show_barriers"]


def show_barriers(kind: str, steps: int, starts: int, *, as_json: bool) -> None:
    """Print, for 1 to so many steps, the orders there are, and the reason why there is not the next.

    Raises:
        ConfigError: a setting is wrong.
    """
    problems = [
        validate(Problem, {"steps": d, "order": 1, "kind": kind, "starts": starts}, "barriers")
        for d in range(1, max(1, steps) + 1)
    ]
    validate(Problem, {"steps": steps, "order": 1}, "barriers")
    found = [(problem, verdict) for first in problems for problem, verdict in _orders(first)]
    if as_json:
        print_json(
            [
                {
                    "steps": problem.steps,
                    "order": problem.order,
                    "kind": problem.kind,
                    "is_feasible": decided(verdict.is_feasible),
                    "reason": verdict.reason,
                    "witness": verdict.witness and str(verdict.witness),
                    "proof": verdict.proof,
                }
                for problem, verdict in found
            ]
        )
        return
    table(
        output(),
        {
            "steps": [str(problem.steps) for problem, _ in found],
            "order": [str(problem.order) for problem, _ in found],
            "zero-stable": [_word(verdict) for _, verdict in found],
            "because": [verdict.reason for _, verdict in found],
        },
    )


def _orders(first: Problem) -> Iterator[tuple[Problem, Feasibility]]:
    """Orders from 1 up to the first that there is not."""
    order = 0
    while True:
        order += 1
        problem = first.model_copy(update={"order": order})
        verdict = feasibility(problem)
        yield problem, verdict
        if verdict.is_feasible is False:
            return


def _word(verdict: Feasibility) -> str:
    return str(NOT_DECIDED) if verdict.is_feasible is NOT_DECIDED else "yes" if verdict.is_feasible else "no"
