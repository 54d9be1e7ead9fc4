"""General linear methods (A, U, B, V), which multistep and Runge-Kutta methods are among."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache
from itertools import count
from typing import ClassVar

from stabzoo.methods.general_linear.starting import Matrix, Vector, solution, starting_series, to_flint
from stabzoo.methods.method import Method
from stabzoo.methods.multistep import (
    FIXED_POINT_ITERATIONS,
    MAX_STEPS,
    NOT_DECIDED,
    LinearMultistep,
    NotDecided,
    Number,
    State,
    combination,
    exact_sequence,
    sum_text,
)
from stabzoo.methods.one_leg import OneLeg
from stabzoo.methods.runge_kutta import MAX_STAGES, RungeKutta, reversed_characteristic
from stabzoo.methods.stability_function import StabilityFunction, flint_polynomial, fractions_of
from stabzoo.methods.trees import Tree

__all__ = ["GeneralLinear"]

Quantities = tuple[State, ...]


@dataclass(frozen=True, slots=True, init=False)
class GeneralLinear(Method):
    """A general linear method with s stages, which carries r quantities from step to step.

        k_i = f( h sum_j a_ij k_j + sum_j u_ij y_j ),      i, j = 1..s for stages, 1..r for quantities
        y_i[n+1] = h sum_j b_ij k_j + sum_j v_ij y_j[n]

    A state of `step` is the tuple of the quantities y_1, ..., y_r; its f is that of one of them.

    It is zero-stable if the powers of V are bounded: if the minimal polynomial of V satisfies the root condition.

    Raises:
        ValueError: matrices whose sizes do not fit, more than `MAX_STAGES` stages or `MAX_STEPS` quantities, or an
            entry that `exact` refuses.

    Source: Butcher, Numerical Methods for Ordinary Differential Equations, chapter 5; Hairer, Norsett, Wanner, Solving
    ODEs I, III.8.

    >>> a, u, v = ((0, 0), (2, 0)), ((1, 0), (0, 1)), (("1/2", "1/2"), ("1/2", "1/2"))
    >>> dimsim = GeneralLinear(a, u, (("5/4", "1/4"), ("3/4", "-1/4")), v)
    >>> dimsim.order, str(dimsim.linear)
    (2, '1 + z + 1/2 z^2')
    >>> GeneralLinear.of(LinearMultistep((1, 0), ("3/2", "-1/2"))).order
    2

    """

    kind: ClassVar[str] = "general linear"

    a: tuple[tuple[Fraction, ...], ...]
    u: tuple[tuple[Fraction, ...], ...]
    b: tuple[tuple[Fraction, ...], ...]
    v: tuple[tuple[Fraction, ...], ...]

    def __init__(
        self,
        a: Iterable[Iterable[Number]],
        u: Iterable[Iterable[Number]],
        b: Iterable[Iterable[Number]],
        v: Iterable[Iterable[Number]],
    ) -> None:
        matrices = {
            name: tuple(exact_sequence(row, f"{name}[{i}]") for i, row in enumerate(rows))
            for name, rows in (("a", a), ("u", u), ("b", b), ("v", v))
        }
        s, r = len(matrices["a"]), len(matrices["v"])
        if not (0 < s <= MAX_STAGES and 0 < r <= MAX_STEPS):
            raise ValueError(
                f"expected 1 to {MAX_STAGES} stages, rows of a, and 1 to {MAX_STEPS} quantities, rows of v; "
                f"got {s} and {r}"
            )
        for (name, rows), size in zip(matrices.items(), ((s, s), (s, r), (r, s), (r, r)), strict=True):
            if len(rows) != size[0] or any(len(row) != size[1] for row in rows):
                lengths = ", ".join(str(len(row)) for row in rows)
                raise ValueError(
                    f"expected {name} of {size[0]} rows of {size[1]} entries, for {s} stages and {r} quantities; "
                    f"got {len(rows)} rows of {lengths}"
                )
        for field in fields(GeneralLinear):
            object.__setattr__(self, field.name, matrices[field.name])

    @classmethod
    def of(cls, method: LinearMultistep | RungeKutta) -> GeneralLinear:
        """Return a multistep, one-leg or Runge-Kutta method in this form.

        The quantities of a Runge-Kutta method are y_n, of a one-leg method y_n, y_{n-1}, ..., of a multistep method
        these and h f_n, h f_{n-1}, ... as far as it has betas, with f(y_{n+1}) for a stage.

        >>> GeneralLinear.of(LinearMultistep((1,), (1,))).v
        ((Fraction(1, 1), Fraction(1, 1)), (Fraction(0, 1), Fraction(0, 1)))

        """
        if isinstance(method, RungeKutta):
            return cls(method.a, [[1]] * method.stages, [method.b], [[1]])
        d = method.steps
        if isinstance(method, OneLeg):
            past = [m + method.mean[0] * alpha for m, alpha in zip(method.mean[1:], method.alpha, strict=True)]
            b = [[method.weight], *[[0]] * (d - 1)]
            return cls([[method.beta_next]], [past], b, [method.alpha, *_shift(0, d, d)])
        slopes = method.past_slopes + 1 if any(method.beta) else 0
        known = [*method.alpha, *method.beta[:slopes]]
        size = d + slopes
        b = [[method.beta_next], *[[0]] * (d - 1), *[[1], *[[0]] * (slopes - 1)][:slopes]]
        kept = [*_shift(0, d, size), *[[0] * size][:slopes], *_shift(d, slopes, size)]
        return cls([[method.beta_next]], [known], b, [known, *kept])

    @property
    def parts(self) -> int:
        """The number r of quantities."""
        return len(self.v)

    @property
    def steps(self) -> int:
        """One: the quantities of the last step are all that is known."""
        return 1

    @property
    def stages(self) -> int:
        """The number s of evaluations of f in a step."""
        return len(self.a)

    @property
    def is_explicit(self) -> bool:
        """Whether no stage depends on itself: |A| is nilpotent."""
        return not any(reversed_characteristic([[abs(x) for x in row] for row in self.a])[1:])

    @property
    def minimal_polynomial(self) -> tuple[Fraction, ...]:
        """The minimal polynomial of V, monic, lowest power first."""
        return fractions_of(to_flint(self.v).minpoly())

    @property
    def has_simple_principal_root(self) -> bool:
        """Whether 1 is a simple eigenvalue of V."""
        found = to_flint(self.v).charpoly()
        return found(1) == 0 and found.derivative()(1) != 0

    @property
    def preconsistency(self) -> tuple[Fraction, ...] | None:
        """The vector q with V q = q and U q = 1, of what the quantities are where f = 0 and y = 1; None if none is."""
        fixed = [[x - (i == j) for j, x in enumerate(row)] for i, row in enumerate(self.v)]
        right = [*[Fraction(0)] * self.parts, *[Fraction(1)] * self.stages]
        found = solution([*fixed, *self.u], right)
        return None if found is None else tuple(found)

    @property
    def consistency(self) -> tuple[Fraction, ...] | None:
        """A vector c with B 1 + V c = q + c, the quantities' parts in h y', up to a shift of time; None if none is."""
        q = self.preconsistency
        if q is None:
            return None
        fixed = [[(i == j) - x for j, x in enumerate(row)] for i, row in enumerate(self.v)]
        found = solution(fixed, [sum(row) - x for row, x in zip(self.b, q, strict=True)])
        return None if found is None else tuple(found)

    @property
    def starting(self) -> Mapping[Tree, Vector] | NotDecided | None:
        """Of every tree of up to `order` nodes its coefficients in the quantities, from which steps have that order.

        They are those of h^n F / sigma, as in a B-series, with a shift of time left out.  None if not preconsistent.
        """
        found = _started(self)
        return found[1] if isinstance(found, tuple) else found

    @property
    def order(self) -> int | NotDecided | None:
        """Largest p such that steps follow the solution up to O(h^{p+1}) from some starting method, a B-series.

        It is the order of the literature: of quantities that are started so.  Of a multistep method it is its order;
        of a Runge-Kutta method, r = 1, Butcher's effective order, which may be larger than that from exact values, and
        of a one-leg method that of its multistep twin, whose solutions are means of its own (Dahlquist).  None if not
        preconsistent, not decided if 1 is a multiple eigenvalue of V.
        """
        found = _started(self)
        return found[0] if isinstance(found, tuple) else found

    @property
    def linear(self) -> LinearMultistep | StabilityFunction | NotDecided:
        """What decides the eigenvalues of M(z) = V + z B (I - zA)^-1 U, whose polynomial is p(zeta, z).

        R(z) where all eigenvalues but one are 0, rho - z sigma where p is of degree 1 in z; else not decided.
        """
        columns = [flint_polynomial(c) for c in stability_polynomial(self)]
        while len(columns) > 1 and not columns[0]:
            columns = columns[1:]
        if len(columns) == 2:
            return StabilityFunction.of(fractions_of(-columns[0]), fractions_of(columns[1]))
        common = columns[0]
        for column in columns[1:]:
            common = common.gcd(column)
        columns = [column // common for column in columns]
        lead = columns[-1]
        if any(column.degree() > 1 for column in columns) or not lead[0]:
            return NOT_DECIDED
        rho, sigma = (
            [Fraction(int(x.p), int(x.q)) for x in (column[j] / lead[0] for column in reversed(columns))]
            for j in (0, 1)
        )
        return LinearMultistep([-x for x in rho[1:]], [-x for x in sigma[1:]], -sigma[0])

    def coefficients(self) -> LinearMultistep:
        """The explicit method with the minimal polynomial of V for rho, whose roots are eigenvalues of M(z) + O(z^2).

        sigma(zeta) is the trace of rho(zeta) (zeta I - V)^-1 B U: what is left of f when it is small.  Common factors
        zeta of both are left out.
        """
        rho = self.minimal_polynomial
        moments = list[Fraction]()
        power = _product(self.b, self.u)  # V^j B U
        for _ in rho[1:]:
            moments.append(sum((row[i] for i, row in enumerate(power)), Fraction(0)))
            power = _product(self.v, power)
        sigma = [sum((c * moments[j] for j, c in enumerate(rho[k + 1 :])), Fraction(0)) for k in range(len(rho) - 1)]
        while len(rho) > 2 and rho[0] == sigma[0] == 0:
            rho, sigma = rho[1:], sigma[1:]
        return LinearMultistep([-c for c in rho[-2::-1]], sigma[::-1])

    def step(self, states: Sequence[Quantities], f: Callable[[State], State]) -> Quantities:
        """Return the quantities of the next step; equations are solved by fixed-point iterations."""
        known = [combination(row, states[0]) for row in self.u]
        slopes = [f(y) for y in known]
        for _ in range(self.stages if self.is_explicit else FIXED_POINT_ITERATIONS):
            slopes = [f(y + combination(row, slopes)) for row, y in zip(self.a, known, strict=True)]
        return tuple(
            combination(row, slopes) + combination(over, states[0]) for row, over in zip(self.b, self.v, strict=True)
        )

    def __str__(self) -> str:
        quantities, slopes = range(1, self.parts + 1), range(1, self.stages + 1)
        terms = [*(f"y{i}[n]" for i in quantities), *(f"h k{i}" for i in slopes)]

        def rows(names: Iterable[int], over: Matrix, weights: Matrix) -> list[tuple[int, str]]:
            found = zip(names, over, weights, strict=True)
            return [(i, sum_text(terms, (*one, *other))) for i, one, other in found]

        texts = [f"y{i}[n+1] = {text}" for i, text in rows(quantities, self.v, self.b)]
        return ", ".join([*texts, *(f"k{i} = f({text})" for i, text in rows(slopes, self.u, self.a))])


@cache
def _started(method: GeneralLinear) -> tuple[int, Mapping[Tree, Vector]] | NotDecided | None:
    q = method.preconsistency
    if q is None:
        return None
    return starting_series(method.a, method.u, method.b, method.v, q) or NOT_DECIDED


@cache
def stability_polynomial(method: GeneralLinear) -> tuple[tuple[Fraction, ...], ...]:
    """Return p(zeta, z) = det(I - zA) det(zeta I - M(z)): of each power of zeta, lowest first, a polynomial in z.

    It is of degree s in z, and known from its values at s + 1 places.
    """
    from flint import fmpq

    s = method.stages
    a, u, b, v = (to_flint(m) for m in (method.a, method.u, method.b, method.v))
    one = to_flint([[Fraction(i == j) for j in range(s)] for i in range(s)])
    places: list[Fraction] = []
    values: list[tuple[Fraction, ...]] = []
    for z in count():
        pole = one - a * fmpq(z)
        if (size := pole.det()) != 0:
            places.append(Fraction(z))
            values.append(fractions_of((v + b * pole.solve(u) * fmpq(z)).charpoly() * size))
        if len(places) > s:
            break
    powers = [[place**j for j in range(s + 1)] for place in places]
    return tuple(tuple(solution(powers, column) or ()) for column in zip(*values, strict=True))


def _shift(start: int, count: int, size: int) -> list[list[int]]:
    """Rows by which each of ``count`` quantities but the first becomes the one before it."""
    return [[int(j == start + i) for j in range(size)] for i in range(count - 1)]


def _product(one: Matrix, other: Matrix) -> list[list[Fraction]]:
    return [[combination(row, column) for column in zip(*other, strict=True)] for row in one]
