"""Where a verdict about a family can change: polynomials in the parameter t whose real roots are all such values.

*Zero stability*: see `reduction`.

*A-stability* (see `intervals.is_A_stable`) is decided by the root condition of rho, and that of rho + sigma (z = -1);
by the sign of N(x) = Re rho conj(sigma) over [-1, 1], x = cos(theta); and by which of its roots there are also roots of
T(x), where a root on the circle is multiple, or of D(x) = |sigma|^2, where the locus is at infinity. The order of all
these roots along [-1, 1], and their multiplicities, are constant between roots of contents, leading coefficients,
discriminants and pairwise resultants of the factors of N, T, D and x^2 - 1 over Q[t].

Source: Collins, Quantifier elimination for real closed fields by cylindrical algebraic decomposition, 1975 (the
projection).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from stabzoo.stability.parameters.coefficients import Coefficients

if TYPE_CHECKING:
    from flint import fmpz_mpoly, fmpz_mpoly_ctx, fmpz_poly


def a_stability_critical(family: Coefficients) -> list[fmpz_poly]:
    """Return the polynomials for A-stability."""
    found = [*family.at_zero.critical(), *family.at_minus_one.critical()]
    return found + _locus_critical(family) if any(family.sigma) else found


def _locus_critical(family: Coefficients) -> list[fmpz_poly]:
    from flint import Ordering, fmpz_mpoly_ctx

    ring = fmpz_mpoly_ctx.get(("x", "t"), Ordering.lex)
    rho, sigma = _bivariate(family.rho, ring), _bivariate(family.sigma, ring)
    common = rho.gcd(sigma)
    rho, sigma = rho // common, sigma // common
    multiple = (rho.derivative("x") * sigma - rho * sigma.derivative("x")) * common
    found = [p for p in (rho.resultant(sigma, "x"), _leading(rho)) if p]
    pairs = ((rho, sigma), (multiple, multiple), (sigma, sigma))
    forms = [_cosine_form(_powers(p), _powers(q), ring) for p, q in pairs]
    x = ring.gens()[0]
    factors = {str(f): f for form in (*forms, x - 1, x + 1) if form for f, _ in form.factor()[1]}
    moving = [f for f in factors.values() if f.degrees()[0]]
    found += [f for f in factors.values() if not f.degrees()[0]]
    for f in moving:
        found += [_leading(f), f.discriminant("x")] if f.degrees()[0] > 1 else [_leading(f)]
    found += [f.resultant(g, "x") for f, g in combinations(moving, 2)]
    return [_univariate(p) for p in found]


def _bivariate(coefficients: Sequence[fmpz_poly], ring: fmpz_mpoly_ctx) -> fmpz_mpoly:
    terms = {(j, i): int(c) for j, p in enumerate(coefficients) for i, c in enumerate(p.coeffs()) if c}
    return ring.from_dict(terms)


def _powers(p: fmpz_mpoly) -> list[fmpz_mpoly]:
    """The coefficients of powers of x, lowest first: polynomials in t alone."""
    parts: list[dict[tuple[int, int], int]] = [{} for _ in range(int(p.degrees()[0]) + 1)]
    for (j, i), c in p.to_dict().items():
        parts[j][0, i] = int(c)
    return [p.context().from_dict(part) for part in parts]


def _leading(p: fmpz_mpoly) -> fmpz_mpoly:
    return _powers(p)[-1]


def _cosine_form(p: list[fmpz_mpoly], q: list[fmpz_mpoly], ring: fmpz_mpoly_ctx) -> fmpz_mpoly:
    """Return Re p(zeta) conj(q(zeta)) as a polynomial in x = cos(theta), zeta = e^{i theta}."""
    x = ring.gens()[0]
    chebyshev = [ring.from_dict({(0, 0): 1}), x]
    while len(chebyshev) < max(len(p), len(q)):
        chebyshev.append(2 * x * chebyshev[-1] - chebyshev[-2])
    total = ring.from_dict({})
    for j, a in enumerate(p):
        for k, b in enumerate(q):
            total += a * b * chebyshev[abs(j - k)]
    return total


def _univariate(p: fmpz_mpoly) -> fmpz_poly:
    from flint import fmpz_poly

    terms = {i: int(c) for (_, i), c in p.to_dict().items()}
    return fmpz_poly([terms.get(i, 0) for i in range(max(terms, default=-1) + 1)])
