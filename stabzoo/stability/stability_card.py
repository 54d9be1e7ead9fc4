"""The stability card of a linear multistep method: everything the zoo claims of a scheme, proved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal, TypeAlias

from stabzoo.multistep import HasCoefficients, LinearMultistep, meant
from stabzoo.stability.certificate import Certificate, certify
from stabzoo.stability.enclosure import Enclosure, Real, as_float, largest, midpoint, real_to_json
from stabzoo.stability.root_condition import rational_text
from stabzoo.stability.roots import Root, factors, roots

Status: TypeAlias = Literal["strong", "weak", "unstable"]


def card(method: HasCoefficients) -> StabilityCard:
    """Return the stability card of a `LinearMultistep`, or of anything whose `coefficients()` returns one.

    The verdict is about its `characteristic_polynomial()` where it states one, as a `stabzoo.Discretization` does: that
    must be rho of the coefficients, or the scheme is not one method.

    Raises:
        ValueError: `method` is neither, or contradicts itself.

    """
    coefficients = method.coefficients() if isinstance(method, HasCoefficients) else None
    if not isinstance(coefficients, LinearMultistep):
        raise ValueError(
            f"expected a LinearMultistep or an object whose coefficients() returns one, got a {type(method).__name__}; "
            "write LinearMultistep(alpha, beta)"
        )
    stated = getattr(method, "characteristic_polynomial", None)
    if stated is not None and (rho := tuple(stated())) != coefficients.rho:
        raise ValueError(
            f"{type(method).__name__}: expected characteristic_polynomial() to be rho of coefficients(), "
            f"({', '.join(map(str, coefficients.rho))}), highest power first; got ({', '.join(map(str, rho))}); "
            "state one method"
        )
    return StabilityCard(coefficients, certify(coefficients))


@dataclass(frozen=True)
class StabilityCard:
    """The stability of one method: every number is exact or a proved enclosure, and computed when first asked for."""

    method: LinearMultistep
    certificate: Certificate

    @property
    def is_zero_stable(self) -> bool:
        """Whether rho satisfies the root condition."""
        return self.certificate.is_zero_stable

    @cached_property
    def status(self) -> Status:
        """Strong if no root but 1 is on the unit circle, weak if zero-stable with others there, else unstable."""
        if not self.certificate.is_zero_stable:
            return "unstable"
        return "strong" if self.certificate.unit_roots == int(self.method.is_preconsistent) else "weak"

    @property
    def order(self) -> int | None:
        """Order of accuracy; None if rho(1) != 0."""
        return self.method.order

    @property
    def error_constant(self) -> Fraction | None:
        """C_{p+1} / sigma(1); None if not consistent or sigma(1) = 0."""
        return self.method.error_constant

    @property
    def is_consistent(self) -> bool:
        """Whether the order is at least 1."""
        return self.method.is_consistent

    @property
    def is_convergent(self) -> bool:
        """Consistent and zero-stable (Dahlquist's equivalence theorem)."""
        return self.is_consistent and self.is_zero_stable

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """Distinct roots of rho with multiplicities, enclosures and exact positions, largest modulus first."""
        return roots(self.method.rho)

    @property
    def root_moduli(self) -> tuple[tuple[Fraction | Enclosure, int], ...]:
        """(modulus, multiplicity) of every distinct root, largest first; a conjugate pair is two roots."""
        return tuple((root.modulus, root.multiplicity) for root in self.roots)

    @cached_property
    def parasitic_radius(self) -> Fraction | Enclosure:
        """Largest modulus of the roots other than one root 1; of all roots if rho(1) != 0; 0 if there are none."""
        others = [r for r in self.roots if r.rational != 1 or r.multiplicity > 1]
        return largest([r.modulus for r in others]) if others else Fraction(0)

    @cached_property
    def reason(self) -> str:
        """One sentence that says which factor of rho over Q decides the status, and what may have been meant."""
        intended = meant(self.method)
        if intended is None:
            return self._why()
        differing = [
            f"{name} = ({', '.join(map(rational_text, new))})"
            for name, new, old in (
                ("alpha", intended.alpha, self.method.alpha),
                ("beta", intended.beta, self.method.beta),
                ("beta_next", (intended.beta_next,), (self.method.beta_next,)),
            )
            if new != old
        ]
        return f"{self._why()}; did you mean {', '.join(differing)}?"

    def _why(self) -> str:
        if self.status == "unstable":
            return self._why_unstable()
        start = f"rho = {self.factored_rho}"
        if not self.method.is_preconsistent:
            on = (
                "inside the unit circle"
                if self.status == "strong"
                else "in the unit disc, those on the circle are simple"
            )
            return (
                f"{start}: all roots lie {on}, but none is the principal root 1: inconsistent, constants are not kept"
            )
        if self.status == "strong":
            return f"{start}: 1 is a simple root and all others lie inside the unit circle"
        further = sorted({r.factor for r in self.roots if r.position == "on" and r.rational != 1}, key=len)
        names = " and ".join(polynomial_text(f) for f in further)
        return f"{start}: simple roots of {names} lie on the unit circle beside 1 and are not damped, none lies outside"

    def _why_unstable(self) -> str:
        worst = self.roots[0]
        if worst.position == "outside":
            excess = midpoint(worst.modulus) - 1
            size = f"1 + {float(excess):.3g}" if excess < Fraction(1, 1000) else f"{as_float(worst.modulus):.6g}"
            factor = polynomial_text(worst.factor)
            return f"the factor {factor} of rho has a root of modulus {size}, outside the unit circle"
        multiple = next(r for r in self.roots if r.multiplicity > 1)
        power = f"({polynomial_text(multiple.factor)})^{multiple.multiplicity}"
        return f"{power} divides rho: a root on the unit circle is multiple"

    @cached_property
    def factored_rho(self) -> str:
        """The polynomial rho as a product of irreducible factors over Q, e.g. "(z - 1) (3z + 1)^2 / 9"."""
        found = sorted(factors(self.method.rho), key=lambda fm: (fm[0] != (-1, 1), len(fm[0]), fm))
        product = " ".join(f"({polynomial_text(f)})" + (f"^{m}" if m > 1 else "") for f, m in found)
        lead = math.prod(f[-1] ** m for f, m in found)
        return product + (f" / {rational_text(Fraction(lead))}" if lead != 1 else "")

    @cached_property
    def real_interval(self) -> Real:
        """Largest L such that rho - z sigma satisfies the root condition for every z in the open interval (-L, 0)."""
        from stabzoo.stability.intervals import real_interval

        return real_interval(self.method)

    @cached_property
    def imaginary_interval(self) -> Real:
        """Largest I such that rho - z sigma satisfies the root condition for every z = iy, 0 < |y| < I."""
        from stabzoo.stability.intervals import imaginary_interval

        return imaginary_interval(self.method)

    @cached_property
    def is_A_stable(self) -> bool:  # noqa: N802
        """Whether rho - z sigma satisfies the root condition for every z with Re z <= 0."""
        from stabzoo.stability.intervals import is_A_stable

        return is_A_stable(self.method)

    @property
    def is_L_stable(self) -> bool:  # noqa: N802
        """Whether it is A-stable and infinitely stiff components die out in d steps: sigma = beta_next z^d.

        As z -> infinity the roots of rho - z sigma tend to those of sigma, which are all zero. For a one-step method
        this is R(infinity) = 0 (Hairer, Wanner, Solving ODEs II, IV.3).
        """
        return self.is_A_stable and self.method.beta_next != 0 and not any(self.method.beta)

    @property
    def stability_function(self) -> str | None:
        """R(z) = (alpha_0 + beta_0 z) / (1 - beta_next z) of a one-step method as text, else None.

        One step on y' = lambda y multiplies y by R(h lambda).
        """
        method = self.method
        if method.steps > 1:
            return None
        above = _linear_text(method.alpha[0], method.beta[0])
        if method.is_explicit:
            return above
        return f"{f'({above})' if ' ' in above else above} / ({_linear_text(Fraction(1), -method.beta_next)})"

    @cached_property
    def stability_constant(self) -> Real:
        """Supremum over n >= 0 of ||C^n||_inf, C the companion matrix: how large the bounded amplification is."""
        from stabzoo.stability.growth import stability_constant

        return stability_constant(self.method)

    def growth(self, n: int) -> Fraction:
        """Return max over 0 <= k <= n of ||C^k||_inf, exactly: the amplification that n blocks can reach."""
        from stabzoo.stability.growth import growth

        return growth(self.method, n)

    @cached_property
    def ssp_coefficient(self) -> Fraction | float:
        """Largest r with all alpha_j >= r beta_j, all beta >= 0 (threshold factor, SSP); 0 if there is none."""
        betas = (self.method.beta_next, *self.method.beta)
        if min(self.method.alpha) < 0 or min(betas) < 0:
            return Fraction(0)
        ratios: Sequence[Fraction] = [a / b for a, b in zip(self.method.alpha, self.method.beta, strict=True) if b]
        return min(ratios, default=math.inf)

    def to_dict(self) -> dict[str, object]:
        """Return everything as JSON-safe values: exact numbers as strings such as "1/3", infinity as "infinity"."""
        method = self.method
        return {
            "alpha": [rational_text(a) for a in method.alpha],
            "beta": [rational_text(b) for b in method.beta],
            "beta_next": rational_text(method.beta_next),
            "steps": method.steps,
            "is_explicit": method.is_explicit,
            "status": self.status,
            "reason": self.reason,
            "is_zero_stable": self.is_zero_stable,
            "is_preconsistent": method.is_preconsistent,
            "is_consistent": self.is_consistent,
            "is_convergent": self.is_convergent,
            "is_A_stable": self.is_A_stable,
            "is_L_stable": self.is_L_stable,
            "stability_function": self.stability_function,
            "order": self.order,
            "error_constant": real_to_json(self.error_constant),
            "roots": [
                {
                    "real": root.midpoint.real,
                    "imag": root.midpoint.imag,
                    "radius": root.radius if math.isfinite(root.radius) else "infinity",
                    "multiplicity": root.multiplicity,
                    "position": root.position,
                    "modulus": real_to_json(root.modulus),
                    "factor": polynomial_text(root.factor),
                }
                for root in self.roots
            ],
            "parasitic_radius": real_to_json(self.parasitic_radius),
            "real_interval": real_to_json(self.real_interval),
            "imaginary_interval": real_to_json(self.imaginary_interval),
            "stability_constant": real_to_json(self.stability_constant),
            "ssp_coefficient": real_to_json(self.ssp_coefficient),
            "certificate": self.certificate.to_dict(),
        }


def _linear_text(constant: Fraction, slope: Fraction) -> str:
    """Return ``constant + slope z``, e.g. "1 - 1/2 z"."""
    if not slope:
        return rational_text(constant)
    term = "z" if abs(slope) == 1 else f"{rational_text(abs(slope))} z"
    if not constant:
        return term if slope > 0 else f"-{term}"
    return f"{rational_text(constant)} {'+' if slope > 0 else '-'} {term}"


def polynomial_text(coefficients: tuple[int, ...]) -> str:
    """Return integer coefficients (lowest power first) as text, e.g. "3z + 1"."""
    text = ""
    for power in reversed(range(len(coefficients))):
        c = coefficients[power]
        if c:
            sign = (" - " if text else "-") if c < 0 else (" + " if text else "")
            size = "" if abs(c) == 1 and power else rational_text(Fraction(abs(c)))
            text += sign + size + ("" if power == 0 else "z" if power == 1 else f"z^{power}")
    return text
