"""Zero stability of every kind of method, with a proof, and the check of the proof.

Of a method for y' = f it is the root condition of rho; of a multistep method for y'' = f roots on the unit circle may
be double.  Of a general linear method rho is the minimal polynomial of V: the powers of V are bounded just if it
satisfies the root condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from stabzoo.methods import GeneralLinear, SecondOrderMultistep, method_of
from stabzoo.methods.multistep import HasCoefficients, LinearMultistep, Number
from stabzoo.stability.certificate import Certificate, certified, polynomial_of
from stabzoo.stability.root_condition import alpha_of, cleared, integer_rho

if TYPE_CHECKING:
    from flint import fmpz_poly

__all__ = ["Proof", "SecondOrderCertificate", "certify", "verify_certificate"]


@dataclass(frozen=True, slots=True)
class SecondOrderCertificate:
    """A proof that the roots of rho lie in the unit disc and those on the circle are at most double, or that not.

    rho is the product of two polynomials.  Where both satisfy the root condition, a root on the circle is simple in
    each.  The first has every root of rho once: if it violates the condition, a root is outside; if only the second
    does, a root on the circle is multiple in it, and at least triple in rho.

    Attributes:
        distinct: Of the product of the distinct factors of rho.
        repeated: Of rho divided by it.

    Source: Hairer, Norsett, Wanner, Solving ODEs I, III.10, on the condition.
    """

    distinct: Certificate
    repeated: Certificate

    @property
    def is_zero_stable(self) -> bool:
        """Whether this certifies the condition (else its violation)."""
        return self.distinct.is_zero_stable and self.repeated.is_zero_stable

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe form, rationals as strings."""
        return {"distinct": self.distinct.to_dict(), "repeated": self.repeated.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> SecondOrderCertificate:
        """Read `to_dict`'s form.

        Raises:
            ValueError: it is not of that form.
        """
        keys = ["distinct", "repeated"]
        if not isinstance(data, Mapping) or set(data) != set(keys):
            raise ValueError(f"expected a certificate with the keys {keys}, got {data!r:.80}")
        return cls(*(Certificate.from_dict(cast("Mapping[str, object]", data[key])) for key in keys))


Proof: TypeAlias = Certificate | SecondOrderCertificate
"""What proves a verdict on zero stability."""


def certify(method: Sequence[Number] | HasCoefficients) -> Proof:
    """Decide zero stability exactly, with a proof: of a method, of what a scheme's block computes, or of an alpha."""
    found = _kind(method)
    if isinstance(found, SecondOrderMultistep):
        rho = _polynomial(integer_rho(found.formula.alpha))
        distinct = rho // rho.gcd(rho.derivative())
        return SecondOrderCertificate(*(certified(_positive(part)) for part in (distinct, rho // distinct)))
    if isinstance(found, GeneralLinear):
        return certified(cleared(found.minimal_polynomial))
    return certified(integer_rho(alpha_of(found)))


def verify_certificate(method: Sequence[Number] | HasCoefficients, certificate: Proof | Mapping[str, object]) -> bool:
    """Check a certificate without repeating the search: rebuild the polynomial that it describes, and compare.

    Raises:
        ValueError: ``certificate`` is neither a certificate nor a well-formed ``to_dict()`` of one.

    """
    found = _kind(method)
    if isinstance(certificate, Certificate if isinstance(found, SecondOrderMultistep) else SecondOrderCertificate):
        return False  # it is about another kind of method
    if isinstance(found, SecondOrderMultistep):
        return _is_proved_of_second_order(found, certificate)
    proof = (
        certificate
        if isinstance(certificate, Certificate)
        else Certificate.from_dict(cast("Mapping[str, object]", certificate))
    )
    if isinstance(found, GeneralLinear):
        return _is_proved_of_powers(found, proof)
    rho = integer_rho(alpha_of(found))
    return _are_multiples(polynomial_of(proof, len(rho) - 1), rho)


def _is_proved_of_second_order(method: SecondOrderMultistep, certificate: Proof | Mapping[str, object]) -> bool:
    if not isinstance(certificate, SecondOrderCertificate):
        certificate = SecondOrderCertificate.from_dict(cast("Mapping[str, object]", certificate))
    rho = integer_rho(method.formula.alpha)
    first, second = (polynomial_of(part, len(rho) - 1) for part in (certificate.distinct, certificate.repeated))
    if first is None or second is None:
        return False
    distinct, repeated = _polynomial(first), _polynomial(second)
    if not _are_multiples(_positive(distinct * repeated), rho):
        return False
    if not certificate.distinct.is_zero_stable:
        return distinct.gcd(distinct.derivative()).degree() == 0
    power = distinct ** repeated.degree()
    return certificate.repeated.is_zero_stable or power.gcd(repeated).degree() == repeated.degree()


def _is_proved_of_powers(method: GeneralLinear, certificate: Certificate) -> bool:
    """Whether what is certified is about a polynomial m with m(V) = 0, and where m is violated, about the minimal one.

    That proves what m proves: any polynomial that annihilates V has the minimal one for a factor.
    """
    m = polynomial_of(certificate, method.parts)
    if m is None:
        return False
    from flint import fmpq, fmpq_mat

    v = fmpq_mat([[fmpq(*x.as_integer_ratio()) for x in row] for row in method.v])
    powers = [v**j for j in range(len(m))]
    if any(entry != 0 for entry in sum((power * c for c, power in zip(m, powers, strict=True)), 0 * v).entries()):
        return False
    independent = fmpq_mat([power.entries() for power in powers[:-1]])
    return certificate.is_zero_stable or independent.rank() == len(m) - 1


def _kind(method: Sequence[Number] | HasCoefficients) -> Sequence[Number] | HasCoefficients:
    if isinstance(method, LinearMultistep) or not isinstance(method, HasCoefficients):
        return method
    return method_of(method)


def _are_multiples(one: list[int] | None, other: list[int]) -> bool:
    """Whether the coefficients of a polynomial, None of none, are those of another up to a factor."""
    if one is None or len(one) != len(other):
        return False
    return all(a * other[-1] == b * one[-1] for a, b in zip(one, other, strict=True))


def _polynomial(coefficients: list[int]) -> fmpz_poly:
    from flint import fmpz_poly

    return fmpz_poly(coefficients)


def _positive(polynomial: fmpz_poly) -> list[int]:
    """The coefficients, of either sign, with a positive leading one."""
    found = [int(c) for c in polynomial.coeffs()]
    return found if found[-1] > 0 else [-c for c in found]
