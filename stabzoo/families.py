"""Named families of linear multistep methods, derived exactly: BDF, Adams, Nystrom, Milne-Simpson and optimal SSP.

Adams, Nystrom and Milne-Simpson methods integrate the polynomial that interpolates slopes, BDF differentiate the one
that interpolates states, so that their coefficients are rational and are computed, not tabulated. Everything returns a
`LinearMultistep`; `named_method` reads a name such as ``"bdf(3)"``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from stabzoo.methods.general_linear.starting import row_reduced
from stabzoo.methods.multistep import MAX_STEPS, LinearMultistep

__all__ = ["adams_bashforth", "adams_moulton", "bdf", "milne_simpson", "named_method", "nystrom", "ssp"]

_CALL = re.compile(r"\s*([a-z_]+)\s*\(\s*([0-9]{1,9})\s*(?:,\s*([0-9]{1,9})\s*)?\)\s*")
_RESOLUTION = Fraction(1, 10**9)
_EXACTLY = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_MOST_ORDER = 12  # of an SSP method: beyond, float64 does not tell which weights vanish


def adams_bashforth(steps: int) -> LinearMultistep:
    """Return the explicit Adams method of order ``steps``, which interpolates the slopes at n, n-1, ...

    Raises:
        ValueError: fewer than 1 or more than `MAX_STEPS` steps, as for all families.

    Source: Hairer, Norsett, Wanner, Solving ODEs I, III.1.

    Example:
        >>> adams_bashforth(2).beta
        (Fraction(3, 2), Fraction(-1, 2))
    """
    _check(steps)
    return LinearMultistep((1, *[0] * (steps - 1)), _quadrature([-j for j in range(steps)], 0))


def adams_moulton(steps: int) -> LinearMultistep:
    """Return the implicit Adams method of order ``steps`` + 1, which interpolates the slopes at n+1, n, n-1, ...

    Source: Hairer, Norsett, Wanner, Solving ODEs I, III.1.

    Example:
        >>> adams_moulton(1).beta, adams_moulton(1).beta_next
        ((Fraction(1, 2),), Fraction(1, 2))
    """
    _check(steps)
    new, *past = _quadrature([1 - j for j in range(steps + 1)], 0)
    return LinearMultistep((1, *[0] * (steps - 1)), past, new)


def nystrom(slopes: int) -> LinearMultistep:
    """Return Nystrom's explicit method: y_{n+1} - y_{n-1} is the integral of the interpolation of ``slopes`` slopes.

    It has at least two steps, and order ``slopes``, except order 2 for one slope (the leapfrog method).

    Source: Hairer, Norsett, Wanner, Solving ODEs I, III.1.

    Example:
        >>> nystrom(1).beta
        (Fraction(2, 1), Fraction(0, 1))
    """
    _check(slopes)
    return LinearMultistep((0, 1, *[0] * (slopes - 2)), _quadrature([-j for j in range(slopes)], -1))


def milne_simpson(steps: int) -> LinearMultistep:
    """Return the implicit method that integrates, over two steps, the slopes at n+1, n, ... n+1-``steps``.

    Two steps are Milne's method, Simpson's rule, of order 4.

    Source: Hairer, Norsett, Wanner, Solving ODEs I, III.1.

    Example:
        >>> milne_simpson(2).beta_next, milne_simpson(2).order
        (Fraction(1, 3), 4)
    """
    _check(steps)
    new, *past = _quadrature([1 - j for j in range(steps + 1)], -1)
    return LinearMultistep((0, 1, *[0] * (steps - 2)), past, new)


def bdf(steps: int) -> LinearMultistep:
    """Return the backward differentiation formula, sum_j (1/j) nabla^j y_{n+1} = h f_{n+1}, of order ``steps``.

    Zero-stable up to 6 steps.

    Source: Hairer, Norsett, Wanner, Solving ODEs I, III.1, (1.22').

    Example:
        >>> bdf(2).alpha, bdf(2).beta_next
        ((Fraction(4, 3), Fraction(-1, 3)), Fraction(2, 3))
    """
    _check(steps)
    weights = [Fraction(0)] * (steps + 1)  # of y_{n+1}, y_n, ...
    difference = [1]
    for j in range(1, steps + 1):
        difference = [a - b for a, b in zip([*difference, 0], [0, *difference], strict=True)]
        for i, c in enumerate(difference):
            weights[i] += Fraction(c, j)
    return LinearMultistep([-w / weights[0] for w in weights[1:]], (), 1 / weights[0])


def ssp(steps: int, order: int) -> LinearMultistep:
    """Return the explicit method of this order with the largest SSP coefficient, min alpha_j / beta_j.

    Linear programming finds the weights that vanish; the others solve the order conditions exactly, so the order is
    exact. If the largest coefficient is rational with a denominator up to 1000, the method is the optimal one, e.g.
    for (3, 2), (4, 3) and (5, 3). Otherwise the weights are those of a rational coefficient up to 10^-9 below the
    largest one with nonnegative weights. That no method has a larger coefficient is not proved.

    Raises:
        ValueError: there is none with a positive SSP coefficient, or the order is not in 1 to 12.

    Source: Lenferink, Contractivity preserving explicit linear multistep methods, Numer. Math. 55 (1989), 213-223;
    Ketcheson, Computation of optimal monotonicity preserving general linear methods, Math. Comp. 78 (2009), 1497-1513.

    Example:
        >>> ssp(3, 2).alpha, ssp(3, 2).beta
        ((Fraction(3, 4), Fraction(0, 1), Fraction(1, 4)), (Fraction(3, 2), Fraction(0, 1), Fraction(0, 1)))
    """
    _check(steps)
    if not 1 <= order <= _MOST_ORDER:
        raise ValueError(f"ssp: expected an order from 1 to {_MOST_ORDER}, got {order}")
    low, high = 0.0, 1.0  # no explicit linear multistep method has more than 1
    if _support(steps, order, high) is not None:
        low = high
    while high - low > 1e-11:
        middle = (low + high) / 2
        low, high = (low, middle) if _support(steps, order, middle) is None else (middle, high)
    simple = Fraction(low).limit_denominator(1000)
    if simple > 0 and (support := _support(steps, order, float(simple))) is not None:
        method = _ssp_with(steps, order, simple, support[:order])
        if method is not None:
            return method
    found: list[tuple[Fraction, LinearMultistep]] = []
    for below in (1e-3, 1e-4, 1e-5, 1e-6):  # weights that do not vanish there, but one may at the largest coefficient
        if low > below and (support := _support(steps, order, low - below)) is not None:
            found += _largest(steps, order, support[: order + 1], Fraction(low - below), Fraction(low) + _RESOLUTION)
    if not found:
        raise ValueError(
            f"ssp: no explicit method with {steps} steps and order {order} has a positive SSP coefficient; "
            "take more steps"
        )
    return max(found, key=lambda pair: pair[0])[1]


def _largest(
    steps: int, order: int, support: list[int], low: Fraction, high: Fraction
) -> list[tuple[Fraction, LinearMultistep]]:
    """The method with these weights and the largest coefficient, to the resolution; none where ``low`` has none."""
    low = Fraction(round(low / _RESOLUTION)) * _RESOLUTION
    method = _ssp_with(steps, order, low, support)
    if method is None:
        return []
    while high - low > _RESOLUTION:
        middle = Fraction(round((low + high) / 2 / _RESOLUTION)) * _RESOLUTION
        if middle in (low, high):
            break
        better = _ssp_with(steps, order, middle, support)
        low, high, method = (low, middle, method) if better is None else (middle, high, better)
    return [(low, method)]


_FAMILIES: Mapping[str, Callable[..., LinearMultistep]] = {
    family.__name__: family for family in (adams_bashforth, adams_moulton, bdf, milne_simpson, nystrom, ssp)
}


def named_method(name: str) -> LinearMultistep:
    """Return a method by its name: ``bdf(3)``, ``adams_moulton(2)``, ``ssp(4, 3)``; nothing is executed.

    Raises:
        ValueError: the text does not name a family with integer arguments, or the family has no such method.

    Example:
        >>> named_method("adams_bashforth(1)").beta
        (Fraction(1, 1),)
    """
    call = _CALL.fullmatch(name)
    known = ", ".join(f"{family}({'d, p' if family == 'ssp' else 'k'})" for family in sorted(_FAMILIES))
    if call is None or call[1] not in _FAMILIES or (call[3] is not None) != (call[1] == "ssp"):
        raise ValueError(f"expected one of {known}, with whole numbers, e.g. bdf(3); got {name!r:.60}")
    return _FAMILIES[call[1]](*[int(number) for number in call.groups()[1:] if number is not None])


def _check(steps: int) -> None:
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"expected 1 to {MAX_STEPS} steps, got {steps}")


def _quadrature(nodes: Sequence[int], start: int) -> list[Fraction]:
    """The weights that integrate the interpolating polynomial of values at ``nodes`` from ``start`` to 1."""
    weights: list[Fraction] = []
    for node in nodes:
        basis = [Fraction(1)]  # of Lagrange, lowest power first
        for other in nodes:
            if other != node:
                shifted = zip([Fraction(0), *basis], [*basis, Fraction(0)], strict=True)
                basis = [(a - other * b) / (node - other) for a, b in shifted]
        weights.append(sum((c * (1 - start ** (i + 1)) / (i + 1) for i, c in enumerate(basis)), Fraction(0)))
    return weights


def _conditions(steps: int, order: int, coefficient: Fraction) -> list[list[Fraction]]:
    """The order conditions as columns, of the gamma_j and beta_j >= 0 with alpha_j = gamma_j + coefficient beta_j.

    The method is exact for t^q, q = 0 .. order, with time 0 at the oldest value and scaled by the steps.
    """
    times = [Fraction(steps - 1 - j, steps) for j in range(steps)]
    states = [[t**q for q in range(order + 1)] for t in times]
    slopes = [[q * t ** (q - 1) / steps if q else Fraction(0) for q in range(order + 1)] for t in times]
    both = [[coefficient * a + b for a, b in zip(*pair, strict=True)] for pair in zip(states, slopes, strict=True)]
    return [*states, *both]


def _support(steps: int, order: int, coefficient: float) -> list[int] | None:
    """Which of the gamma_j and beta_j are positive in a vertex, largest first; None where there is none."""
    import numpy as np
    from scipy.optimize import linprog

    columns = np.array(_conditions(steps, order, Fraction(coefficient)), dtype=float).T
    found = linprog(np.zeros(2 * steps), A_eq=columns, b_eq=np.ones(order + 1), method="highs-ds", options=_EXACTLY)
    return None if found.x is None else [int(i) for i in np.argsort(-found.x) if found.x[i] > 1e-12]


def _ssp_with(steps: int, order: int, coefficient: Fraction, support: list[int]) -> LinearMultistep | None:
    """The method with these weights, exact and not negative; None where there is none."""
    columns, chosen = _conditions(steps, order, coefficient), sorted(support)
    weights = _solved([columns[i] for i in chosen], order + 1)
    if weights is None or min(weights) < 0:
        return None
    found = dict(zip(chosen, weights, strict=True))
    beta = [found.get(steps + j, Fraction(0)) for j in range(steps)]
    return LinearMultistep([found.get(j, Fraction(0)) + coefficient * b for j, b in enumerate(beta)], beta)


def _solved(columns: Sequence[Sequence[Fraction]], rows: int) -> list[Fraction] | None:
    """The one combination of the columns that is 1 in every row, None where there is none or are several."""
    reduced, pivots = row_reduced([[*(c[i] for c in columns), Fraction(1)] for i in range(rows)])
    return [row[-1] for row in reduced] if columns and pivots == list(range(len(columns))) else None
