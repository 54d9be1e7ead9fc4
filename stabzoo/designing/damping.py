"""The smallest parasitic radius, in coordinates in which it is smooth.

With rho(z) = (z - 1) prod_i (z^2 + a_i z + b_i), and a factor z + c if d is even, all parasitic roots lie within r just
if

    b_i <= r^2,    r |a_i| <= r^2 + b_i,    |a_i| <= 2 r,    |c| <= r,

also where roots are multiple, and whether they are real or pairs (the third matters at r = 0 alone).  So r is minimised
under smooth constraints, by SLSQP (`scipy.optimize.minimize`) from many starts.  Multiple roots move much when
coefficients move a little: the best factors are therefore made exact first (small fractions where these have the order,
else Newton's method over Q), and multiplied out then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from stabzoo.designing.conditions import Space
from stabzoo.methods.general_linear.starting import to_flint

__all__ = ["damped", "product"]

_DIGITS = 60  # of factors after Newton's method
_WIDE = 4.0  # the largest parasitic radius that is looked at


@dataclass(frozen=True)
class _Factored:
    """Schemes as factors of rho and betas: v = (a_1, b_1, ..., c, betas)."""

    space: Space

    @cached_property
    def pairs(self) -> int:
        return (self.space.problem.steps - 1) // 2

    @cached_property
    def betas(self) -> list[str]:
        return [name for name in self.space.problem.coefficients if name.startswith("beta")]

    @property
    def names(self) -> list[str]:
        """Of the alphas, those that are zero too, and betas."""
        return [*(f"alpha_{j}" for j in range(self.space.problem.steps)), *self.betas]

    @property
    def size(self) -> int:
        """Numbers of factors, then of betas."""
        return self.space.problem.steps - 1 + len(self.betas)

    def factors(self, v: Sequence[Any]) -> list[list[Any]]:
        """The factors but z - 1, highest power first."""
        found = [[1, v[2 * i], v[2 * i + 1]] for i in range(self.pairs)]
        return [*found, [1, v[2 * self.pairs]]] if self.space.problem.steps % 2 == 0 else found

    def equations(self) -> tuple[list[list[Fraction]], list[Fraction]]:
        """L y = e of y = (all alphas, betas): the order but preconsistency, which z - 1 has, and zero alphas."""
        d, names = self.space.problem.steps, self.space.problem.coefficients
        rows, right = self.space.equations
        found = [[dict(zip(names, row, strict=True)).get(name, Fraction(0)) for name in self.names] for row in rows[1:]]
        zero = [j for j in range(d) if f"alpha_{j}" not in names]
        found += [[Fraction(i == j) for i in range(d + len(self.betas))] for j in zero]
        return found, [*right[1:], *[Fraction(0)] * len(zero)]

    def state(self, v: Sequence[Any]) -> list[Any]:
        """The alphas and betas."""
        rho: list[Any] = [1, -1]
        for factor in self.factors(v):
            rho = product(rho, factor)
        return [*(-c for c in rho[1:]), *v[self.space.problem.steps - 1 : self.size]]

    def slopes(self, v: Sequence[Any]) -> list[list[Any]]:
        """How they change with each of v."""
        d, factors = self.space.problem.steps, self.factors(v)
        found: list[list[Any]] = []
        for i, factor in enumerate(factors):
            others: list[Any] = [1, -1]
            for j, other in enumerate(factors):
                others = product(others, other) if j != i else others
            for k in range(1, len(factor)):  # of the power len(factor) - 1 - k of z in this factor
                padded = [0] * k + others + [0] * (len(factor) - 1 - k)
                found.append([*(-c for c in padded[1:]), *[0] * len(self.betas)])
        for i in range(len(self.betas)):
            found.append([0] * d + [int(i == j) for j in range(len(self.betas))])
        return found


def damped(space: Space, least: float = 0.0) -> tuple[float, list[list[Fraction]]] | None:
    """Return the smallest parasitic radius found, and coefficients of schemes that have it or almost; None if none.

    They have the order exactly; simpler ones come first.  ``least`` is a bound below which there is none: where it is
    reached, no further start is made.
    """
    import numpy as np

    problem = space.problem
    if space.contradiction is not None:
        return None
    if space.dimension == 0:
        return None if any(row.at(space.particular) < 0 for row in space.signs) else (np.inf, [space.particular])
    form, generator = _Factored(space), np.random.default_rng(problem.seed)
    best: list[tuple[float, Any]] = []
    for radius, v in _local_optima(form, generator, problem.starts):
        best.append((radius, v))
        if radius <= least * (1 + 1e-9):
            break
    best.sort(key=lambda pair: pair[0])
    if not best:
        return None
    found = [x for _, v in best[:3] for x in _exact(form, v)]
    return best[0][0], found


def _local_optima(form: _Factored, generator: Any, starts: int) -> Iterator[tuple[float, Any]]:
    import numpy as np
    from scipy.optimize import minimize

    rows, right = form.equations()
    scale = [max(map(abs, row)) for row in rows]
    left = np.array([[float(c / s) for c in row] for row, s in zip(rows, scale, strict=True)])
    wanted = np.array([float(c / s) for c, s in zip(right, scale, strict=True)])
    size, d = form.size, form.space.problem.steps
    sign = {"+": 1.0, "-": -1.0}
    signs = np.diag([sign.get(form.space.problem.sign(name) or "", 0.0) for name in form.names])
    signs = signs[signs.any(axis=1)]

    def equal(x: Any) -> Any:
        return left @ np.array(form.state(x)) - wanted

    def equal_slopes(x: Any) -> Any:
        return np.hstack([left @ np.array(form.slopes(x), dtype=float).T, np.zeros((len(rows), 1))])

    def within(x: Any) -> Any:
        r, a, b = x[-1], x[0 : 2 * form.pairs : 2], x[1 : 2 * form.pairs : 2]
        parts = [r * r - b, r * r + b - r * a, r * r + b + r * a, 2 * r - a, 2 * r + a]
        if d % 2 == 0:
            c = x[2 * form.pairs]
            parts += [np.array([r - c, r + c])]
        return np.concatenate([*parts, signs @ np.array(form.state(x))])

    def within_slopes(x: Any) -> Any:
        r, pairs = x[-1], form.pairs
        found = np.zeros((5 * pairs + (2 if d % 2 == 0 else 0), size + 1))
        for i in range(pairs):
            a = x[2 * i]
            found[i, [2 * i + 1, -1]] = -1, 2 * r
            found[pairs + i, [2 * i, 2 * i + 1, -1]] = -r, 1, 2 * r - a
            found[2 * pairs + i, [2 * i, 2 * i + 1, -1]] = r, 1, 2 * r + a
            found[3 * pairs + i, [2 * i, -1]] = -1, 2
            found[4 * pairs + i, [2 * i, -1]] = 1, 2
        if d % 2 == 0:
            found[5 * pairs, [2 * pairs, -1]] = -1, 1
            found[5 * pairs + 1, [2 * pairs, -1]] = 1, 1
        more = np.hstack([signs @ np.array(form.slopes(x), dtype=float).T, np.zeros((len(signs), 1))])
        return np.vstack([found, more])

    cost = np.append(np.zeros(size), 1.0)
    for _ in range(starts):
        start = _drawn(form, generator)
        missing = equal(start)  # of betas that are 0, in which the conditions are linear
        start[d - 1 : size] = np.linalg.lstsq(left[:, d:], -missing, rcond=None)[0]
        found = minimize(
            lambda x: x[-1],
            start,
            jac=lambda x: cost,
            method="SLSQP",
            bounds=[(None, None)] * size + [(0, _WIDE)],
            constraints=[
                {"type": "eq", "fun": equal, "jac": equal_slopes},
                {"type": "ineq", "fun": within, "jac": within_slopes},
            ],
            options={"maxiter": 300, "ftol": 1e-14},
        )
        x = found.x
        if np.all(np.isfinite(x)) and np.abs(equal(x)).max() < 1e-8 and within(x).min() > -1e-8:
            yield float(x[-1]), x[:-1]


def _drawn(form: _Factored, generator: Any) -> Any:
    """Factors whose roots lie within a radius, without betas, and that radius: all by chance."""
    import numpy as np

    radius = generator.uniform(0.2, 1.2)
    start = np.zeros(form.size + 1)
    for i in range(form.pairs):
        modulus, angle = radius * generator.uniform(0, 1) ** 0.5, generator.uniform(0, np.pi)
        if generator.uniform() < 0.5:
            one, other = generator.uniform(-radius, radius, 2)
            start[2 * i : 2 * i + 2] = -(one + other), one * other
        else:
            start[2 * i : 2 * i + 2] = -2 * modulus * np.cos(angle), modulus**2
    if form.space.problem.steps % 2 == 0:
        start[2 * form.pairs] = generator.uniform(-radius, radius)
    start[-1] = radius
    return start


def _exact(form: _Factored, v: Sequence[float]) -> Iterator[list[Fraction]]:
    """Coefficients near to those of the factors, exactly of the order; simpler ones first."""
    for bound in (12, 50, 200, 1000):
        near = [Fraction(float(c)).limit_denominator(bound) for c in v[: form.space.problem.steps - 1]]
        state = form.state([*near, *(Fraction(0) for _ in form.betas)])
        x = form.space.completed(state[: form.space.problem.steps])
        if x is not None:
            yield x
            break
    polished = _newton(form, [Fraction(float(c)) for c in v])
    if polished is not None:
        free = form.space.free_of(_point(form, form.state(polished)))
        for digits in (1, 2, 3, 4, 6, 8, 10, 12, 15, 18, 24, 30, 40):
            yield form.space.point([t.limit_denominator(10**digits) for t in free])


def _newton(form: _Factored, v: list[Fraction]) -> list[Fraction] | None:
    """Factors and betas nearby that have the order to `_DIGITS`, by Newton's method with the shortest steps."""
    rows, right = form.equations()
    left, target = to_flint(rows), to_flint([[e] for e in right])
    for _ in range(8):
        missing = target - left * to_flint([[c] for c in form.state(v)])
        if max(abs(int(c.p) / int(c.q)) for c in missing.entries()) < 10.0**-_DIGITS:
            return v
        jacobian = left * to_flint(form.slopes(v)).transpose()
        try:
            step = jacobian.transpose() * (jacobian * jacobian.transpose()).solve(missing)
        except ZeroDivisionError:
            return None
        v = [
            Fraction(round((c + Fraction(int(s.p), int(s.q))) * 10 ** (_DIGITS + 5)), 10 ** (_DIGITS + 5))
            for c, s in zip(v, step.entries(), strict=True)
        ]
    return None


def _point(form: _Factored, state: Sequence[Fraction]) -> list[Fraction]:
    values = dict(zip(form.names, state, strict=True))
    return [values[name] for name in form.space.problem.coefficients]


def product(p: Sequence[Any], q: Sequence[Any]) -> list[Any]:
    """The coefficients of the product of two polynomials."""
    found: list[Any] = [0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            found[i + j] += a * b
    return found
