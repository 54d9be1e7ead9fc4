"""Designing schemes: the best multistep method for an objective, exact and proved, or the reason why there is none."""

from __future__ import annotations

from stabzoo.designing.barriers import Feasibility, feasibility
from stabzoo.designing.designs import Design, Limit, design, load_design, solve
from stabzoo.designing.front import Front, pareto_front
from stabzoo.designing.objectives import OBJECTIVES, Objective, objective
from stabzoo.designing.spec import Problem

__all__ = [
    "OBJECTIVES",
    "Design",
    "Feasibility",
    "Front",
    "Limit",
    "Objective",
    "Problem",
    "design",
    "feasibility",
    "load_design",
    "objective",
    "pareto_front",
    "solve",
]
