"""Exact verdicts on many coefficient sets: a float64 filter with a rigorous error bound, and integers for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stabzoo.methods.multistep import MAX_STEPS, exact
from stabzoo.stability.root_condition import is_zero_stable_integer

Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]

_CHUNK = 4096  # rows per pass: their columns stay in the cache
_U = 2.0**-52
_TINY = 2.0**-1022  # more than the spacing of subnormal numbers, whose relative distance to a decimal is large


@dataclass(frozen=True, slots=True)
class SweepResult:
    """Verdicts of a sweep: `zero_stable` per row, and the indices of the rows that float64 could not decide."""

    zero_stable: Bools
    settled_exactly: NDArray[np.intp]


def sweep(
    alphas: ArrayLike, *, preconsistent: bool = False, floats: Literal["decimal", "binary"] = "decimal"
) -> SweepResult:
    """Decide the root condition for every row of an (N, d) array of coefficients; every verdict is exact.

    An entry means the shortest decimal that rounds to it, as everywhere in stabzoo: `sweep([[0.1, 0.9]])` and
    `is_zero_stable([0.1, 0.9])` are one verdict.  With ``floats="binary"`` it means its exact binary value; then almost
    no row of decimals sums to 1, and a row meant to have the root 1 is judged by its rounding error.

    With `preconsistent=True` the last entry of each row is ignored and replaced by 1 - sum of the others, exactly; that
    is also many times faster for rows that sum to 1, whose root on the circle no filter can decide.

    The filter is Miller's recursion (on rho / (z - 1) if preconsistent) with a running bound on its rounding errors,
    which begin with half a unit in the last place where entries are decimals; a row with some |k| too near 1 is settled
    by the recursion in integers.

    Raises:
        ValueError: not a two-dimensional array with 1 to `MAX_STEPS` finite columns.

    """
    try:
        if floats == "decimal" and isinstance(alphas, np.ndarray) and alphas.dtype in (np.float16, np.float32):
            alphas = alphas.astype(str)  # whose decimals are shorter than those of the same values as float64
        rows = np.asarray(alphas, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:  # text, rows of several lengths, integers beyond floats
        raise ValueError(f"expected an array of floats, one set per row; got other things ({error!s:.120})") from None
    if rows.ndim != 2 or not 1 <= rows.shape[1] <= MAX_STEPS:
        raise ValueError(
            f"expected an array of shape (N, d) with 1 <= d <= {MAX_STEPS}, got {rows.shape}; one set per row"
        )
    used = rows[:, :-1] if preconsistent else rows
    if not np.isfinite(used).all():
        bad = int(np.flatnonzero(~np.isfinite(used).all(axis=1))[0])
        raise ValueError(f"expected finite coefficients, got {rows[bad].tolist()} in row {bad}; remove such rows")
    if floats not in ("decimal", "binary"):
        raise ValueError(f"floats: expected 'decimal' or 'binary', got {floats!r}")
    unit = _U / 2 if floats == "decimal" else 0.0  # how far an entry is from what it means, relative to it
    stable, undecided = np.empty(len(rows), dtype=bool), np.empty(len(rows), dtype=bool)
    with np.errstate(all="ignore"):  # overflow and nan leave a row undecided
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            columns = np.ascontiguousarray(used[part].T)
            if preconsistent and len(columns) == 2:
                stable[part], undecided[part] = _consistent_cubic(columns[0], columns[1], unit)
            else:
                stable[part], undecided[part] = _schur(*(_deflated if preconsistent else _monic)(columns, unit))
    settled = np.flatnonzero(undecided)
    for i in settled:
        stable[i] = _exactly(used[i].tolist(), preconsistent, exact if floats == "decimal" else Fraction)
    return SweepResult(stable, settled)


def _consistent_cubic(a: Floats, b: Floats, unit: float) -> tuple[Bools, Bools]:
    """Decide (a, b, 1 - a - b): b <= 1, a + b >= 0, 2a + b < 3, not (-1, 1). Rounding only hides 2a + b = 3.

    Entries that are off by ``unit`` may be on the other side of each of these bounds when they are near it.
    """
    last = 2 * a + b
    possible = (b <= 1) & (a >= -b)
    stable = possible & (last < 3) & ~((a == -1) & (b == 1))
    undecided = (possible & (last == 3)) | ~np.isfinite(last)
    if unit:
        slack = 8 * unit * (1 + np.abs(a) + np.abs(b))
        undecided |= (np.abs(b - 1) <= slack) | (np.abs(a + b) <= slack) | (np.abs(last - 3) <= slack)
    return stable & ~undecided, undecided


def _monic(columns: Floats, unit: float) -> tuple[Floats, Floats]:
    """Return the coefficients of rho below z^d, lowest power first, and a bound on their errors."""
    error = np.zeros(columns.shape[1])
    if unit:
        error = 1.001 * unit * np.abs(columns).max(axis=0) + _TINY
    return -columns[::-1], error


def _deflated(columns: Floats, unit: float) -> tuple[Floats, Floats]:
    """Return those of rho / (z - 1) = z^{d-1} + sum_j (1 - alpha_0 - ... - alpha_j) z^{d-2-j}."""
    sizes = 1 + np.abs(columns).sum(axis=0)
    return (1 - np.cumsum(columns, axis=0))[::-1], (2 * len(columns) * _U + 1.001 * unit) * sizes


def _schur(phi: Floats, error: Floats) -> tuple[Bools, Bools]:
    """Return which columns are monic Schur polynomials for certain, and which are undecided.

    With a = |k|, q = 1 / (1 - k^2), m the largest |coefficient| and all of them within e of the exact ones, the error
    w of 1 - k^2 is at most 2 a e + e^2 + 2 u, and if r = q w < 1, those of the next level are within q / (1 - r) (e
    (1 + a + m + e) + m (1 + a) (8 u + r)).
    """
    alive, undecided = np.ones(phi.shape[1], dtype=bool), np.zeros(phi.shape[1], dtype=bool)
    while len(phi):  # none is left of z - 1
        k = phi[0]
        a = np.abs(k)
        inside = a < 1 - error
        unsure = alive & ~(inside | (a > 1 + error))
        if unsure.any():  # |k| = 1 without an error: a root is outside unless phi = +-phi*
            unsure &= (error != 0) | (phi[1:] == k * phi[:0:-1]).all(axis=0)
            undecided |= unsure
        alive &= inside
        if len(phi) == 1:
            break
        q = 1 / (1 - k * k)
        r = q * ((2 * a + error) * error + 2 * _U)
        undecided |= alive & ~(r < 0.5)
        m = np.abs(phi).max(axis=0)
        error = 1.001 * q / (1 - r) * (error * (1 + a + m + error) + m * (1 + a) * (8 * _U + r))
        phi = (phi[1:] - k * phi[:0:-1]) * q
    return alive & ~undecided, undecided


def _exactly(alpha: list[float], preconsistent: bool, meaning: Callable[[float], Fraction]) -> bool:
    ratios = [meaning(a).as_integer_ratio() for a in alpha]
    denominator = lcm(*[q for _, q in ratios])
    numerators = [p * (denominator // q) for p, q in ratios]
    if preconsistent:
        numerators.append(denominator - sum(numerators))
    return is_zero_stable_integer([*[-p for p in reversed(numerators)], denominator])
