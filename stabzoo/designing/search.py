"""Objectives without a structure: a search over the free coefficients, by SciPy's differential evolution.

The objectives are minima and maxima over roots, neither convex nor smooth, and of few variables.  Candidates of a
generation that are not zero-stable, or miss a bound, are worse than all that are, by how far they are off.  What is
found is refined by the simplex method of Nelder and Mead, and made rational in `stabzoo.designing.rational`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb
from typing import Any

from stabzoo.designing.conditions import Space
from stabzoo.designing.objectives import find, parasitic_radius
from stabzoo.designing.spec import Problem

__all__ = ["cost_of", "searched"]

_MOST = 1e5  # the cost of what is infinite
_TRIALS = 1500  # of a search, for each of up to four free coefficients
_OFF = 1e-9


def cost_of(problem: Problem, rho: Any, sigma: Any) -> float:
    """The weighted sum of the estimates, as it is minimised."""
    total = 0.0
    for name, weight in problem.objective.items():
        goal = find(name)
        total += float(weight) * goal.sign * goal.estimate(rho, sigma, problem)
    return min(max(total, -_MOST), _MOST)


def searched(space: Space, seeds: Sequence[Sequence[Fraction]]) -> tuple[float, list[float]]:
    """Return the least cost found, and the free coefficients that have it; ``seeds`` are schemes to begin from."""
    import numpy as np
    from scipy.optimize import differential_evolution, minimize

    problem, generator = space.problem, np.random.default_rng(space.problem.seed)
    cost = _cost(space)
    reach = np.array([_reach(name, problem.steps) for name in space.free])
    known = (
        np.array([[float(t) for t in space.free_of(list(x))] for x in seeds]) if seeds else np.zeros((1, len(reach)))
    )
    size = max(16, 8 * len(reach))
    near = known[generator.integers(len(known), size=size)]
    scale = reach * 10 ** generator.uniform(-2.5, 0, (size, 1))
    population = np.clip(near + scale * generator.standard_normal((size, len(reach))), -reach, reach)
    population[: len(known)] = np.clip(known[:size], -reach, reach)
    found = differential_evolution(
        cost,
        list(zip(-reach, reach, strict=True)),
        init=population,
        maxiter=_TRIALS * min(4, len(reach)) // size,
        tol=1e-8,
        atol=1e-12,
        seed=generator,  # pyright: ignore[reportCallIssue] -- `rng` from SciPy 1.15 on, which still takes the older name
        polish=False,
    )
    best, point = float(found.fun), found.x
    for step in (1e-2, 1e-4, 1e-6):
        simplex = np.vstack([point, point + step * np.diag(reach)])
        better = minimize(
            cost,
            point,
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "xatol": 1e-13, "fatol": 1e-14, "maxiter": 200 * len(reach)},
        )
        if better.fun <= best:
            best, point = float(better.fun), better.x
    return best, [float(t) for t in point]


def _cost(space: Space) -> Callable[[Any], float]:
    import numpy as np

    problem = space.problem
    base = np.array([float(c) for c in space.particular])
    steps = np.array([[float(c) for c in row] for row in space.directions])
    names, d = problem.coefficients, problem.steps
    places = [int(n[6:]) if n[0] == "a" else d + (0 if n == "beta_next" else 1 + int(n[5:])) for n in names]
    signs = [(i, 1.0 if problem.sign(n) == "+" else -1.0) for i, n in enumerate(names) if problem.sign(n) in ("+", "-")]
    bounds = [(find(name), float(bound)) for name, bound in problem.bounds.items()]

    def cost(t: Any) -> float:
        x = base + np.asarray(t) @ steps
        full = np.zeros(2 * d + 1)
        full[places] = x
        rho, sigma = np.append(1.0, -full[:d]), full[d:]
        off = max(0.0, parasitic_radius(rho, sigma, problem) - 1 - _OFF)
        off += sum(max(0.0, -sign * x[i] - _OFF) for i, sign in signs)
        if off > 0:
            return 10 * _MOST * (1 + off)
        for goal, bound in bounds:
            value = goal.estimate(rho, sigma, problem)
            off += max(0.0, goal.sign * (value - bound) - _OFF * (1 + abs(bound)))
        return 2 * _MOST * (1 + min(off, 1.0)) if off > 0 else cost_of(problem, rho, sigma)

    return cost


def _reach(name: str, steps: int) -> float:
    """How large a coefficient may be: alphas of zero-stable methods are no larger than those of (z + 1)^d."""
    return float(comb(steps, int(name[6:]) + 1)) if name.startswith("alpha") else 2.0**steps
