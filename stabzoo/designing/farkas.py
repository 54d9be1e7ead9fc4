"""Linear inequalities over the schemes of an order: a scheme that meets all, or a proof that none does. Both exact.

HiGHS (`scipy.optimize.linprog`) finds which inequalities are tight; the numbers are then solved for over Q, and
checked.  Where floating point misleads, the answer is None: not decided.

By Farkas' lemma, there is either a point t with G t + g >= 0, or weights w >= 0 with w G = 0 and w g < 0, whose sum of
the inequalities reads "a negative number >= 0".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from stabzoo.designing.conditions import Inequality, Space
from stabzoo.methods.general_linear.starting import row_reduced
from stabzoo.methods.multistep import exact
from stabzoo.stability import rational_text

__all__ = ["Refutation", "decide"]

_TIGHT = 1e-9
_EXACTLY = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True)
class Refutation:
    """Inequalities and weights > 0 of them; of all schemes of the order the weighted sum is a negative number.

    Attributes:
        weights: By what the inequality says.
        total: The negative number.
    """

    weights: dict[str, Fraction]
    total: Fraction

    def holds(self, space: Space, inequalities: Sequence[Inequality]) -> bool:
        """Check it, in rational arithmetic: weights > 0, and the sum is this constant on the whole space."""
        named = {inequality.text: inequality for inequality in inequalities}
        if self.total >= 0 or min(self.weights.values()) <= 0 or not {*self.weights} <= {*named}:
            return False
        used = [(w, named[text]) for text, w in self.weights.items()]
        value = sum((w * row.at(space.particular) for w, row in used), Fraction(0))
        slopes = [sum((w * (row.at(step) - row.constant) for w, row in used), Fraction(0)) for step in space.directions]
        return value == self.total and not any(slopes)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe values."""
        weights = {text: rational_text(w) for text, w in self.weights.items()}
        return {"weights": weights, "sum": rational_text(self.total)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Refutation:
        """Read `to_dict`'s form."""
        return cls({text: exact(w) for text, w in data["weights"].items()}, exact(data["sum"]))

    def __str__(self) -> str:
        if len(self.weights) == 1:
            ((text, weight),) = self.weights.items()
            left = text.partition(" ")[0]
            return f"{left} = {rational_text(self.total / weight)} in all of them, where {text} is needed"
        terms = " + ".join(f"{rational_text(w)} ({text.partition(' >=')[0]})" for text, w in self.weights.items())
        return f"{terms} = {rational_text(self.total)} in all of them, where each is needed to be >= 0"


def decide(space: Space, inequalities: Sequence[Inequality]) -> list[Fraction] | Refutation | None:
    """Return the coefficients of a scheme that meets all inequalities, or the refutation that there is none.

    The scheme is one that meets them with room, where there is room.
    """
    import numpy as np

    constants = [row.at(space.particular) for row in inequalities]
    slopes = [[row.at(step) - row.constant for step in space.directions] for row in inequalities]
    if not space.dimension:
        return _of_one(space, inequalities, constants)
    scale = [max(map(abs, [*row, c])) or Fraction(1) for row, c in zip(slopes, constants, strict=True)]
    g = np.array([[float(x / s) for x in row] for row, s in zip(slopes, scale, strict=True)])
    h = np.array([float(c / s) for c, s in zip(constants, scale, strict=True)])
    weights = _weights(g, h)
    if weights is not None:
        chosen = [i for i, w in enumerate(weights) if w > _TIGHT]
        refutation = _refutation(inequalities, chosen, slopes, constants)
        if refutation is not None and refutation.holds(space, inequalities):
            return refutation
    found = _inner(g, h)
    if found is None:
        return None
    point, room = found
    if room > 1e-7:  # inside: any rational nearby will do
        for bound in (10, 100, 10**4, 10**6, 10**9, 10**12):
            x = space.point([Fraction(float(t)).limit_denominator(bound) for t in point])
            if all(row.at(x) >= 0 for row in inequalities):
                return x
    return _vertex(space, inequalities, slopes, constants, g @ point + h)


def _of_one(
    space: Space, inequalities: Sequence[Inequality], constants: Sequence[Fraction]
) -> list[Fraction] | Refutation:
    worst = min(range(len(constants)), key=lambda i: constants[i], default=None)
    if worst is None or constants[worst] >= 0:
        return space.particular
    return Refutation({inequalities[worst].text: Fraction(1)}, constants[worst])


def _weights(g: Any, h: Any) -> list[float] | None:
    """A vertex of w >= 0, w G = 0, sum w = 1 with the least w h, if that is negative."""
    import numpy as np
    from scipy.optimize import linprog

    equal = np.vstack([g.T, np.ones(len(h))])
    right = np.append(np.zeros(g.shape[1]), 1.0)
    found = linprog(h, A_eq=equal, b_eq=right, method="highs-ds", options=_EXACTLY)
    return None if found.x is None or found.fun >= -1e-12 else list(found.x)


def _inner(g: Any, h: Any) -> tuple[Any, float] | None:
    """A point of G t + h >= m, with the most m up to 1."""
    import numpy as np
    from scipy.optimize import linprog

    cost = np.append(np.zeros(g.shape[1]), -1.0)
    rows = np.hstack([-g, np.ones((len(h), 1))])
    bounds = [*[(-1e6, 1e6)] * g.shape[1], (None, 1)]
    found = linprog(cost, A_ub=rows, b_ub=h, bounds=bounds, method="highs-ds", options=_EXACTLY)
    return None if found.x is None else (found.x[:-1], float(found.x[-1]))


def _refutation(
    inequalities: Sequence[Inequality],
    chosen: Sequence[int],
    slopes: Sequence[Sequence[Fraction]],
    constants: Sequence[Fraction],
) -> Refutation | None:
    """The weights of these inequalities that make the slopes vanish, exactly; None where they are not unique."""
    columns = len(slopes[0])
    rows = [[*(slopes[i][k] for i in chosen), Fraction(0)] for k in range(columns)]
    rows.append([*(Fraction(1) for _ in chosen), Fraction(1)])
    reduced, pivots = row_reduced(rows)
    if pivots != list(range(len(chosen))):
        return None
    weights = [row[-1] for row in reduced]
    total = sum((w * constants[i] for w, i in zip(weights, chosen, strict=True)), Fraction(0))
    pairs = zip(chosen, weights, strict=True)
    named = {inequalities[i].text: w for i, w in pairs if w}
    return Refutation(named, total) if total < 0 and min(named.values()) > 0 else None


def _vertex(
    space: Space,
    inequalities: Sequence[Inequality],
    slopes: Sequence[Sequence[Fraction]],
    constants: Sequence[Fraction],
    slack: Any,
) -> list[Fraction] | None:
    """The point where the tightest inequalities hold with equality, if it meets the others."""
    tight: list[list[Fraction]] = []
    for i in sorted(range(len(slack)), key=lambda i: slack[i]):
        rows = [*tight, [*slopes[i], -constants[i]]]
        reduced, pivots = row_reduced(rows)
        if len(reduced) == len(rows) and space.dimension not in pivots:
            tight = rows
        if len(tight) == space.dimension:
            break
    reduced, pivots = row_reduced(tight)
    if len(pivots) < space.dimension:
        return None
    x = space.point([row[-1] for row in reduced])
    return x if all(row.at(x) >= 0 for row in inequalities) else None
