"""Verdicts at an irrational value of the parameter, decided in the number field that it generates.

An element of Q(t) is a polynomial in t modulo the minimal polynomial of t: whether it is zero is seen, and the sign of
one that is not by an enclosure that is fine enough. Euclid's algorithm and Sturm's sequences decide over this field
what `intervals.is_A_stable` asks of the locus. Polynomials are lists of elements, lowest power first, without leading
zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, TypeAlias

from stabzoo.stability.parameters.coefficients import Coefficients
from stabzoo.stability.parameters.real_root import RealRoot, sign_at
from stabzoo.stability.parameters.reduction import derivative

if TYPE_CHECKING:
    from flint import fmpq_poly, fmpz_poly

    Polynomial: TypeAlias = list[fmpq_poly]


@dataclass(frozen=True)
class MethodAt:
    """The method of a family at a root."""

    family: Coefficients
    root: RealRoot

    @cached_property
    def modulus(self) -> fmpq_poly:
        """The minimal polynomial of the value."""
        return self.root.minimal_polynomial

    @cached_property
    def rho(self) -> Polynomial:
        """Of rho, without leading zeros."""
        return self._elements(self.family.rho)

    @cached_property
    def sigma(self) -> Polynomial:
        """Of sigma, without leading zeros."""
        return self._elements(self.family.sigma)

    @property
    def exists(self) -> bool:
        """Whether the coefficients have no pole there."""
        return len(self.rho) == len(self.family.rho)

    @property
    def is_zero_stable(self) -> bool:
        """The root condition of rho."""
        return self.family.at_zero.holds_at(self.root)

    @property
    def is_A_stable(self) -> bool:  # noqa: N802
        """Whether rho - z sigma satisfies the root condition for every z with Re z <= 0."""
        lead = self._elements([self.family.rho[-1] + self.family.sigma[-1]])  # of rho - z sigma at z = -1
        if not lead or not self.is_zero_stable or not self.family.at_minus_one.holds_at(self.root):
            return False
        if not self.sigma:
            return True
        common = self._gcd(self.rho, self.sigma)
        rho, sigma = self._divided(self.rho, common)[0], self._divided(self.sigma, common)[0]
        real, norm = self._cosine_form(rho, sigma), self._cosine_form(sigma, sigma)
        if real and not self._is_nonnegative(real):
            return False
        wronskian = self._trimmed(
            [
                a - b
                for a, b in zip_longest(
                    self._product(derivative(rho), sigma),
                    self._product(rho, derivative(sigma)),
                    fillvalue=0 * self.modulus,
                )
            ]
        )
        multiple = self._product(wronskian, common)
        if not multiple:
            return True  # rho / sigma is constant and, as real >= 0 says, positive
        touching = self._gcd(real, self._cosine_form(multiple, multiple))
        while len(at_infinity := self._gcd(touching, norm)) > 1:
            touching = self._divided(touching, at_infinity)[0]
        return self._count(touching) + self._at_ends(touching).count(0) == 0

    @property
    def is_L_stable(self) -> bool:  # noqa: N802
        """Whether it is A-stable and sigma = beta_next z^d."""
        return len(self.sigma) == len(self.rho) and not any(self.sigma[:-1]) and self.is_A_stable

    def _elements(self, coefficients: Sequence[fmpz_poly]) -> Polynomial:
        from flint import fmpq_poly

        return self._trimmed([fmpq_poly(p) for p in coefficients])

    def _trimmed(self, p: Polynomial) -> Polynomial:
        p = [c % self.modulus for c in p]
        while p and not p[-1]:
            p.pop()
        return p

    def _monic(self, p: Polynomial) -> Polynomial:
        _, inverse, _ = p[-1].xgcd(self.modulus)  # the gcd is 1: the modulus is irreducible
        return [c * inverse % self.modulus for c in p]

    def _product(self, p: Polynomial, q: Polynomial) -> Polynomial:
        product = [0 * self.modulus] * max(len(p) + len(q) - 1, 0)
        for i, a in enumerate(p):
            for j, b in enumerate(q):
                product[i + j] += a * b
        return self._trimmed(product)

    def _divided(self, p: Polynomial, q: Polynomial) -> tuple[Polynomial, Polynomial]:
        """Quotient and remainder."""
        _, inverse, _ = q[-1].xgcd(self.modulus)
        quotient: Polynomial = []
        rest = list(p)
        while len(rest) >= len(q):
            factor = rest[-1] * inverse % self.modulus
            quotient.append(factor)
            shift = len(rest) - len(q)
            rest = [(c - factor * q[i - shift]) % self.modulus if i >= shift else c for i, c in enumerate(rest)][:-1]
        return self._trimmed(quotient[::-1]), self._trimmed(rest)

    def _gcd(self, p: Polynomial, q: Polynomial) -> Polynomial:
        while q:
            p, q = q, self._divided(p, q)[1]
        return self._monic(p)

    def _cosine_form(self, p: Polynomial, q: Polynomial) -> Polynomial:
        """Re p(zeta) conj(q(zeta)) as a polynomial in x = cos(theta), zeta = e^{i theta}."""
        from flint import fmpz_poly

        total = [0 * self.modulus] * max(len(p), len(q))
        for j, a in enumerate(p):
            for k, b in enumerate(q):
                for i, c in enumerate(fmpz_poly.chebyshev_t(abs(j - k)).coeffs()):
                    total[i] += int(c) * a * b
        return self._trimmed(total)

    def _is_nonnegative(self, p: Polynomial) -> bool:
        """Whether p >= 0 on [-1, 1]: no root of odd multiplicity between, and the right sign at a point."""
        simple: list[Polynomial] = []  # roots of multiplicity above 0, 1, 2, ...
        rest = p
        while len(rest) > 1:
            common = self._gcd(rest, self._trimmed(derivative(rest)))
            simple.append(self._divided(rest, common)[0])
            rest = common
        simple.append(rest)
        exactly = [self._divided(a, b)[0] for a, b in pairwise(simple)]  # of multiplicity 1, 2, ...
        if any(self._count(q) for q in exactly[::2]):
            return False
        signs = (self._sign(p, i, 2 * len(p)) for i in range(1 - 2 * len(p), 2 * len(p)))
        return next(sign for sign in signs if sign) > 0

    def _count(self, p: Polynomial) -> int:
        """How many roots p has in the open interval (-1, 1), by Sturm's theorem."""
        p = self._divided(p, self._gcd(p, self._trimmed(derivative(p))))[0]
        for end in (-1, 1):
            if self._sign(p, end, 1) == 0:
                p = self._divided(p, self._elements_of(-end, 1))[0]
        sequence = [p, self._trimmed(derivative(p))]
        while sequence[-1]:
            sequence.append([-c for c in self._divided(sequence[-2], sequence[-1])[1]])
        signs = [[self._sign(q, end, 1) for q in sequence[:-1]] for end in (-1, 1)]
        changes = [sum(a != b for a, b in pairwise(filter(None, row))) for row in signs]
        return changes[0] - changes[1]

    def _at_ends(self, p: Polynomial) -> list[int]:
        return [self._sign(p, end, 1) for end in (-1, 1)]

    def _sign(self, p: Polynomial, numerator: int, denominator: int) -> int:
        """The sign of p at a rational number."""
        from flint import fmpq

        total, x = 0 * self.modulus, fmpq(numerator, denominator)
        for c in reversed(p):
            total = total * x + c
        return sign_at(self.root, total % self.modulus)

    def _elements_of(self, *numbers: int) -> Polynomial:
        from flint import fmpq_poly

        return [fmpq_poly([number]) for number in numbers]
