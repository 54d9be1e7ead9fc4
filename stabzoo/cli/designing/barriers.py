"""``stabzoo barriers``: which orders schemes of so many steps can have, and why no others."""

from __future__ import annotations

from collections.abc import Iterator

from stabzoo.cli.card_text import verdict
from stabzoo.cli.console import output, print_json, table
from stabzoo.config import validate
from stabzoo.designing import Feasibility, Problem, feasibility
from stabzoo.stability.enclosure import decided

__all__ = ["show_barriers"]


def show_barriers(kind: str, steps: int, starts: int, *, as_json: bool) -> None:
    """Print, for 1 to so many steps, the orders there are, and the reason why there is not the next.

    Raises:
        ConfigError: a setting is wrong.
    """
    most = validate(Problem, {"steps": steps, "order": 1, "kind": kind, "starts": starts}, "barriers")
    problems = [most.model_copy(update={"steps": d}) for d in range(1, steps + 1)]
    found = [(problem, decision) for first in problems for problem, decision in _orders(first)]
    if as_json:
        print_json(
            [
                {
                    "steps": problem.steps,
                    "order": problem.order,
                    "kind": problem.kind,
                    "is_feasible": decided(decision.is_feasible),
                    "reason": decision.reason,
                    "witness": decision.witness and str(decision.witness),
                    "proof": decision.proof,
                }
                for problem, decision in found
            ]
        )
        return
    table(
        output(),
        {
            "steps": [str(problem.steps) for problem, _ in found],
            "order": [str(problem.order) for problem, _ in found],
            "zero-stable": [verdict(decision.is_feasible) for _, decision in found],
            "because": [decision.reason for _, decision in found],
        },
    )


def _orders(first: Problem) -> Iterator[tuple[Problem, Feasibility]]:
    """Orders from 1 up to the first that no scheme has."""
    order = 0
    while True:
        order += 1
        problem = first.model_copy(update={"order": order})
        decision = feasibility(problem)
        yield problem, decision
        if decision.is_feasible is False:
            return
