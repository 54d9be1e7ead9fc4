"""Documents about designed schemes: of ``design`` and ``barriers``."""

from __future__ import annotations

from typing import Any

from stabzoo.cli.documents.schemes import Card
from stabzoo.cli.documents.values import Exact, Flag, Real
from stabzoo.config import Strict
from stabzoo.designing.spec import Kind, Sign

__all__ = ["Barrier", "Designed"]


class ProblemOf(Strict):
    """What was asked (`stabzoo.designing.Problem`)."""

    steps: int
    order: int
    kind: Kind
    objective: dict[str, Exact]
    bounds: dict[str, Exact]
    signs: dict[str, Sign]
    depth: int | None
    starts: int
    seed: int


class LimitOf(Strict):
    """What no other scheme is better than; ``proof`` is what the reason is checked with."""

    value: Real
    reason: str
    proof: dict[str, Any]
    gap: float | None


class ArgumentsOf(Strict):
    """The arguments of a ``multistep`` model."""

    alpha: list[Exact]
    beta: list[Exact]


class FrontOf(Strict):
    """Designs between two objectives, each with its values of both."""

    objectives: list[str]
    designs: list[dict[str, Any]]


class Designed(Strict):
    """Of ``stabzoo design --json``, and the file of ``--save``, which has no ``front``."""

    problem: ProblemOf
    formula: str
    values: dict[str, Real]
    active: list[str]
    limit: LimitOf | None
    args: ArgumentsOf | None
    card: Card
    certificate_verified: bool
    front: FrontOf | None = None


class Barrier(Strict):
    """Steps and an order, of the list of ``stabzoo barriers --json``; ``proof`` is what the reason is checked with."""

    steps: int
    order: int
    kind: str
    is_feasible: Flag
    reason: str
    witness: str | None
    proof: dict[str, Any]
