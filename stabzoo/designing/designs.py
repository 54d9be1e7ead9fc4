"""`design`: the best scheme of its kind, with what is proved of it and of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from stabzoo.config import json_text, load_json, validate
from stabzoo.designing.barriers import least_radius, proved_barrier
from stabzoo.designing.conditions import Space
from stabzoo.designing.damping import damped
from stabzoo.designing.objectives import find
from stabzoo.designing.rational import Judged, chosen, judged, rounded
from stabzoo.designing.search import searched
from stabzoo.designing.spec import SIGNS, Kind, Problem
from stabzoo.designing.threshold import largest_threshold
from stabzoo.errors import ConfigError
from stabzoo.files import write_atomically
from stabzoo.methods.multistep import LinearMultistep, NotDecided, Number
from stabzoo.stability import (
    Enclosure,
    Real,
    StabilityCard,
    as_float,
    rational_text,
    real_to_json,
    verify_certificate,
)

__all__ = ["Design", "Limit", "design", "load_design", "solve"]

_CLOSE = 1e-6


@dataclass(frozen=True)
class Limit:
    """What no scheme of the problem is better than, and why.

    Attributes:
        value: Of the objective.
        reason: In a sentence.
        proof: What it is checked with, JSON-safe.
    """

    value: Real
    reason: str
    proof: Mapping[str, Any]


@dataclass(frozen=True)
class Design:
    """A designed scheme: its coefficients are exact, and every statement about it is proved.

    Attributes:
        problem: What was asked.
        card: All that is proved of it; `stabzoo.verify_certificate` checks its certificate.
        active: What prevents a better value: bounds and signs that hold with equality, roots on the circle.
        limit: What is proved of all others; None if nothing is proved: then the scheme is the best one found.
    """

    problem: Problem
    card: StabilityCard
    active: tuple[str, ...] = ()
    limit: Limit | None = None

    @property
    def method(self) -> LinearMultistep:
        """The scheme."""
        return self.card.coefficients

    @property
    def values(self) -> dict[str, Real | NotDecided | None]:
        """What was optimised and bounded, exactly."""
        return {
            name: find(name).exactly(self.card, self.problem)
            for name in [*self.problem.objective, *self.problem.bounds]
        }

    @property
    def gap(self) -> float | None:
        """How far the objective is from the proved limit at most; None without a limit."""
        if self.limit is None:
            return None
        (name,) = self.problem.objective
        value = self.values[name]
        ends = [(v.lower, v.upper) if isinstance(v, Enclosure) else (v, v) for v in (value, self.limit.value)]
        if ends[0] == ends[1]:
            return 0.0
        (low, high), (below, above) = ends
        return max(0.0, float(high - below if find(name).best == "least" else above - low))  # pyright: ignore[reportOperatorIssue]

    def as_args(self) -> dict[str, list[str]]:
        """The arguments of a model: ``timm.create_model("multistep56", **design.as_args())``.

        Raises:
            ConfigError: it is implicit: no model takes coefficients of those; a plugin has them.
        """
        if not self.method.is_explicit:
            raise ConfigError(
                "no model takes the coefficients of an implicit scheme; turn it into a plugin: "
                "stabzoo new-plugin NAME --design FILE"
            )
        beta = list(self.method.beta)
        while len(beta) > 1 and not beta[-1]:
            beta.pop()
        return {"alpha": [rational_text(a) for a in self.method.alpha], "beta": [rational_text(b) for b in beta]}

    def as_registry(self, name: str, depth: int = 20) -> str:
        """The entry of ``models:`` in a plugin's registry.yaml."""
        entry = {"scheme": "multistep", "depth": depth, "parameters": self.as_args()}
        return yaml.safe_dump({f"{name}{depth}": entry}, default_flow_style=None, sort_keys=False, width=1000)

    def as_network(self, label: str, depth: int = 20) -> dict[str, Any]:
        """An entry of ``networks`` in a study."""
        return {"label": label, "model": f"multistep{depth}", "args": self.as_args()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe values, exact numbers as strings."""
        limit = self.limit and {
            "value": real_to_json(self.limit.value),
            "reason": self.limit.reason,
            "proof": dict(self.limit.proof),
            "gap": self.gap,
        }
        return {
            "problem": self.problem.model_dump(mode="json"),
            "formula": str(self.method),
            "values": {name: real_to_json(value) for name, value in self.values.items()},
            "active": list(self.active),
            "limit": limit,
            "args": self.as_args() if self.method.is_explicit else None,
            "card": self.card.to_dict(),
            "certificate_verified": verify_certificate(self.method, self.card.certificate),
        }

    def save(self, path: str | Path) -> None:
        """Write `to_dict` as JSON, for `load_design` and ``stabzoo new-plugin --design``."""
        write_atomically(Path(path), (json_text(self.to_dict(), indent=2) + "\n").encode())


def design(
    steps: int,
    order: int,
    objective: str | Mapping[str, Number] = "parasitic_radius",
    *,
    kind: Kind = "explicit",
    bounds: Mapping[str, Number] | None = None,
    signs: Mapping[str, str] | None = None,
    depth: int | None = None,
    starts: int = 24,
    seed: int = 0,
) -> Design:
    """Return the best zero-stable scheme of its kind; see `stabzoo.designing.spec.Problem` for the arguments.

    Its coefficients are rational, and its order, zero stability, bounds and signs are proved exactly.  `Design.limit`
    says whether it is proved to be the best of all; otherwise it is the best one found.

    Raises:
        ConfigError: an argument is wrong, there is no such scheme (with the reason), or none was found.

    Example:
        >>> found = design(3, 2, kind="single-beta")
        >>> print(found.method)
        y[n+1] = 1/3 y[n] + 5/9 y[n-1] + 1/9 y[n-2] + 16/9 h f[n]
        >>> found.limit.value, found.gap
        (Fraction(1, 3), 0.0)
    """
    given = {
        "steps": steps,
        "order": order,
        "objective": objective,
        "kind": kind,
        "bounds": dict(bounds or {}),
        "signs": dict(signs or {}),
        "depth": depth,
        "starts": starts,
        "seed": seed,
    }
    return solve(validate(Problem, given, "design"))


def solve(problem: Problem, seeds: Sequence[LinearMultistep] = ()) -> Design:
    """The best scheme of a problem; the search also begins from ``seeds``, which have the order.

    Raises:
        ConfigError: there is none, or none was found.
    """
    space = Space(problem)
    if (barrier := proved_barrier(space)) is not None:
        raise ConfigError(f"design: there are no zero-stable {problem.about}: {barrier.reason}")
    alone = next(iter(problem.objective)) if len(problem.objective) == 1 and not problem.bounds else None
    if space.dimension == 0:
        found, limit = judged(space, space.particular), None
        if found is not None and alone is not None:
            value = find(alone).exactly(found.card, problem)
            limit = Limit(value, "it is the only one", {}) if isinstance(value, Fraction | Enclosure | float) else None
        return _designed(space, found, limit)
    if alone == "ssp_coefficient":
        return _of_threshold(space)
    radius = least_radius(space) if alone == "parasitic_radius" else None
    best = damped(space, 0.0 if radius is None else as_float(radius[0]))
    if best is None:
        raise _none_found(problem, "no scheme")
    if alone == "parasitic_radius":
        limit = None
        if radius is not None:
            reason = (
                "the order fixes a derivative of Q(s); a disc that has all roots of Q has those of the derivative "
                "(Gauss, Lucas), and the largest of these is of this modulus"
            )
            limit = Limit(radius[0], reason, {"polynomial": [rational_text(c) for c in radius[1]]})
        return _designed(space, chosen(space, best[1], best[0]), limit)
    starts = [*(space.coefficients_of(m) for m in seeds), *best[1][-3:]]
    stable = [x for x in best[1] if judged(Space(problem.model_copy(update={"bounds": {}})), x) is not None]
    cost, point = searched(space, starts)
    candidates = rounded(space, point, next(iter(stable), None))
    return _designed(space, chosen(space, candidates, cost), None)


def _of_threshold(space: Space) -> Design:
    found = largest_threshold(space)
    if found is None or (best := judged(space, found[1])) is None:
        raise ConfigError(f"design: no zero-stable {space.problem.about} have alpha >= 0 and beta >= 0")
    _, _, above = found
    limit = None
    if above is not None:
        reason = "alpha_i >= r beta_i and beta_i >= 0 contradict each other for this r, and so for every larger one"
        limit = Limit(above[0], reason, {"r": rational_text(above[0]), "refutation": above[1].to_dict()})
    return _designed(space, best, limit)


def _designed(space: Space, found: Judged | None, limit: Limit | None) -> Design:
    if found is None:
        raise _none_found(space.problem, "no zero-stable one that meets the bounds and signs")
    if limit is None and len(space.problem.objective) == 1:
        goal = find(*space.problem.objective)
        if goal.ideal is not None and goal.exactly(found.card, space.problem) == goal.ideal:
            limit = Limit(Fraction(goal.ideal), f"{goal.ideal} is the {goal.best} possible", {})
    return Design(space.problem, found.card, tuple(_active(space, found.card)), limit)


def _none_found(problem: Problem, what: str) -> ConfigError:
    return ConfigError(
        f"design: of the {problem.about} the search found {what}; that there is none is not proved: give more starts "
        "or steps, or loosen a bound"
    )


def _active(space: Space, proved: StabilityCard) -> list[str]:
    problem, x = space.problem, space.coefficients_of(proved.coefficients)
    found = [row.text.replace(SIGNS["+"], "= 0").replace(SIGNS["-"], "= 0") for row in space.signs if row.at(x) == 0]
    for name, bound in problem.bounds.items():
        value = find(name).exactly(proved, problem)
        if isinstance(value, Fraction | Enclosure) and abs(float(value) - float(bound)) <= _CLOSE * (1 + abs(bound)):
            found.append(f"{name} {'<=' if find(name).best == 'least' else '>='} {bound}")
    radius, roots = as_float(proved.parasitic_radius), proved.roots
    others = [r for r in roots if r.rational != 1]
    on = sum(r.multiplicity for r in others if abs(as_float(r.modulus) - radius) <= 1e-3 * radius)
    if "parasitic_radius" in problem.objective and others:
        found.append(f"{on} of {problem.steps - 1} parasitic roots have the largest modulus, to one in a thousand")
    elif radius > 1 - _CLOSE:
        found.append("zero stability: a parasitic root on the unit circle")
    return found


def load_design(path: str | Path) -> Design:
    """Read what `Design.save` wrote; all but the problem and the coefficients is proved again.

    Raises:
        ConfigError: it cannot be read, or is no design, or its scheme is not what the problem asks for.
    """
    try:
        data = load_json(Path(path), most=2**22)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); expected a design's file") from None
    try:
        problem = validate(Problem, data["problem"], str(path))
        coefficients = data["card"]
        method = LinearMultistep(coefficients["alpha"], coefficients["beta"], coefficients["beta_next"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: expected a design, as stabzoo design --save writes it") from None
    space = Space(problem)
    found = None
    if method.steps == problem.steps and space.method(space.coefficients_of(method)) == method:
        found = judged(space, space.coefficients_of(method))
    if found is None:
        raise ConfigError(f"{path}: its scheme, {method}, is not what its problem asks for; design it again")
    return Design(problem, found.card, tuple(_active(space, found.card)))
