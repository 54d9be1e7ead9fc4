"""The stability card of a scheme: everything the zoo claims of what its blocks compute, proved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from stabzoo.methods import (
    GeneralLinear,
    Method,
    OneLeg,
    OwnNetwork,
    StabilityFunction,
    TruncatedSolve,
    method_of,
)
from stabzoo.methods.multistep import NOT_DECIDED, HasCoefficients, LinearMultistep, NotDecided, meant
from stabzoo.stability.enclosure import Enclosure, Exact, Real, as_float, decided, largest, midpoint, real_to_json
from stabzoo.stability.root_condition import rational_text
from stabzoo.stability.roots import Root, factors, roots
from stabzoo.stability.zero_stability import Proof, SecondOrderCertificate, certify

if TYPE_CHECKING:
    from stabzoo.stability.properties.waves import GrowthParameter, WaveError

Status: TypeAlias = Literal["strong", "weak", "second-order stable", "unstable", "not decided"]
Proved = TypeVar("Proved")


def card(method: HasCoefficients) -> StabilityCard:
    """Return the stability card of a `LinearMultistep`, or of anything whose `coefficients()` returns one.

    It describes what a block of a scheme computes: the coefficients, unless its `method()` states another method (see
    ``stabzoo.methods.method_of``).  For a custom step without a statement, the card has only the zero stability of the
    coefficients, and no order.  If the scheme has a `characteristic_polynomial()`, as a `stabzoo.Discretization` does,
    it must be rho of the coefficients.

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
    computed = method_of(method)
    if computed.coefficients().rho != coefficients.rho:
        raise ValueError(
            f"{type(method).__name__}: expected method() to have the rho of coefficients(), {coefficients}; "
            f"got {computed}; state one method"
        )
    return StabilityCard(computed, certify(computed))


@dataclass(frozen=True)
class StabilityCard:
    """The stability of one method: every number is exact or a proved enclosure, and computed when first asked for.

    What is neither proved nor refuted is `NOT_DECIDED`, which is neither true nor false.

    Attributes:
        method: What a block computes.
        certificate: Of its zero stability.

    """

    method: Method
    certificate: Proof

    @cached_property
    def coefficients(self) -> LinearMultistep:
        """The linear multistep method with the same rho: the method itself, if it is one."""
        return self.method.coefficients()

    @property
    def is_zero_stable(self) -> bool | NotDecided:
        """Whether rho satisfies the root condition; of a method for y'' = f roots on the circle may be double.

        Of a network of which nothing is stated it is not decided: nothing says that rho is its own.
        """
        return NOT_DECIDED if isinstance(self.method, OwnNetwork) else self.certificate.is_zero_stable

    @cached_property
    def status(self) -> Status:
        """Strong if no root but 1 is on the unit circle, weak if zero-stable with others there, else unstable.

        A zero-stable method for y'' = f is second-order stable: neither of the former, for y_n may grow linearly.
        """
        if isinstance(self.method, OwnNetwork):
            return "not decided"
        if not self.certificate.is_zero_stable:
            return "unstable"
        if isinstance(self.certificate, SecondOrderCertificate):
            return "second-order stable"
        if self._repeats_principal_root:
            return "weak"
        return "strong" if self.certificate.unit_roots == int(self.coefficients.is_preconsistent) else "weak"

    @property
    def _repeats_principal_root(self) -> bool:
        """Whether 1 is a multiple eigenvalue of a V with bounded powers: all but one of them are parasitic."""
        method = self.method
        return (
            isinstance(method, GeneralLinear)
            and self.certificate.is_zero_stable
            and self.coefficients.is_preconsistent
            and not method.has_simple_principal_root
        )

    @cached_property
    def order(self) -> int | NotDecided | None:
        """Order of accuracy; None if rho(1) != 0."""
        return self.method.order

    @cached_property
    def error_constant(self) -> Fraction | NotDecided | None:
        """C_{p+1} / sigma(1); None if not consistent, sigma(1) = 0, or the error is no multiple of y^{(p+1)}."""
        constant = self.method.error_constant
        return Exact(constant) if isinstance(constant, Fraction) else constant

    @cached_property
    def is_consistent(self) -> bool | NotDecided:
        """Whether the order is at least 1."""
        return NOT_DECIDED if self.order is NOT_DECIDED else bool(self.order)

    @property
    def is_convergent(self) -> bool | NotDecided:
        """Consistent and zero-stable (Dahlquist's equivalence theorem)."""
        return NOT_DECIDED if self.is_zero_stable is NOT_DECIDED else self.is_zero_stable and self.is_consistent

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """Distinct roots of rho with multiplicities, enclosures and exact positions, largest modulus first."""
        return roots(self.coefficients.rho)

    @property
    def root_moduli(self) -> tuple[tuple[Fraction | Enclosure, int], ...]:
        """(modulus, multiplicity) of every distinct root, largest first; a conjugate pair is two roots."""
        return tuple((root.modulus, root.multiplicity) for root in self.roots)

    @cached_property
    def parasitic_radius(self) -> Fraction | Enclosure:
        """Largest modulus of the roots other than one root 1; of all roots if rho(1) != 0; 0 if there are none.

        Of a method for y'' = f two roots 1 are left out.
        """
        if self._repeats_principal_root:
            return Fraction(1)
        others = [r for r in self.roots if r.rational != 1 or r.multiplicity > self._allowed]
        return largest([r.modulus for r in others]) if others else Fraction(0)

    @cached_property
    def reason(self) -> str:
        """One sentence that says which factor of rho over Q decides the status, and what may have been meant."""
        method = self.coefficients
        intended = meant(method) if self._allowed == 1 and not isinstance(self.method, GeneralLinear) else None
        if intended is None:
            return self._why()
        differing = [
            f"{name} = ({', '.join(map(rational_text, new))})"
            for name, new, old in (
                ("alpha", intended.alpha, method.alpha),
                ("beta", intended.beta, method.beta),
                ("beta_next", (intended.beta_next,), (method.beta_next,)),
            )
            if new != old
        ]
        return f"{self._why()}; did you mean {', '.join(differing)}?"

    @property
    def _allowed(self) -> int:
        """How often a root on the unit circle may occur."""
        return 2 if isinstance(self.certificate, SecondOrderCertificate) else 1

    def _why(self) -> str:
        if self.status == "not decided":
            return "the network is the scheme's own and states nothing; state by method() what its blocks compute"
        if self.status == "unstable":
            return self._why_unstable()
        start = f"rho = {self.factored_rho}"
        if self._repeats_principal_root:
            return f"{start}: all eigenvalues of V are in the unit disc and its powers bounded, but 1 is a multiple one"
        if self.status == "second-order stable":
            return (
                f"{start}: none of its roots lies outside the unit circle, and on it they are at most double, as "
                "y'' = f allows; of a method for y' = f they would have to be simple"
            )
        if not self.coefficients.is_preconsistent:
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
        multiple = next(r for r in self.roots if r.multiplicity > self._allowed)
        power = f"({polynomial_text(multiple.factor)})^{multiple.multiplicity}"
        often = "multiple" if self._allowed == 1 else "more than double"
        return f"{power} divides rho: a root on the unit circle is {often}"

    @cached_property
    def factored_rho(self) -> str:
        """The polynomial rho as a product of irreducible factors over Q, e.g. "(z - 1) (3z + 1)^2 / 9"."""
        found = sorted(factors(self.coefficients.rho), key=lambda fm: (fm[0] != (-1, 1), len(fm[0]), fm))
        product = " ".join(f"({polynomial_text(f)})" + (f"^{m}" if m > 1 else "") for f, m in found)
        lead = math.prod(f[-1] ** m for f, m in found)
        return product + (f" / {rational_text(Fraction(lead))}" if lead != 1 else "")

    def _linear(self, decide: Callable[[LinearMultistep | StabilityFunction], Proved]) -> Proved | NotDecided:
        """What is decided by the step on y' = lambda y, of which rho - z sigma or R(z) is all there is to know."""
        linear = self.method.linear
        return decide(linear) if isinstance(linear, LinearMultistep | StabilityFunction) else NOT_DECIDED

    @cached_property
    def real_interval(self) -> Real | NotDecided:
        """Largest L such that rho - z sigma satisfies the root condition for every z in the open interval (-L, 0)."""
        from stabzoo.stability.intervals import real_interval

        return self._linear(real_interval)

    @cached_property
    def imaginary_interval(self) -> Real | NotDecided:
        """Largest I such that rho - z sigma satisfies the root condition for every z = iy, 0 < |y| < I.

        It is how large h omega may be on the oscillator y'' = -omega^2 y, also of a method of y and z or for y'' = f.
        """
        from stabzoo.stability.intervals import imaginary_interval

        linear = self.method.linear
        return NOT_DECIDED if linear is NOT_DECIDED else imaginary_interval(linear)

    @cached_property
    def is_A_stable(self) -> bool | NotDecided:  # noqa: N802
        """Whether rho - z sigma satisfies the root condition for every z with Re z <= 0.

        A truncated solve is not: its coefficients are polynomials in z that are not constant, and grow.
        """
        from stabzoo.stability.intervals import is_A_stable

        return self._linear(is_A_stable) if not isinstance(self.method, TruncatedSolve) else False

    @cached_property
    def is_L_stable(self) -> bool | NotDecided:  # noqa: N802
        """Whether it is A-stable and infinitely stiff components die out in d steps: R(infinity) = 0 of one-step ones.

        See ``stabzoo.stability.intervals.is_L_stable``.
        """
        from stabzoo.stability.intervals import is_L_stable

        return self._linear(is_L_stable) if not isinstance(self.method, TruncatedSolve) else False

    @cached_property
    def stability_function(self) -> str | NotDecided | None:
        """R(z) of a one-step method as text, else None: one step on y' = lambda y multiplies y by R(h lambda)."""
        if self.method.steps > 1:
            return None
        linear = self.method.linear
        if isinstance(linear, LinearMultistep):
            if linear.steps > 1:  # of a general linear method
                return None
            linear = StabilityFunction.of((linear.alpha[0], linear.beta[0]), (Fraction(1), -linear.beta_next))
        if isinstance(linear, StabilityFunction):
            return str(linear)
        return linear if linear is NOT_DECIDED else None

    @cached_property
    def stability_constant(self) -> Real | NotDecided:
        """Supremum over n >= 0 of ||C^n||_inf, C the companion matrix: how large the bounded amplification is."""
        from stabzoo.stability.growth import stability_constant

        return stability_constant(self.coefficients) if not isinstance(self.method, GeneralLinear) else NOT_DECIDED

    def growth(self, n: int) -> Fraction:
        """Return max over 0 <= k <= n of ||C^k||_inf, exactly: the amplification that n blocks can reach."""
        from stabzoo.stability.growth import growth

        return growth(self.coefficients, n)

    @cached_property
    def sector_angle(self) -> Fraction | Enclosure | NotDecided | None:
        """Largest alpha of A(alpha)-stability in degrees, 90 if A-stable; None if the negative axis is not stable."""
        from stabzoo.stability.properties.sectors import sector_angle

        return self._stiff(sector_angle, Fraction(90))

    @cached_property
    def stiff_abscissa(self) -> Fraction | Enclosure | NotDecided | None:
        """Smallest D >= 0 such that all z with Re z < -D are stable (stiff stability); None if there is none."""
        from stabzoo.stability.properties.sectors import stiff_abscissa

        return self._stiff(stiff_abscissa, Fraction(0))

    def _stiff(
        self, decide: Callable[[LinearMultistep, Real], Fraction | Enclosure | None], if_stable: Fraction
    ) -> Fraction | Enclosure | NotDecided | None:
        """What rho - z sigma decides; of another R(z), what A-stability or a bounded real interval say."""
        linear, length = self.method.linear, self.real_interval
        if isinstance(linear, LinearMultistep) and length is not NOT_DECIDED:
            return decide(linear, length)
        if self.is_A_stable is True:
            return if_stable
        return None if isinstance(length, Fraction | Enclosure) else NOT_DECIDED

    @cached_property
    def energy_matrix(self) -> tuple[tuple[Fraction, ...], ...] | None:
        """G > 0 that proves a one-leg method, or the twin of a multistep one, G-stable.

        None where there is none, or it is not constructed.
        """
        from stabzoo.stability.properties.energy import energy_matrix

        method = self.method
        return energy_matrix(method) if isinstance(method, LinearMultistep) and self.is_A_stable is True else None

    @property
    def is_contractive(self) -> bool | NotDecided | None:
        """Whether a multistep or one-leg method of one step is B- and AN-stable; None for more steps.

        Then it never takes two states apart for which f is dissipative.
        """
        from stabzoo.stability.properties.energy import is_algebraically_stable

        if self.method.steps > 1:
            return None
        if isinstance(self.method, OneLeg):  # G-stable with the norm as its energy
            return self.coefficients.is_preconsistent and self.is_A_stable
        return is_algebraically_stable(self.coefficients) if self.coefficients is self.method else NOT_DECIDED

    @cached_property
    def is_symmetric(self) -> bool | NotDecided:
        """Whether a step with -h undoes one with h: see ``stabzoo.stability.properties.geometry.is_symmetric``."""
        from stabzoo.stability.properties.geometry import is_symmetric

        return is_symmetric(self.method)

    @cached_property
    def is_symplectic(self) -> bool | NotDecided:
        """Whether a step keeps the symplectic form of a Hamiltonian system: see `is_symplectic` there."""
        from stabzoo.stability.properties.geometry import is_symplectic

        return is_symplectic(self.method)

    @cached_property
    def wave_errors(self) -> tuple[WaveError, WaveError] | NotDecided | None:
        """Dissipation and dispersion of the principal root on the imaginary axis; None if inconsistent."""
        from stabzoo.stability.properties.waves import wave_errors

        return self._multistep(wave_errors)

    @cached_property
    def growth_parameters(self) -> list[GrowthParameter] | NotDecided:
        """Henrici's sigma(zeta) / (zeta rho'(zeta)) at the roots of a zero-stable rho on the unit circle."""
        from stabzoo.stability.properties.waves import growth_parameters

        if self.is_zero_stable is NOT_DECIDED:
            return NOT_DECIDED
        return self._multistep(growth_parameters) if self.is_zero_stable else []

    def _multistep(self, decide: Callable[[LinearMultistep], Proved]) -> Proved | NotDecided:
        """What is decided of multistep and one-leg methods alone."""
        linear = self.method.linear
        return decide(linear) if isinstance(linear, LinearMultistep) else NOT_DECIDED

    @cached_property
    def ssp_coefficient(self) -> Fraction | float | NotDecided:
        """Largest r with all alpha_j >= r beta_j, all beta >= 0 (threshold factor, SSP); 0 if there is none.

        Decided of linear multistep methods alone.
        """
        method = self.coefficients
        if method is not self.method:
            return NOT_DECIDED
        if min(method.alpha) < 0 or min(method.sigma) < 0:
            return Fraction(0)
        ratios: Sequence[Fraction] = [a / b for a, b in zip(method.alpha, method.beta, strict=True) if b]
        return min(ratios, default=math.inf)

    def to_dict(self) -> dict[str, object]:
        """Return everything as JSON-safe values: exact numbers as strings such as "1/3", infinity as "infinity".

        What is not decided is the string "not decided".
        """
        method, waves, weak = self.coefficients, self.wave_errors, self.growth_parameters
        found = {
            "kind": self.method.kind,
            "formula": str(self.method),
            "alpha": [rational_text(a) for a in method.alpha],
            "beta": [rational_text(b) for b in method.beta],
            "beta_next": rational_text(method.beta_next),
            "steps": self.method.steps,
            "is_explicit": self.method.is_explicit,
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
            "sector_angle": real_to_json(self.sector_angle),
            "stiff_abscissa": real_to_json(self.stiff_abscissa),
            "energy_matrix": self.energy_matrix and [[rational_text(g) for g in row] for row in self.energy_matrix],
            "is_contractive": self.is_contractive,
            "is_symmetric": self.is_symmetric,
            "is_symplectic": self.is_symplectic,
            "dissipation": waves[0].to_dict() if isinstance(waves, tuple) else waves,
            "dispersion": waves[1].to_dict() if isinstance(waves, tuple) else waves,
            "growth_parameters": [g.to_dict() for g in weak] if isinstance(weak, list) else weak,
            "certificate": self.certificate.to_dict(),
        }
        return {name: decided(value) for name, value in found.items()}


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
