"""Miller's reduction of a polynomial whose coefficients are polynomials in a parameter t, over Q[t].

Where no lead^2 - const^2 of its levels vanishes it is the reduction at that value, and the order of |const| and |lead|
is constant in between: so is the verdict on the root condition. It ends at a constant, or where const = +-lead for all
t. Then phi = +-phi* for all t, and phi' is reduced in the same way; or the root condition fails but where the
coefficients of phi -+ phi* have a common root.

At a root of some lead^2 - const^2 the reduction is the same up to the first level where it vanishes, and there
phi = +-phi* or the root condition fails; for phi' it is repeated in the number field.

Source: Miller (1971), see `root_condition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from stabzoo.stability.parameters.real_root import RealRoot, sign_at

if TYPE_CHECKING:
    from flint import fmpq_poly, fmpz_poly


@dataclass(frozen=True, slots=True)
class Reduction:
    """The levels of the reduction, lowest power of z first, with lead^2 - const^2, and where it ended."""

    levels: tuple[tuple[list[fmpz_poly], fmpz_poly], ...]
    end: list[fmpz_poly]

    @classmethod
    def of(cls, phi: Sequence[fmpz_poly]) -> Reduction:
        """Reduce phi, whose leading coefficient is not 0."""
        levels: list[tuple[list[fmpz_poly], fmpz_poly]] = []
        rest = list(phi)
        while len(rest) > 1 and (square := rest[-1] * rest[-1] - rest[0] * rest[0]) != 0:
            levels.append((rest, square))
            const, lead = rest[0], rest[-1]
            rest = [lead * a - const * b for a, b in zip(rest[1:], rest[-2::-1], strict=True)]
            content = common_divisor(rest)
            rest = [c // content for c in rest]
        return cls(tuple(levels), rest)

    def critical(self) -> list[fmpz_poly]:
        """Polynomials in t between whose real roots the root condition does not change."""
        start = self.levels[0][0] if self.levels else self.end
        found = [start[-1], *[square for _, square in self.levels]]
        if len(self.end) == 1:
            return found
        if any(difference := _difference(self.end, self.end[0] == self.end[-1])):
            return [*found, common_divisor(difference)]
        return found + [square for _, square in Reduction.of(derivative(self.end)).levels]

    def holds_at(self, root: RealRoot) -> bool:
        """Decide the root condition at an irrational value, where the leading coefficient does not vanish."""
        modulus = root.minimal_polynomial
        phi = self.end
        for level, square in self.levels:
            sign = sign_at(root, _reduced(square, modulus))
            if sign < 0:
                return False
            if sign == 0:
                phi = level
                break
        if len(phi) == 1:
            return True
        elements = [_reduced(c, modulus) for c in phi]
        if any(_difference(elements, elements[0] == elements[-1])):
            return False
        return _is_schur(root, derivative(elements), modulus)


def common_divisor(polynomials: Sequence[fmpz_poly]) -> fmpz_poly:
    """Return the greatest one."""
    return reduce(lambda p, q: p.gcd(q), polynomials)


def derivative(phi: list) -> list:
    """Return phi', of coefficients that are polynomials or elements of a field."""
    return [j * c for j, c in enumerate(phi)][1:]


def _difference(phi: list, is_palindrome: bool) -> list:
    """Return phi - phi*, or phi + phi*."""
    return [a - b if is_palindrome else a + b for a, b in zip(phi, reversed(phi), strict=True)]


def _reduced(p: fmpz_poly, modulus: fmpq_poly) -> fmpq_poly:
    from flint import fmpq_poly

    return fmpq_poly(p) % modulus


def _is_schur(root: RealRoot, phi: list[fmpq_poly], modulus: fmpq_poly) -> bool:
    """Whether all roots lie inside the unit circle; the reduction in the number field, made monic at every level."""
    while len(phi) > 1:
        _, inverse, _ = phi[-1].xgcd(modulus)  # the gcd is 1: the modulus is irreducible
        phi = [c * inverse % modulus for c in phi]
        const = phi[0]
        if sign_at(root, (1 - const * const) % modulus) <= 0:
            return False
        phi = [(a - const * b) % modulus for a, b in zip(phi[1:], phi[-2::-1], strict=True)]
    return True
