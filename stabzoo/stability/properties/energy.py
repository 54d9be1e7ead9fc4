"""Nonlinear stability: energies that do not grow where differences of solutions do not.

The one-leg twin of a method is G-stable if for some G > 0 the energy sum g_ij <y_i, y_j> of the difference of two of
its solutions never grows for <f(u) - f(v), u - v> <= 0. With G(zeta, omega) = sum g_ij zeta^{i-1} omega^{j-1} and
sigma(1) = 1, that follows from an identity

    (rho(zeta) sigma(omega) + rho(omega) sigma(zeta)) / 2
        = (zeta omega - 1) G(zeta, omega) + sum_k b_k e_k(zeta) e_k(omega),      all b_k >= 0.

On the circle, omega = 1/zeta, the left side is N(x) >= 0 of an A-stable method, x = Re zeta, and for e_k = (zeta - 1)^k
(zeta + 1)^{d-k} the right one is a sum of 2^d b_k (1 - x)^k (1 + x)^{d-k}: the b_k are Bernstein coefficients of N,
rational, and G is what remains. G-stability and A-stability are equivalent.

Sources: G. Dahlquist, BIT 18 (1978) 384-401; Hairer, Wanner, Solving ODEs II, V.6 (G), IV.12 (algebraic stability).
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

from stabzoo.methods.multistep import LinearMultistep

Matrix = tuple[tuple[Fraction, ...], ...]


def energy_matrix(method: LinearMultistep) -> Matrix | None:
    """Return a positive definite G that proves the one-leg twin G-stable; None if this construction finds none.

    It is verified: the b_k are >= 0 and G > 0, both in rationals. Rows and columns are from the oldest value on. It
    finds one for all A-stable methods of one step, and where the Bernstein coefficients of N are not negative.

    Example:
        >>> from stabzoo.methods.multistep import LinearMultistep
        >>> bdf2 = LinearMultistep(("4/3", "-1/3"), (0, 0), "2/3")
        >>> [[str(g) for g in row] for row in energy_matrix(bdf2)]
        [['1/4', '-1/2'], ['-1/2', '5/4']]

    """
    d, scale = method.steps, sum(method.sigma)
    if scale == 0:
        return None
    rho, sigma = ([c / scale for c in reversed(p)] for p in (method.rho, method.sigma))
    left = [[(r * s + t * u) / 2 for s, t in zip(sigma, rho, strict=True)] for r, u in zip(rho, sigma, strict=True)]
    for k, b in enumerate(
        _bernstein([sum((left[i][i + j] for i in range(d + 1 - j)), Fraction(0)) for j in range(d + 1)])
    ):
        if b < 0:
            return None
        e = shifted_powers(k, d - k)
        left = [[c - b * x * y for c, y in zip(row, e, strict=True)] for row, x in zip(left, e, strict=True)]
    # left = (zeta omega - 1) G: g_ij = g_{i-1,j-1} - left_ij
    g = [[Fraction(0)] * (d + 1) for _ in range(d + 1)]
    for i in range(d):
        for j in range(d):
            g[i][j] = (g[i - 1][j - 1] if i and j else Fraction(0)) - left[i][j]
    matrix = tuple(tuple(row[:d]) for row in g[:d])
    return matrix if _is_positive_definite(matrix) else None


def is_algebraically_stable(method: LinearMultistep) -> bool | None:
    """Whether a one-step method, as a Runge-Kutta method, is algebraically stable: B- and AN-stable. None if d > 1.

    y_{n+1} = y_n + h (b_0 f_n + b_1 f_{n+1}) has the stages y_n and y_{n+1}, B = diag(b_0, b_1), and

        B A + A^T B - b b^T = diag(-b_0^2, b_1^2) >= 0,  b >= 0      <=>      b_0 = 0, b_1 >= 0:

    of the theta methods backward Euler alone. Their one-leg twins are, for theta >= 1/2: that is `energy_matrix`.
    """
    if method.steps > 1:
        return None
    return method.alpha == (1,) and method.beta == (0,) and method.beta_next >= 0


def _bernstein(cosine: list[Fraction]) -> list[Fraction]:
    """The b_k of N = c_0 + sum_j c_j (zeta^j + zeta^-j) = sum_k b_k e_k(zeta) e_k(1/zeta)."""
    from flint import fmpq, fmpq_mat

    d = len(cosine) - 1
    columns = []
    for k in range(d + 1):
        e = shifted_powers(k, d - k)
        columns.append([sum((e[i] * e[i + j] for i in range(d + 1 - j)), Fraction(0)) for j in range(d + 1)])
    system = fmpq_mat([[fmpq(*c[j].as_integer_ratio()) for c in columns] for j in range(d + 1)])
    solved = system.solve(fmpq_mat([[fmpq(*c.as_integer_ratio())] for c in cosine]))
    return [Fraction(int(solved[k, 0].p), int(solved[k, 0].q)) for k in range(d + 1)]


def shifted_powers(minus: int, plus: int) -> list[Fraction]:
    """The coefficients of (zeta - 1)^minus (zeta + 1)^plus, lowest power first."""
    found = [Fraction(0)] * (minus + plus + 1)
    for i in range(minus + 1):
        for j in range(plus + 1):
            found[i + j] += comb(minus, i) * (-1) ** (minus - i) * comb(plus, j)
    return found


def _is_positive_definite(matrix: Matrix) -> bool:
    """Whether all pivots of Gaussian elimination are positive."""
    rows = [list(row) for row in matrix]
    while rows:
        first, *rest = rows
        if first[0] <= 0:
            return False
        rows = [[x - row[0] / first[0] * y for x, y in zip(row[1:], first[1:], strict=True)] for row in rest]
    return True
