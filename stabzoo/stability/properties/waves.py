"""The principal root on the imaginary axis, where oscillations live, and the parasitic ones beside it.

On y' = i nu y / h one step multiplies the principal part by zeta_1(i nu) = exp(mu(i nu)), where rho(e^mu) = z
sigma(e^mu) and mu(z) = z + ... is a power series over Q. Its even powers change amplitudes, its odd ones phases:

    log |zeta_1(i nu)| = O(nu^{r+1}),  r the dissipation order,     arg zeta_1(i nu) - nu = O(nu^{q+1}),  q the
                                                                    dispersion order.

Sources: van der Houwen, Sommeijer, SIAM J. Numer. Anal. 24 (1987) 595-617 (orders); Henrici, Discrete Variable Methods
(1962), 5.3 (growth parameters).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

from stabzoo.methods.multistep import LinearMultistep
from stabzoo.stability.enclosure import Enclosure, real_to_json
from stabzoo.stability.locus import Locus, value_at_ball
from stabzoo.stability.root_condition import rational_text
from stabzoo.stability.roots import PRECISION, complex_roots, integer_polynomial


class WaveError(NamedTuple):
    """The leading term `constant` nu^{order+1} of an error per step; order infinity and constant 0 if there is none."""

    order: int | float
    constant: Fraction

    def to_dict(self) -> dict[str, object]:
        """Return JSON-safe values."""
        return {"order": self.order if self.constant else "infinity", "constant": rational_text(self.constant)}


def wave_errors(method: LinearMultistep) -> tuple[WaveError, WaveError] | None:
    """Return the dissipation, log |zeta_1(i nu)|, and the dispersion, arg zeta_1(i nu) - nu; None if inconsistent.

    Both are exact. There is no dissipation at all just if rho / sigma is imaginary on the unit circle, as it is for
    symmetric methods. There is always dispersion: zeta_1(z) / zeta_1(-z) is algebraic, so it is not e^{2z}.

    Example:
        >>> from stabzoo.methods.multistep import LinearMultistep
        >>> leapfrog = LinearMultistep((0, 1), (2, 0))
        >>> [(error.order, str(error.constant)) for error in wave_errors(leapfrog)]
        [(inf, '0'), (2, '1/6')]

    """
    locus = Locus.of(method)
    if not method.is_consistent or sum(method.sigma) == 0 or locus is None:
        return None
    length = method.steps + 6
    while True:
        mu = _logarithm(method, length)
        even = next((j for j in range(2, length, 2) if mu[j]), None)
        odd = next((j for j in range(3, length, 2) if mu[j]), None)
        if odd and (even or locus.real == 0):
            dispersion = WaveError(odd - 1, mu[odd] * (-1) ** (odd // 2))
            exact = WaveError(math.inf, Fraction(0))
            return WaveError(even - 1, mu[even] * (-1) ** (even // 2)) if even else exact, dispersion
        length *= 2


def _logarithm(method: LinearMultistep, length: int) -> list[Fraction]:
    """The coefficients of mu(z) below z^length: the inverse of rho(e^mu) / sigma(e^mu)."""
    from flint import ctx, fmpq, fmpq_series

    before, ctx.cap = ctx.cap, length
    try:
        exponential = fmpq_series([0, 1]).exp()
        rho = sigma = fmpq_series([0])
        for r, s in zip(method.rho, method.sigma, strict=True):  # Horner's rule
            rho = rho * exponential + fmpq_series([fmpq(*r.as_integer_ratio())])
            sigma = sigma * exponential + fmpq_series([fmpq(*s.as_integer_ratio())])
        inverse = (rho / sigma).reversion()
        return [Fraction(int(c.p), int(c.q)) for c in (inverse[j] for j in range(length))]
    finally:
        ctx.cap = before


class GrowthParameter(NamedTuple):
    """On y' = lambda y the root `root` of rho on the circle moves to about root * (1 + value h lambda)."""

    root: complex
    real: Fraction | Enclosure
    imag: Fraction | Enclosure

    def to_dict(self) -> dict[str, object]:
        """Return JSON-safe values."""
        return {
            "root": {"real": self.root.real, "imag": self.root.imag},
            "real": real_to_json(self.real),
            "imag": real_to_json(self.imag),
        }


def growth_parameters(method: LinearMultistep) -> list[GrowthParameter]:
    """Return sigma(zeta) / (zeta rho'(zeta)) at the roots zeta of a zero-stable rho on the circle, Im zeta >= 0.

    At 1 it is 1 if the method is consistent. A parasitic root with a negative one (of the leapfrog method: -1) grows
    where the solution decays, which is why weak stability is weak.
    """
    from flint import ctx, fmpq, fmpq_poly

    rho = integer_polynomial(method.rho)
    scale = int(rho.leading_coefficient())
    sigma = fmpq_poly([fmpq(*(scale * s).as_integer_ratio()) for s in reversed(method.sigma)])
    found: list[GrowthParameter] = []
    palindromes = [f for f, _ in rho.factor()[1] if f.coeffs() in (f.coeffs()[::-1], [-c for c in f.coeffs()[::-1]])]
    for f in palindromes:
        below = (fmpq_poly([0, 1]) * fmpq_poly(rho.derivative())) % fmpq_poly(f)
        value = (sigma * below.xgcd(fmpq_poly(f))[1]) % fmpq_poly(f)
        with ctx.workprec(2 * PRECISION):
            for zeta in complex_roots(f):
                if value.degree() < 1:
                    exact = Fraction(int(value[0].p), int(value[0].q))
                    parts: list[Fraction | Enclosure] = [exact, Fraction(0)]
                else:
                    total = value_at_ball(value, zeta)
                    parts = [Enclosure.of_ball(total.real), Enclosure.of_ball(total.imag)]
                if not zeta.imag < 0:
                    found.append(GrowthParameter(complex(zeta), *parts))
    return sorted(found, key=lambda g: (-g.root.real, g.root.imag))
